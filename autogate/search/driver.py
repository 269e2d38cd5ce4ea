"""The search loop: propose, canonicalise, reuse or predict, reject or train, store, tell."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from autogate.errors import StorageError, TrainingError
from autogate.latency import LatencyModel
from autogate.policy import Policy
from autogate.records import Estimate, Evaluation, TrialRecord
from autogate.search.costs import paper_macs, predicted_statistics
from autogate.search.evaluator import Evaluator
from autogate.search.feedback import Feedback
from autogate.search.front_history import FrontHistory, complete_history
from autogate.search.memory import CandidateMemory
from autogate.search.objective import ACCURACY, MEMORY, PREDICTED, REALISED, Objective
from autogate.search.proposals import Choices, Proposer
from autogate.search.reporter import Reporter
from autogate.store import COUNTED, Store
from autogate.store.optuna_storage import open_storage
from autogate.training import Fidelity, Recipe

optuna.logging.set_verbosity(optuna.logging.WARNING)
_FAILURES_IN_A_ROW = 5
_REDRAWS = 20
SHORT: Fidelity = "short"


class Driver:
    """Runs the trials of one study.

    Args:
        store: The study database.
        study: Name of the study.
        objective: What the search is after.
        latency: Predicts latencies.
        proposer: Draws candidates.
        evaluator: Trains and scores them.
        recipe: Recipe of a candidate's short training.
        reporter: Hears of every trial.
        seed: Seed of the sampler.
        feedback: Measures candidates that the latency model is not sure about; None if the target is not at hand.
        memory: Peak memory of candidates; None where the target is another device.
    """

    def __init__(
        self,
        store: Store,
        study: str,
        objective: Objective,
        latency: LatencyModel,
        proposer: Proposer,
        evaluator: Evaluator,
        recipe: Recipe,
        reporter: Reporter,
        seed: int,
        feedback: Feedback | None = None,
        memory: CandidateMemory | None = None,
    ) -> None:
        self.store = store
        self.name = study
        self.objective = objective
        self.latency = latency
        self.proposer = proposer
        self.evaluator = evaluator
        self.recipe = recipe
        self.reporter = reporter
        self.seed = seed
        self.feedback = feedback
        self.memory = memory
        self.records = store.trials(study)
        self.history = FrontHistory(objective, latency.dense_ms)
        complete_history(store, study, self.history)
        self.distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(choices) for name, choices in proposer.space.all_choices().items()
        }
        with self._clear_errors():
            self.optuna_study = self._open()

    def run(self, trials: int, *, trainings: int | None, timeout_s: float | None) -> None:
        """Run until ``trials`` proposals ended complete, rejected or reused, or a limit is reached."""
        with self._clear_errors():
            self._run(trials, trainings, timeout_s)

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """Turn what Optuna's storage raises into one clear error."""
        try:
            yield
        except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
            raise StorageError(
                f"the database {self.store.shown_url} failed: {self.store.reason(error)}; what was stored "
                f"before is safe, continue with `{self.store.command('resume', self.name)}`"
            ) from None

    def _run(self, trials: int, trainings: int | None, timeout_s: float | None) -> None:
        self._settle_interrupted()
        start = time.monotonic()
        failures = 0
        while self._done() < trials:
            if timeout_s is not None and time.monotonic() - start > timeout_s:
                self.reporter.note(f"time is up after {self._done()} trials")
                return
            if trainings is not None and sum(r.outcome == "complete" for r in self.records) >= trainings:
                return
            record = self._one_trial()
            failures = failures + 1 if record.outcome == "failed" else 0
            self.reporter.trial(record, self.history.best, self._done(), trials)
            if failures >= _FAILURES_IN_A_ROW:
                why = f"{failures} trials failed in a row, the last one because: {record.reason}"
                if not any(r.outcome == "complete" for r in self.records):
                    raise TrainingError(why)
                self.reporter.note(f"{why}; going on with the candidates there are")
                return

    def _done(self) -> int:
        return sum(record.outcome in COUNTED for record in self.records)

    def _open(self) -> optuna.Study:
        # The sampler's own stream must not start over when a study is resumed.
        sampler = optuna.samplers.TPESampler(
            seed=(self.seed * 10_007 + len(self.records)) % 2**32, n_startup_trials=10, multivariate=True,
            constant_liar=False,
        )  # fmt: skip
        return optuna.create_study(
            storage=open_storage(self.store), study_name=self.name, sampler=sampler, load_if_exists=True,
            directions=self.objective.directions,
        )  # fmt: skip

    def _settle_interrupted(self) -> None:
        """Tell trials that an earlier process left running: from a stored evaluation, or as failed."""
        known = {record.number: record for record in self.records}
        for frozen in self.optuna_study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            record = known.get(frozen.number)
            if record is None:
                self.optuna_study.tell(frozen.number, state=TrialState.FAIL)
                self.optuna_study.enqueue_trial(frozen.params)
            elif record.val_accuracy is not None and record.policy is not None:
                values = self.objective.values(record.val_accuracy, (record.predicted or {})[self.objective.stat])
                self.optuna_study.tell(frozen.number, values)
            else:
                state = TrialState.PRUNED if record.outcome == "rejected" else TrialState.FAIL
                self.optuna_study.tell(frozen.number, state=state)

    def _one_trial(self) -> TrialRecord:
        start = time.monotonic()
        trial = self._ask()
        policy = self.proposer.policy(trial.params)
        if self.feedback is not None:
            self.feedback.consider(policy)
        estimate = self.latency.predict(policy)
        lightest = self.latency.lightest(policy)
        trial.set_constraint(PREDICTED, self.objective.excess_ms(lightest))
        if self.memory is not None and self.memory.limit_bytes is not None:
            trial.set_constraint(MEMORY, self.memory.excess_mib(policy))
        key = self.evaluator.key(policy, self.recipe, SHORT)
        self.store.add_policy(policy)
        known = self.store.find_evaluation(key)
        if (reason := self._refusal(policy, lightest)) is not None:
            record = self._record(trial.number, "rejected", policy, None, estimate, reason, start)
            self._keep(record)
            self.optuna_study.tell(trial, state=TrialState.PRUNED)
            return record
        if known is None:
            try:
                known, _ = self.evaluator.run(policy, self.recipe, SHORT, self.reporter)
            except TrainingError as error:
                record = self._record(trial.number, "failed", policy, None, estimate, str(error), start)
                self._keep(record)
                self.optuna_study.tell(trial, state=TrialState.FAIL)
                return record
            # Committed before the trial is told: after a kill between the two, nothing is trained twice.
            self.store.add_evaluation(known)
            outcome = "complete"
        else:
            # An evaluation of another study, or of a process that died, is as good as a new one.
            mine = any(r.policy is not None and r.policy.digest == policy.digest for r in self.records)
            outcome = "reused" if mine else "complete"
        estimate = self.latency.predict(policy, known.realisation)
        record = self._record(trial.number, outcome, policy, known, estimate, None, start)
        # A gate whose cost varies may have turned out slower than its lightest realisation promised.
        trial.set_constraint(REALISED, self.objective.excess_ms(estimate))
        if self.objective.floor is not None:
            trial.set_constraint(ACCURACY, self.objective.floor - known.val_accuracy)
        # Stored before it is told, and after its constraints: a kill in between loses neither.
        self._keep(record)
        self.optuna_study.tell(trial, self.objective.values(known.val_accuracy, estimate.stat(self.objective.stat)))
        return record

    def _refusal(self, policy: Policy, lightest: Estimate) -> str | None:
        """Return which budget the policy is over, whatever its training brings; None if it is worth one."""
        if not self.objective.fits(lightest):
            return f"predicted {self.objective.excess_ms(lightest):.3f} ms over the budget"
        if self.memory is not None and not self.memory.fits(policy):
            return f"peak memory {self.memory.excess_mib(policy):.3f} MiB over the budget"
        return None

    def _keep(self, record: TrialRecord) -> None:
        """Store what became of a trial, and what the study has reached with it."""
        self.store.add_trial(self.name, record, self.history.add(record))
        self.records.append(record)

    def _record(
        self,
        number: int,
        outcome: str,
        policy: Policy,
        evaluation: Evaluation | None,
        estimate: Estimate,
        reason: str | None,
        start: float,
    ) -> TrialRecord:
        predicted = predicted_statistics(estimate, self.objective.stat)
        realisation = None if evaluation is None else evaluation.realisation
        costs = {"macs_paper": float(paper_macs(self.latency.network, policy, realisation))}
        # What is too slow is not worth a look at its memory, unless there is a budget for it.
        if self.memory is not None and (evaluation is not None or self.memory.limit_bytes is not None):
            costs["peak_memory_bytes"] = self.memory.peak_bytes(policy)
        accuracy = None if evaluation is None else evaluation.val_accuracy
        return TrialRecord(number, outcome, policy, accuracy, predicted, costs, reason, time.monotonic() - start)

    def _ask(self) -> optuna.Trial:
        """Return the next candidate: a seed, a guided one, a neighbour of the best, or the sampler's own."""
        waiting = self.optuna_study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        number = len(self.optuna_study.get_trials(deepcopy=False)) - len(waiting)
        rng = random.Random(f"{self.seed}/{number}")
        if not waiting:
            choices = self._own_proposal(number, rng)
            if choices is not None:
                self.optuna_study.enqueue_trial(choices)
        return self.optuna_study.ask(self.distributions)

    def _own_proposal(self, number: int, rng: random.Random) -> Choices | None:
        for choices in self.proposer.seeds():
            if not self._seen(choices):
                return choices
        kind = number % 4
        if kind == 3:
            return None
        for _ in range(_REDRAWS):
            best = self.history.best
            own: Choices | None
            if kind == 1 or best is None:
                own = self.proposer.guided(rng, None)
            else:
                own = self.proposer.neighbour(self._choices_of(best), rng)
            if own is None:
                return None
            if not self._seen(own):
                return own
        return None

    def _choices_of(self, record: TrialRecord) -> Choices:
        frozen = self.optuna_study.get_trials(deepcopy=False)[record.number]
        return dict(frozen.params)

    def _seen(self, choices: Mapping[str, str]) -> bool:
        digest = self.proposer.policy(choices).digest
        return any(record.policy is not None and record.policy.digest == digest for record in self.records)
