"""Judge a candidate: start from the shared weights, fine-tune briefly, recalibrate, score."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from autogate.gates import TrainingGate
from autogate.nas.evaluating.deployment import Deployment
from autogate.nas.evaluating.task import Task
from autogate.policy import DENSE, Policy, digest
from autogate.records import Evaluation, EvaluationKey, Realisation
from autogate.resources import paper_macs
from autogate.sites import Network
from autogate.space.bound import DENSE_CHOICE, BoundSpace
from autogate.studies import Reporter
from autogate.surgery import (
    attach_gates,
    by_path,
    canonical,
    compact_form,
    gate_path,
    pack,
    restore_gates,
    training_form,
)
from autogate.system import freed_memory_kept
from autogate.training import (
    Checkpointer,
    Fidelity,
    Recipe,
    SharedGates,
    TrainingBackend,
    TrainingCallback,
    class_scores,
    clone,
    recalibrate,
)

_SENSITIVITY_IMAGES = 8000
_HOPELESS = 1e3


@dataclass
class Trained:
    """A trained candidate.

    Attributes:
        network: The network with the candidate's own weights.
        gates: Its trained gates by site.
        val_accuracy: Accuracy on validation images, as a fraction.
        realisation: Decisions of varying gates, by site.
    """

    network: Network
    gates: dict[str, TrainingGate]
    val_accuracy: float
    realisation: Realisation


class TrainingEvaluator:
    """Trains and scores candidates from one start.

    Args:
        task: Network, data and devices.
        task_digest: Identity of network, data and split.
        start: Network with the shared weights.
        bank: Shared gates with weights.
        start_digest: Identity of the shared weights.
        seed: Seed of the training.
        backend: How to train and score.
        recipes: The recipe of each fidelity.
        deployment: Where networks are quantised to be scored after a short training; None to score them as trained.
    """

    def __init__(
        self,
        task: Task,
        task_digest: str,
        start: Network,
        bank: SharedGates,
        start_digest: str,
        seed: int,
        backend: TrainingBackend,
        recipes: Mapping[Fidelity, Recipe],
        deployment: Deployment | None = None,
    ) -> None:
        self.task = task
        self.task_digest = task_digest
        self.start = start
        self.bank = bank
        self.start_digest = start_digest
        self.seed = seed
        self.backend = backend
        self.recipes = recipes
        self.deployment = deployment

    def key(self, policy: Policy, fidelity: Fidelity) -> EvaluationKey:
        """Return the key under which the evaluation is stored; a caller's own functions count by their names."""
        parts = [self.recipes[fidelity].digest, self.start_digest, self.backend.names]
        if (deployment := self._deployment(fidelity)) is not None:
            parts.append(["int8", deployment.runtime])
        how = digest(parts)
        return EvaluationKey(policy.digest, self.task_digest, how, fidelity, self.seed)

    def evaluate(
        self,
        policy: Policy,
        fidelity: Fidelity,
        reporter: Reporter,
        checkpointer: Checkpointer | None = None,
        callback: TrainingCallback | None = None,
    ) -> tuple[Evaluation, bytes | None]:
        """Train and score ``policy``; the weights of finalists are worth keeping."""
        start = time.monotonic()
        with freed_memory_kept():
            trained = self.train(policy, fidelity, reporter, checkpointer, callback)
        seconds = time.monotonic() - start
        macs = paper_macs(self.task.network, policy, trained.realisation)
        evaluation = Evaluation(
            self.key(policy, fidelity), trained.val_accuracy, trained.realisation, seconds, macs_paper=macs
        )
        return evaluation, pack(trained.network.model, by_path(trained.gates)) if fidelity == "full" else None

    def train(
        self,
        policy: Policy,
        fidelity: Fidelity,
        reporter: Reporter,
        checkpointer: Checkpointer | None = None,
        callback: TrainingCallback | None = None,
    ) -> Trained:
        """Train and score ``policy`` from the shared weights."""
        network = clone(self.start)
        # Fresh gates, since they are trained with the policy's own knobs, with the shared weights.
        gates = attach_gates(network, policy)
        for site, gate in policy:
            if (site, gate) in self.bank:
                gates[site].load_state_dict(self.bank[(site, gate)].state_dict())
        form = training_form(network, gates)
        device = self.task.trainer
        data = self.task.data
        self.backend.train(
            form,
            data.train,
            self.recipes[fidelity],
            fidelity,
            seed=self.seed,
            device=device,
            progress=reporter.progress,
            checkpointer=checkpointer,
            callback=callback,
        )
        recalibrate(form, data.train, seed=self.seed, device=device)
        accuracy, traces = self.backend.score(form, data.val, "val", device=device)
        if (deployment := self._deployment(fidelity)) is not None:
            # What the gates decided is known of the network as trained alone.
            deployed = deployment.network(compact_form(network, policy, gates), policy, data)
            accuracy, _ = self.backend.score(deployed, data.val, "val", device=device)
        by_place = {gate_path(site): site for site, _ in policy}
        decisions = {by_place[path]: trace for path, trace in traces.decisions.items()}
        network.model.eval()
        return Trained(network, gates, accuracy, Realisation(decisions))

    def _deployment(self, fidelity: Fidelity) -> Deployment | None:
        """Return where networks of a fidelity are quantised to be scored; finalists are scored so where they end."""
        return self.deployment if fidelity == "short" else None

    def restore(self, policy: Policy, evaluation: Evaluation, weights: bytes) -> Trained:
        """Return a trained finalist from its stored weights."""
        network = clone(self.start)
        gates = restore_gates(network, policy, weights)
        return Trained(network, gates, evaluation.val_accuracy, evaluation.realisation)

    def sensitivities(self, space: BoundSpace, reporter: Reporter) -> dict[tuple[str, str], float]:
        """Return the increase of the validation loss by each choice alone, without training.

        With a score of the caller's own, it is the decrease of that score.
        """
        options = [(d, choice) for d in space.decisions for choice in d.choices if choice != DENSE_CHOICE]
        images = max(64, min(512, _SENSITIVITY_IMAGES // max(1, len(options))))
        dense = self._loss(DENSE, images)
        result = {}
        for i, (decision, choice) in enumerate(options):
            policy = canonical(space.policy({decision.name: choice}), self.start.sites)
            loss = self._loss(Policy(policy.gates), images)
            # What is no number would stay in the way of every ranking, and no database could keep it.
            result[(decision.name, choice)] = max(loss - dense, 1e-3) if math.isfinite(loss) else _HOPELESS
            reporter.progress((i + 1) / len(options), f"{decision.name} {choice}")
        return result

    def _loss(self, policy: Policy, images: int) -> float:
        """Mean cross entropy on the first ``images`` validation images, or minus the caller's own score.

        Gates are open as far as they are meant to be after training.
        """
        gates = attach_gates(self.start, policy, self.bank)
        form = training_form(self.start, gates).to(self.task.trainer).eval()
        for gate in gates.values():
            gate.as_trained = True
        try:
            if self.backend.score_fn is not None:
                return -self.backend.score(form, self.task.data.val, "val", device=self.task.trainer)[0]
            return self._cross_entropy(form, images)
        finally:
            for gate in gates.values():
                gate.as_trained = False

    def _cross_entropy(self, form: nn.Module, images: int) -> float:
        total, count = 0.0, 0
        with torch.inference_mode():
            for batch, labels in self.task.data.val.batches(64, limit=images):
                result = form(batch.to(self.task.trainer).contiguous(memory_format=torch.channels_last))
                logits = class_scores(result, self.backend.output)
                total += float(F.cross_entropy(logits.float().cpu(), labels, reduction="sum"))
                count += len(labels)
        return total / count
