"""The last stage: train the best candidates fully, measure them beside dense, decide whether the budget is met."""

from __future__ import annotations

from dataclasses import replace

import torch

from autogate.data import Split
from autogate.errors import TrainingError
from autogate.gates import get_family
from autogate.latency import LatencyModel, compare
from autogate.policy import DENSE, Policy
from autogate.records import Comparison, FinalistRecord, LatencyStat, Realisation
from autogate.search.costs import paper_macs, parameter_count, predicted_statistics, realisable_macs
from autogate.search.evaluator import Evaluator, Trained
from autogate.search.ranking import Pick
from autogate.search.reporter import Reporter
from autogate.search.verdict import accepted, excess
from autogate.search.weights_io import pack, unpack
from autogate.store import Store
from autogate.surgery import attach_gates, by_path, compact_form, training_form
from autogate.training import Fidelity, Recipe, clone
from autogate.units import LatencyBudget

_MEASURE_S = 20.0
_LONGER = 3.0
_NEAR_MISS = 0.1
VARYING_INPUTS = 64
FIXED_INPUTS = 8
FULL: Fidelity = "full"
_FAILED = "failed_finalists"


class FinalStage:
    """Trains, measures and stores finalists.

    Args:
        store: The study database.
        study: Name of the study.
        evaluator: Trains candidates.
        recipe: Recipe of a finalist's training.
        latency: Predicts latencies; its profile says how to run on the target.
        profile: Identity of that profile.
        measured: Whether the target is at hand; otherwise results stay predicted.
        budget: The latency budget, if any.
        floor: Lowest validation accuracy, if any.
        stat: Statistic the budget binds.
        reporter: Hears of progress.
    """

    def __init__(
        self,
        store: Store,
        study: str,
        evaluator: Evaluator,
        recipe: Recipe,
        latency: LatencyModel,
        profile: str,
        measured: bool,
        budget: LatencyBudget | None,
        floor: float | None,
        stat: LatencyStat,
        reporter: Reporter,
    ) -> None:
        self.store = store
        self.study = study
        self.evaluator = evaluator
        self.recipe = recipe
        self.latency = latency
        self.setting = latency.profile.setting
        self.profile = profile
        self.measured = measured
        self.budget = budget
        self.floor = floor
        self.stat = stat
        self.reporter = reporter

    def run(self, pick: Pick, wanted: int) -> bool:
        """Finish what ``pick`` names until ``wanted`` finalists are there and one of them could win.

        Returns whether one could. A candidate whose training fails is passed over.

        Raises:
            TrainingError: If every training failed.
        """
        done: list[FinalistRecord] = []
        tried: set[int] = set()
        failure: TrainingError | None = None
        while (trial := pick(done, tried)) is not None:
            assert trial.policy is not None  # noqa: S101 - candidates are complete
            tried.add(trial.number)
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
        return self._any_accepted(done)

    def finish(self, trial: int, policy: Policy) -> FinalistRecord:
        """Train, measure and store a finalist, or return it if an earlier run did; dense is not trained again."""
        stored = self.store.finalists(self.study)
        known = next((f for f in stored if (f.policy, f.profile) == (policy, self.profile)), None)
        if known is not None:
            return known
        trained, artifact = self._trained(trial, policy)
        form, task = training_form(trained.network, trained.gates), self.evaluator.task
        with self.reporter.stage("score finalists"):
            test_accuracy, _ = self.evaluator.methods.score(form, task.data.test, "test", device=task.trainer)
        with self.reporter.stage("measure finalists"):
            compact = compact_form(trained.network, policy, trained.gates, plan=self.latency.plan(policy))
            costs = self._costs(policy, compact, trained.realisation)
            comparison = self._measure(policy, compact) if self.measured else None
        predicted = predicted_statistics(self.latency.predict(policy, trained.realisation), self.stat)
        record = FinalistRecord(
            policy, self.profile, trial, trained.val_accuracy, test_accuracy, costs,
            {**predicted, "dense": self.latency.dense_ms}, comparison, trained.realisation, artifact,
        )  # fmt: skip
        self.store.add_finalist(self.study, record)
        return record

    def _remember(self, trial: int, error: TrainingError) -> None:
        failed = self.store.study(self.study)[1].get(_FAILED, {})
        self.store.set_facts(self.study, {_FAILED: {**failed, str(trial): str(error)}})

    def _any_accepted(self, finalists: list[FinalistRecord]) -> bool:
        return any(accepted(finalist, self.budget, self.floor) for finalist in finalists)

    def _trained(self, trial: int, policy: Policy) -> tuple[Trained, str]:
        """Train a finalist, or load what was trained under an equal key; stored before anything else is done."""
        if policy.is_dense:
            trained = self._dense()
            return trained, self.store.add_artifact("finalist", pack(trained.network.model, {}))
        known = self.store.find_evaluation(self.evaluator.key(policy, self.recipe, FULL))
        if known is not None and known.artifact is not None:
            network = clone(self.evaluator.start)
            gates = attach_gates(network, policy)
            unpack(self.store.artifact(known.artifact), network.model, by_path(gates))
            return Trained(network, gates, known.val_accuracy, known.realisation), known.artifact
        with self.reporter.stage("fine-tune finalists"):
            self.reporter.progress(0.0, f"trial {trial}")
            evaluation, trained = self.evaluator.run(policy, self.recipe, FULL, self.reporter)
        artifact = self.store.add_artifact("finalist", pack(trained.network.model, by_path(trained.gates)))
        self.store.add_policy(policy)
        self.store.add_evaluation(replace(evaluation, artifact=artifact))
        return trained, artifact

    def _dense(self) -> Trained:
        """The dense network as it came."""
        task = self.evaluator.task
        accuracy, _ = self.evaluator.methods.score(task.network.model, task.data.val, "val", device=task.trainer)
        return Trained(clone(task.network), {}, accuracy, Realisation())

    def _costs(self, policy: Policy, compact: torch.nn.Module, realisation: Realisation) -> dict[str, float]:
        inputs = measuring_inputs(self.evaluator.task.data.val, self.setting.batch_size, policy_varies(policy))
        return {
            "macs_paper": paper_macs(self.latency.network, policy, realisation),
            "macs_realisable": realisable_macs(compact, inputs),
            "params": parameter_count(compact),
        }

    def _measure(self, policy: Policy, gated: torch.nn.Module) -> Comparison:
        task = self.evaluator.task
        varies = policy_varies(policy)
        inputs = measuring_inputs(task.data.val, self.setting.batch_size, varies)
        dense = compact_form(task.network, DENSE, {})
        comparison = compare(dense, gated, inputs, self.setting, varies=varies, stat=self.stat, seconds=_MEASURE_S)
        # A near miss deserves a longer look; a clear one does not.
        if 0 < excess(comparison, self.budget) < _NEAR_MISS:
            comparison = compare(
                dense, gated, inputs, self.setting, varies=varies, stat=self.stat, seconds=_LONGER * _MEASURE_S, seed=1
            )
        return comparison


def policy_varies(policy: Policy) -> bool:
    """Whether the policy's cost depends on the input."""
    return any(get_family(gate.family).varies for _, gate in policy)


def measuring_inputs(split: Split, batch_size: int, varies: bool) -> list[torch.Tensor]:
    """Return real batches of exactly ``batch_size`` images, ``[batch, 3, S, S]`` each."""
    wanted = VARYING_INPUTS if varies else FIXED_INPUTS
    limit = min(len(split), wanted * batch_size)
    images = torch.cat([images for images, _ in split.batches(64, limit=limit)])
    while len(images) < batch_size:
        images = torch.cat([images, images])
    starts = range(0, len(images) - batch_size + 1, batch_size)
    return [images[start : start + batch_size] for start in starts][:wanted]
