"""The search, step by step: propose, canonicalise, reuse or predict, reject or have trained, store, tell.

One process drives a study: it alone asks and tells. Trainings are jobs in the database, done by whoever takes them.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from autogate.errors import ProfileError, TrainingError
from autogate.goals import ACCURACY, MEMORY, PREDICTED, REALISED
from autogate.nas.evaluating import Evaluator
from autogate.nas.loop.candidate_measurement import CandidateMeasurer
from autogate.nas.loop.context import SearchContext
from autogate.nas.proposing import (
    Candidates,
    Choices,
    OpenTrial,
    OptunaTrials,
    Proposer,
    Sampler,
    SamplerTrial,
    TrialHandle,
)
from autogate.policy import Policy
from autogate.records import Estimate, Evaluation, TrialRecord, slot_of
from autogate.resources import paper_macs, predicted_statistics
from autogate.store import COUNTED
from autogate.studies import FrontHistory, complete_history
from autogate.training import Fidelity

_FAILURES_IN_A_ROW = 5
SHORT: Fidelity = "short"


@dataclass(frozen=True)
class Limits:
    """When to stop.

    Attributes:
        trials: Proposals to end complete, rejected, reused or stopped, those of earlier runs included.
        trainings: Most candidates to train; None for no limit.
        timeout_s: Seconds after which no new trial starts; None for no limit.
    """

    trials: int
    trainings: int | None = None
    timeout_s: float | None = None


class Driver:
    """Proposes the candidates of one study, and learns what became of them.

    Args:
        context: What the search works with.
        proposer: Draws candidates.
        evaluator: Knows under which key a candidate is evaluated.
        log: Optuna's trials of the study.
        sampler: Draws what the proposer does not.
        limits: When to stop.
        measurer: Measures candidates that the latency model is not sure about; None if the target is not at hand.

    Attributes:
        open: Trials that are being trained, by number.
        candidates: Finds what to propose next.
    """

    def __init__(
        self,
        context: SearchContext,
        proposer: Proposer,
        evaluator: Evaluator,
        log: OptunaTrials,
        sampler: Sampler,
        limits: Limits,
        measurer: CandidateMeasurer | None = None,
    ) -> None:
        run = context.run
        self.store = run.store
        self.name = run.name
        self.reporter = run.reporter
        self.objective = context.objective
        self.latency = context.latency
        self.memory = context.memory
        self.proposer = proposer
        self.evaluator = evaluator
        self.log = log
        self.sampler = sampler
        self.limits = limits
        self.measurer = measurer
        self.open: dict[int, OpenTrial] = {}
        self.history = FrontHistory(self.objective, self.latency.dense_ms)
        complete_history(self.store, self.name, self.history)
        self._records = self.store.trials(self.name)
        self._counts = Counter(record.outcome for record in self._records)
        choices = {trial.number: _choices(trial) for trial in log.trials}
        self.candidates = Candidates(proposer, sampler, self.history, run.config.seed, choices)
        self._evaluated: set[str] = set()
        for record in self._records:
            self._remember(record)
        self._failures = 0
        self._start_s = time.monotonic()
        self._reopen()

    @property
    def wants_more(self) -> bool:
        """Whether a further candidate may be proposed."""
        trained = self._counts["complete"] + self._counts["stopped"]
        most = self.limits.trainings
        return (
            self._done() + len(self.open) < self.limits.trials
            and (most is None or trained + len(self.open) < most)
            and not self._is_late()
            and self._failures < _FAILURES_IN_A_ROW
        )

    @property
    def is_over(self) -> bool:
        """Whether nothing is being trained, and nothing more wanted."""
        return not self.open and not self.wants_more

    def propose(self) -> OpenTrial | None:
        """Propose one candidate; return it if it is to be trained."""
        start_s = time.monotonic()
        running = {trial.policy.digest for trial in self.open.values()}
        choices = self.candidates.next(len(self._records) + len(self.open), running)
        policy = self.proposer.policy(choices)
        if self.measurer is not None:
            self.measurer.maybe_measure(policy)
        fastest = self.latency.fastest(policy)
        constraints = self._constraints(policy, fastest)
        self.store.add_policy(policy)
        if (reason := self._rejection_reason(policy, fastest)) is not None:
            begun = self.log.begin(choices, constraints)
            self.candidates.choices[begun.number] = choices
            self._reject(begun.number, policy, reason, start_s)
            self.log.end(begun, TrialState.PRUNED)
            self.sampler.end(begun.number, SamplerTrial(choices, TrialState.PRUNED, None, constraints))
            return None
        key = self.evaluator.key(policy, SHORT)
        begun = self.log.begin(choices, constraints)
        self.candidates.choices[begun.number] = choices
        trial = OpenTrial(begun, choices, policy, key, self.latency.predict(policy), constraints, start_s)
        if (known := self.store.find_evaluation(key)) is not None:
            self._complete(trial, known)
            return None
        self.store.add_job(key, self.name, begun.number)
        self._wait_for(trial)
        return trial

    def collect(self) -> None:
        """Take in what has been trained, or has failed, since the last look."""
        if not self.open:
            return
        jobs = {job.key: job for job in self.store.jobs(self.name)}
        for trial in list(self.open.values()):
            job = jobs.get(trial.key)
            if job is None:
                evaluation = self.store.find_evaluation(trial.key)
                if evaluation is not None:
                    self._complete(trial, evaluation)
                else:  # another study asked for the same; who dies there leaves it to this one
                    self.store.add_job(trial.key, self.name, trial.begun.number)
            elif (reason := job.failure_reason) is not None:
                self._fail(trial, reason)
                self._forget(trial)

    def stop(self, number: int, reason: str) -> None:
        """End a trial that is too weak to be trained further."""
        trial = self.open.pop(number)
        self._forget(trial)
        self._keep(self._record(number, "stopped", trial.policy, None, trial.estimate, reason, trial.start_s))
        self.log.end(trial.begun, TrialState.PRUNED)
        self.sampler.end(number, SamplerTrial(trial.choices, TrialState.PRUNED, None, trial.constraints))

    def lose(self, number: int, reason: str) -> None:
        """End a trial that nobody can train."""
        trial = self.open[number]
        self._forget(trial)
        self._fail(trial, reason)

    def give_up(self) -> None:
        """Say why the search ends early, if it does.

        Raises:
            TrainingError: If it ends because trainings fail, and there is nothing to go on with.
        """
        if self._failures >= _FAILURES_IN_A_ROW:
            last = next(record.reason for record in reversed(self._records) if record.outcome == "failed")
            why = f"{self._failures} trials failed in a row, the last one because: {last}"
            if not any(record.outcome == "complete" for record in self._records):
                raise TrainingError(why)
            self.reporter.note(f"{why}; going on with the candidates there are")
        elif self._is_late() and self._done() < self.limits.trials:
            self.reporter.info(f"time is up after {self._done()} trials")

    def _reopen(self) -> None:
        """Settle trials that an earlier process left open: finish them from the database, wait, or propose again."""
        known = {record.number: record for record in self._records}
        for begun, frozen in self.log.running():
            record = known.get(begun.number)
            if record is not None:
                self._tell_again(begun, record)
            elif frozen.state == TrialState.WAITING or not frozen.params:
                self.log.end(begun, TrialState.FAIL)  # nothing is known of what was to be tried
            else:
                self._settle(begun, _choices(frozen))
        waiting = {trial.key for trial in self.open.values()}
        self.candidates.again += [
            self.candidates.choices[job.trial]
            for job in self.store.jobs(self.name)
            if job.key.fidelity == SHORT and job.key not in waiting and job.trial in self.candidates.choices
        ]
        self.sampler.learn(self._seen_before())
        for number, trial in self.open.items():
            self.sampler.begin(number, SamplerTrial(trial.choices, TrialState.RUNNING, None, trial.constraints))

    def _tell_again(self, begun: TrialHandle, record: TrialRecord) -> None:
        if record.val_accuracy is not None and record.predicted is not None:
            values = self.objective.values(record.val_accuracy, record.predicted[self.objective.stat])
            self.log.end(begun, TrialState.COMPLETE, values)
        else:
            self.log.end(begun, TrialState.FAIL if record.outcome == "failed" else TrialState.PRUNED)

    def _settle(self, begun: TrialHandle, choices: Choices) -> None:
        """Settle a trial of which nothing is stored but that it runs."""
        policy = self.proposer.policy(choices)
        key = self.evaluator.key(policy, SHORT)
        fastest = self.latency.fastest(policy)
        if (reason := self._rejection_reason(policy, fastest)) is not None:
            self._reject(begun.number, policy, reason, time.monotonic())
            self.log.end(begun, TrialState.PRUNED)
            return
        trial = OpenTrial(begun, choices, policy, key, self.latency.predict(policy), self._constraints(policy, fastest))
        evaluation, job = self.store.find_evaluation(key), self.store.find_job(key)
        if evaluation is not None:
            self._complete(trial, evaluation)
        elif job is not None and job.held:
            self.open[begun.number] = trial  # a worker elsewhere goes on with it
        else:
            # Asked for before it fails: were this process to die in between, the candidate would still be known.
            self.store.add_policy(policy)
            self.store.add_job(key, self.name, begun.number)
            self.log.end(begun, TrialState.FAIL)

    def _seen_before(self) -> list[SamplerTrial]:
        """Return all that ended, judged by today's limits and predictions."""
        seen = []
        for record in self._records:
            if record.number not in self.candidates.choices or record.policy is None or record.outcome == "failed":
                continue
            choices = self.candidates.choices[record.number]
            constraints: dict[str, float] = {}
            if record.predicted is not None and self.objective.limit_ms is not None:
                constraints[REALISED] = record.predicted["upper"] - self.objective.limit_ms
            if record.val_accuracy is None or record.predicted is None:
                seen.append(SamplerTrial(choices, TrialState.PRUNED, None, constraints))
                continue
            if self.objective.floor is not None:
                constraints[ACCURACY] = self.objective.floor - record.val_accuracy
            values = self.objective.values(record.val_accuracy, record.predicted[self.objective.stat])
            seen.append(SamplerTrial(choices, TrialState.COMPLETE, values, constraints))
        return seen

    def _wait_for(self, trial: OpenTrial) -> None:
        number = trial.begun.number
        self.open[number] = trial
        self.sampler.begin(number, SamplerTrial(trial.choices, TrialState.RUNNING, None, trial.constraints))

    def _complete(self, trial: OpenTrial, evaluation: Evaluation) -> None:
        number = trial.begun.number
        self.open.pop(number, None)
        # An evaluation of another study, or of a process that died, is as good as a new one.
        outcome = "reused" if trial.policy.digest in self._evaluated else "complete"
        estimate = self.latency.predict(trial.policy, evaluation.realisation)
        # A gate whose cost varies may have turned out slower than its lightest realisation promised.
        found = {REALISED: self.objective.excess_ms(estimate)}
        if self.objective.floor is not None:
            found[ACCURACY] = self.objective.floor - evaluation.val_accuracy
        values = self.objective.values(evaluation.val_accuracy, estimate.stat(self.objective.stat))
        # Stored before Optuna learns of it: after a kill between the two, the next start tells Optuna.
        self._keep(self._record(number, outcome, trial.policy, evaluation, estimate, None, trial.start_s))
        self.log.end(trial.begun, TrialState.COMPLETE, values, found)
        self.sampler.end(
            number, SamplerTrial(trial.choices, TrialState.COMPLETE, values, {**trial.constraints, **found})
        )

    def _fail(self, trial: OpenTrial, reason: str) -> None:
        number = trial.begun.number
        del self.open[number]
        self._keep(self._record(number, "failed", trial.policy, None, trial.estimate, reason, trial.start_s))
        self.log.end(trial.begun, TrialState.FAIL)
        self.sampler.end(number, SamplerTrial(trial.choices, TrialState.FAIL, None, {}))

    def _forget(self, trial: OpenTrial) -> None:
        """Remove a trial's job, and how far its training came: nobody is to go on with it."""
        if (job := self.store.find_job(trial.key)) is not None:
            self.store.end_job(job.id)
        self.store.end_checkpoint(slot_of(trial.key))

    def _reject(self, number: int, policy: Policy, reason: str, start_s: float) -> None:
        self._keep(self._record(number, "rejected", policy, None, self.latency.predict(policy), reason, start_s))

    def _keep(self, record: TrialRecord) -> None:
        """Store what became of a trial, and what the study has reached with it."""
        self.store.add_trial(self.name, record, self.history.add(record))
        self._records.append(record)
        self._counts[record.outcome] += 1
        self._remember(record)
        self._failures = self._failures + 1 if record.outcome == "failed" else 0
        self.reporter.trial(record, self.history.best, self._done(), self.limits.trials)

    def _remember(self, record: TrialRecord) -> None:
        """Note what need not be proposed again; what was rejected may be worth a training under a new budget."""
        if record.policy is None:
            return
        if record.val_accuracy is not None:
            self._evaluated.add(record.policy.digest)
        elif record.outcome == "rejected" and self._is_worth_it(record.policy):
            return
        self.candidates.settled.add(record.policy.digest)

    def _is_worth_it(self, policy: Policy) -> bool:
        try:
            return self._rejection_reason(policy, self.latency.fastest(policy)) is None
        except ProfileError:
            return False

    def _record(
        self,
        number: int,
        outcome: str,
        policy: Policy,
        evaluation: Evaluation | None,
        estimate: Estimate,
        reason: str | None,
        start_s: float,
    ) -> TrialRecord:
        predicted = predicted_statistics(estimate, self.objective.stat)
        realisation = None if evaluation is None else evaluation.realisation
        costs = {"macs_paper": float(paper_macs(self.latency.network, policy, realisation))}
        # What is too slow is not worth a look at its memory, unless there is a budget for it.
        if self.memory is not None and (evaluation is not None or self.memory.limit_bytes is not None):
            costs["peak_memory_bytes"] = self.memory.peak_bytes(policy)
        accuracy = None if evaluation is None else evaluation.val_accuracy
        return TrialRecord(number, outcome, policy, accuracy, predicted, costs, reason, time.monotonic() - start_s)

    def _constraints(self, policy: Policy, fastest: Estimate) -> dict[str, float]:
        constraints = {PREDICTED: self.objective.excess_ms(fastest)}
        if self.memory is not None and self.memory.limit_bytes is not None:
            constraints[MEMORY] = self.memory.excess_mib(policy)
        return constraints

    def _rejection_reason(self, policy: Policy, fastest: Estimate) -> str | None:
        """Return which budget the policy exceeds regardless of training; None if it is worth training."""
        if not self.objective.fits(fastest):
            return f"predicted {self.objective.excess_ms(fastest):.3f} ms over the budget"
        if self.memory is not None and not self.memory.fits(policy):
            return f"peak memory {self.memory.excess_mib(policy):.3f} MiB over the budget"
        return None

    def _done(self) -> int:
        return sum(self._counts[outcome] for outcome in COUNTED)

    def _is_late(self) -> bool:
        return self.limits.timeout_s is not None and time.monotonic() - self._start_s > self.limits.timeout_s


def _choices(trial: FrozenTrial) -> Choices:
    return {name: str(value) for name, value in trial.params.items()}
