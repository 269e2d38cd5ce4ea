"""The last stage: train the best candidates fully, measure them against dense, decide whether the budget is met."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from autogate.errors import TrainingError
from autogate.goals import energy_excess, judge
from autogate.latency.hardware import noise_sources_of
from autogate.nas.evaluating import Deployment, Trained, TrainingEvaluator
from autogate.nas.executors import Executor, request_evaluation, wait_for_evaluation
from autogate.nas.loop.context import SearchContext
from autogate.nas.proposing import Pick
from autogate.policy import Policy
from autogate.records import Comparison, ExecutionPlan, FinalistRecord, Realisation
from autogate.resources import (
    FinalistBenchmark,
    is_disturbed,
    paper_macs,
    parameter_count,
    peak_memory_bytes,
    policy_varies,
    predicted_statistics,
    realisable_macs,
)
from autogate.runtimes import get_runtime
from autogate.surgery import attach_gates, compact_form, pack, training_form
from autogate.system import HostLoad
from autogate.training import Fidelity, clone

FULL: Fidelity = "full"
# A device that runs dense so much faster than predicted was profiled while other work disturbed it.
_FASTER = 1.25


class FinalStage:
    """Trains, measures and stores finalists.

    Args:
        context: What the search works with.
        evaluator: Knows how candidates are trained.
        executor: Who trains them.
        floor: Lowest validation accuracy, if any.
    """

    def __init__(
        self, context: SearchContext, evaluator: TrainingEvaluator, executor: Executor, floor: float | None
    ) -> None:
        run, task, latency = context.run, evaluator.task, context.latency
        self.study_run = run
        self.store = run.store
        self.study = run.name
        self.reporter = run.reporter
        self.evaluator = evaluator
        self.executor = executor
        self.latency = latency
        self.profile = context.target.profile
        self.memory = context.memory
        self.foreign = context.target.foreign
        self.budgets = run.config.budgets
        self.floor = floor
        self._measured_now: set[Policy] = set()
        self.stat = run.config.latency_stat
        self.bench = FinalistBenchmark(
            task.network, task.data.val, latency.profile.setting, self.stat, latency.dense_ms
        )

    def run(self, pick: Pick, wanted: int) -> bool:
        """Finish what ``pick`` names until ``wanted`` finalists are there and one of them could win.

        Returns whether one could. A candidate whose training fails is passed over; so is one that measures over the
        energy budget, unless all do: then the one that came closest is finished.

        Raises:
            TrainingError: If every training failed.
        """
        self._ask_ahead(pick, wanted)
        done: list[FinalistRecord] = []
        tried: set[int] = set()
        over: dict[int, tuple[float, Policy]] = {}
        failure: TrainingError | None = None
        while (trial := pick(done, tried)) is not None:
            assert trial.policy is not None  # noqa: S101 - candidates are complete
            tried.add(trial.number)
            if (excess := self._energy_excess(trial.policy)) > 0:
                over[trial.number] = excess, trial.policy
                self.reporter.info(f"trial {trial.number} measures {excess:.0%} over the energy budget; not trained")
                continue
            try:
                done.append(self.finish(trial.number, trial.policy))
            except TrainingError as error:
                self.reporter.note(f"trial {trial.number} cannot be finished: {error}")
                self._remember(trial.number, error)
                failure = error
            if len(done) >= wanted and self._any_accepted(done):
                break
        if failure is not None and not done:
            raise failure
        if over and not done:
            closest = min(over, key=lambda number: over[number][0])
            done.append(self.finish(closest, over[closest][1]))
        return self._any_accepted(done)

    def _ask_ahead(self, pick: Pick, wanted: int) -> None:
        """Have the finalists that are certain trained at the same time, where there is a team to do it."""
        if self.executor.capacity() == 1 or self.floor is not None or self.budgets.energy is not None:
            return
        tried: set[int] = set()
        while len(tried) < wanted and (trial := pick([], tried)) is not None:
            assert trial.policy is not None  # noqa: S101 - candidates are complete
            tried.add(trial.number)
            if self._finished(trial.policy) is None:
                request_evaluation(self.store, self.evaluator, self.study, trial.number, trial.policy, FULL)

    def finish(self, trial: int, policy: Policy) -> FinalistRecord:
        """Train, measure and store a finalist, or return it if an earlier run did; dense is not trained again.

        One whose measurement other work disturbed in an earlier run is measured again.
        """
        known = self._finished(policy)
        if known is not None:
            return known
        trained, artifact = self._trained(trial, policy)
        plan = self.latency.plan(policy)
        with self.reporter.stage("score finalists"):
            val_accuracy, test_accuracy = self._accuracies(policy, trained, plan)
        with self.reporter.stage("measure finalists"):
            compact = compact_form(trained.network, policy, trained.gates, plan=plan)
            costs = self._costs(policy, compact, trained.realisation)
            comparison = None if self.foreign else self._measured(trial, policy, compact)
        predicted = predicted_statistics(self.latency.predict(policy, trained.realisation), self.stat)
        record = FinalistRecord(
            policy,
            self.profile,
            trial,
            val_accuracy,
            test_accuracy,
            costs,
            {**predicted, "dense": self.latency.dense_ms},
            comparison,
            trained.realisation,
            artifact,
            plan,
        )
        record = replace(record, verdict=judge(record, self.budgets, self.floor))
        self.store.add_finalist(self.study, record)
        return record

    def _accuracies(self, policy: Policy, trained: Trained, plan: ExecutionPlan) -> tuple[float, float]:
        """Return accuracies on validation and test images: in eight bits or half precision, of the network deployed."""
        backend, task, setting = self.evaluator.backend, self.evaluator.task, self.bench.setting
        if setting.dtype == "float32" or not get_runtime(setting.runtime).isolated:
            form = training_form(trained.network, trained.gates)
            test_accuracy, _ = backend.score(form, task.data.test, "test", device=task.trainer)
            return trained.val_accuracy, test_accuracy
        compact = compact_form(trained.network, policy, trained.gates, plan=plan)
        deployed = Deployment(setting.runtime, setting.dtype, setting.threads, setting.batch_size).network(
            compact, policy, task.data
        )
        val_accuracy, _ = backend.score(deployed, task.data.val, "val", device=task.trainer)
        test_accuracy, _ = backend.score(deployed, task.data.test, "test", device=task.trainer)
        return val_accuracy, test_accuracy

    def judge_again(self) -> None:
        """Store the verdict on every finalist that was measured here under other budgets, or by an older version."""
        for finalist in self.store.finalists(self.study):
            verdict = judge(finalist, self.budgets, self.floor)
            if finalist.profile == self.profile and finalist.verdict != verdict:
                self.store.set_verdict(self.study, finalist, verdict)

    def _finished(self, policy: Policy) -> FinalistRecord | None:
        finalists = self.store.finalists(self.study)
        known = next((f for f in finalists if (f.policy, f.profile) == (policy, self.profile)), None)
        if known is None or policy in self._measured_now or known.comparison is None:
            return known
        return None if is_disturbed(known.comparison.dense.p50, known.predicted["dense"]) else known

    def _measured(self, trial: int, policy: Policy, compact: nn.Module) -> Comparison:
        """Measure a finalist beside dense, and say if that was no quiet measurement."""
        load, dense_ms = HostLoad(), self.latency.dense_ms
        comparison = self.bench.measure(policy, compact, self.budgets.latency)
        self._measured_now.add(policy)
        now_ms = comparison.dense.p50
        if is_disturbed(now_ms, dense_ms):
            sources = noise_sources_of(comparison.setting, load.facts())
            self.reporter.note(
                f"trial {trial} was measured on a noisy machine: dense took {now_ms:.3f} ms beside it, not "
                f"{dense_ms:.3f} ms as predicted ({sources}); its interval is as wide. On a quiet machine, "
                f"`{self.store.command('resume', self.study)}` measures it again, with --fresh-profile if the device "
                "itself has become slower"
            )
        elif now_ms * _FASTER < dense_ms:
            self.reporter.note(
                f"dense took {now_ms:.3f} ms, not {dense_ms:.3f} ms as predicted: the profile may be of a noisy hour; "
                "--fresh-profile takes another"
            )
        return comparison

    def _energy_excess(self, policy: Policy) -> float:
        """By which share a candidate exceeds the energy budget; 0 if it does not, or cannot be known before training.

        Energy is not predicted but measured, with the weights that the candidate would be trained from.
        """
        if self.budgets.energy is None or policy_varies(policy) or self._finished(policy) is not None:
            return 0.0
        with self.reporter.stage("measure energy"):
            network = clone(self.evaluator.start)
            gates = attach_gates(network, policy, self.evaluator.bank)
            compact = compact_form(network, policy, gates, plan=self.latency.plan(policy))
            return max(0.0, energy_excess(self.bench.energy(policy, compact), self.budgets.energy))

    def _remember(self, trial: int, error: TrainingError) -> None:
        failed = {str(trial): str(error)}
        self.study_run.update(
            lambda facts: replace(facts, failed_finalists={**(facts.failed_finalists or {}), **failed})
        )

    def _any_accepted(self, finalists: list[FinalistRecord]) -> bool:
        return any(judge(finalist, self.budgets, self.floor).accepted for finalist in finalists)

    def _trained(self, trial: int, policy: Policy) -> tuple[Trained, str]:
        """Train a finalist, or load what was trained under an equal key; stored before anything else is done."""
        if policy.is_dense:
            trained = self._dense()
            return trained, self.store.add_artifact("finalist", pack(trained.network.model, {}))
        with self.reporter.stage("fine-tune finalists"):
            self.reporter.progress(0.0, f"trial {trial}")
            evaluation = wait_for_evaluation(self.store, self.evaluator, self.study, trial, policy, FULL, self.executor)
        assert evaluation.artifact is not None  # noqa: S101 - a full training keeps its weights
        weights = self.store.artifact(evaluation.artifact)
        return self.evaluator.restore(policy, evaluation, weights), evaluation.artifact

    def _dense(self) -> Trained:
        """The dense network as it came."""
        task = self.evaluator.task
        accuracy, _ = self.evaluator.backend.score(task.network.model, task.data.val, "val", device=task.trainer)
        return Trained(clone(task.network), {}, accuracy, Realisation())

    def _costs(self, policy: Policy, compact: nn.Module, realisation: Realisation) -> dict[str, float]:
        costs: dict[str, float] = {
            "macs_paper": paper_macs(self.latency.network, policy, realisation),
            "macs_realisable": realisable_macs(compact, self.bench.inputs(policy)),
            "params": parameter_count(compact),
        }
        if self.memory is not None:
            network, setting = self.latency.network, self.bench.setting
            costs["peak_memory_bytes"] = peak_memory_bytes(compact, policy, network, setting)
            costs["dense_peak_memory_bytes"] = self.memory.dense_bytes
        return costs
