"""The training loop that every stage uses, and scoring after it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from autogate.data import Split
from autogate.device_lock import training_step
from autogate.errors import TrainingError
from autogate.gates import TrainingGate
from autogate.records import Realisation
from autogate.surgery import run_heads, selections, site_at
from autogate.training.recipe import Recipe
from autogate.training.scores import class_scores
from autogate.training.sliced_sgd import SlicedSGD
from autogate.training.state import Checkpointer, pack_training, unpack_training
from autogate.training.threads import TrainingThreads

Progress = Callable[[float, str], None]


class TrainingCallback(Protocol):
    """Evaluates a network while it is trained."""

    def is_due(self, images: int) -> bool:
        """Whether a part of the training ends with ``images`` seen."""

    def reach(self, images: int, form: nn.Module) -> None:
        """Evaluate the network; raise an error to end its training."""


_WARM_UP_SHARE = 0.1


def cosine_lr(recipe: Recipe, fraction: float) -> float:
    """Return the learning rate after ``fraction`` of the training: a short warm-up, then a cosine to 0."""
    if fraction < _WARM_UP_SHARE:
        return recipe.lr * (0.1 + 0.9 * fraction / _WARM_UP_SHARE)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (fraction - _WARM_UP_SHARE) / (1 - _WARM_UP_SHARE)))


def optimiser_for(parameters: Sequence[nn.Parameter], recipe: Recipe, form: nn.Module) -> torch.optim.SGD:
    """Return SGD that decays matrices and kernels, but no biases and normalisation weights.

    Gates may learn faster than the network. Of layers in ``form`` that run on selected channels, it updates
    those alone.
    """
    factors = {p: gate.lr_factor for gate in gates_of(form).values() for p in gate.parameters()}
    alike: dict[tuple[float, float], list[nn.Parameter]] = {}
    for p in parameters:
        decay = recipe.weight_decay if p.ndim > 1 else 0.0
        alike.setdefault((decay, factors.get(p, 1.0)), []).append(p)
    groups: list[dict[str, Any]] = [
        {"params": members, "weight_decay": decay, "lr_factor": factor} for (decay, factor), members in alike.items()
    ]
    return SlicedSGD(groups, lambda: selections(form), lr=recipe.lr, momentum=recipe.momentum, nesterov=True)


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of an optimiser of :func:`optimiser_for`."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group["lr_factor"]


def training_batches(
    split: Split, recipe: Recipe, seed: int, device: torch.device, start: int = 0
) -> Iterator[tuple[float, torch.Tensor, torch.Tensor]]:
    """Yield (fraction done, images ``[B, 3, H, W]``, labels ``[B]``) until the recipe's images are seen.

    The first ``start`` images, as many as whole batches have, are left out: they were seen before.
    """
    drop_last = len(split) > recipe.batch_size
    per_epoch = len(split) // recipe.batch_size * recipe.batch_size if drop_last else len(split)
    seen = start // per_epoch * per_epoch
    for epoch in itertools.count(start // per_epoch):
        for images, labels in split.batches(
            recipe.batch_size, shuffle_seed=seed * 1_000_003 + epoch, augment=True, drop_last=drop_last
        ):
            if seen >= recipe.images:
                return
            if seen >= start:
                images = images.to(device).contiguous(memory_format=torch.channels_last)
                yield seen / recipe.images, images, labels.to(device)
            seen += len(images)


def train(
    form: nn.Module,
    split: Split,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    progress: Progress | None = None,
    checkpointer: Checkpointer | None = None,
    callback: TrainingCallback | None = None,
    output: str | None = None,
    threads: TrainingThreads | None = None,
) -> None:
    """Train ``form`` in place. Heads that run in training only are left alone.

    Args:
        form: The network, with its gates.
        split: Images to train on.
        recipe: Number of images, batch size, learning rate and so on.
        seed: Seed of order, augmentation and gates.
        device: Device to train on.
        progress: Called after every step with the fraction done, in [0, 1], and the loss as text.
        checkpointer: Stores the state of the training, from which an interrupted one is resumed.
        callback: Called at the end of parts of the training; may end it by an error.
        output: Place of the scores among what the network returns, as in :func:`class_scores`.
        threads: Sets the number of CPU threads of each step; None for torch's own.

    Raises:
        TrainingError: If the loss stops being finite; says after how many images.
    """
    form.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    form.train()
    run_heads(form, False)
    gates = gates_of(form)
    parameters = [p for p in form.parameters() if p.requires_grad]
    if not parameters:
        raise TrainingError("every weight of the network is frozen; set requires_grad on those that may be trained")
    optimiser = optimiser_for(parameters, recipe, form)
    threads = threads or TrainingThreads(torch.get_num_threads())
    threads.begin()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        stored = None if checkpointer is None else checkpointer.load()
        start = 0 if stored is None else unpack_training(stored, form, gates, optimiser, device)
        for fraction, images, labels in training_batches(split, recipe, seed, device, start):
            with training_step(device), threads.step(device):
                set_lr(optimiser, cosine_lr(recipe, fraction))
                set_training_progress(gates.values(), fraction)
                with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bfloat16):
                    logits = class_scores(form(images), output)
                loss = loss_of(logits, labels, gates, fraction * recipe.images / len(split))
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                for gate in gates.values():
                    gate.after_backward()
                nn.utils.clip_grad_norm_(parameters, 5.0)
                optimiser.step()
                if progress is not None:
                    progress(fraction, f"loss {loss.item():.3f}")
            seen = round(fraction * recipe.images) + len(images)
            if callback is not None and callback.is_due(seen):
                callback.reach(seen, form)
                form.train()
            if checkpointer is not None and checkpointer.is_due():
                checkpointer.save(pack_training(form, gates, optimiser, device, seen), seen)


def loss_of(
    logits: torch.Tensor, labels: torch.Tensor, gates: Mapping[str, TrainingGate], epochs: float
) -> torch.Tensor:
    """Return cross entropy plus the gates' loss terms.

    Raises:
        TrainingError: If it is not finite; names the epoch and the state of the gates.
    """
    loss = F.cross_entropy(logits.float(), labels) + gate_loss(gates.values())
    if not torch.isfinite(loss):
        stood = [f"{site_at(path)} {text}" for path, gate in gates.items() if (text := gate.describe())]
        raise TrainingError(
            f"the loss became {loss.item()} in epoch {int(epochs) + 1}; try a lower --lr"
            + (f" (gates: {', '.join(stood)})" if stood else "")
        )
    return loss


def set_training_progress(gates: Iterable[TrainingGate], fraction: float) -> None:
    """Advance the schedules of gates to ``fraction`` of the training, in [0, 1], for the next forward pass."""
    for gate in gates:
        gate.set_progress(fraction)


def gate_loss(gates: Iterable[TrainingGate]) -> torch.Tensor | float:
    """Return the sum of the gates' loss terms for the last forward pass, a scalar; 0.0 if no gate has any."""
    by_rule: dict[Callable[..., torch.Tensor | None], list[TrainingGate]] = {}
    for gate in gates:
        by_rule.setdefault(type(gate).joint_loss, []).append(gate)
    terms = [term for joint_loss, members in by_rule.items() if (term := joint_loss(members)) is not None]
    return sum(terms) if terms else 0.0


def gates_of(form: nn.Module) -> dict[str, TrainingGate]:
    """Return the training gates in ``form`` by module path."""
    return {name: module for name, module in form.named_modules() if isinstance(module, TrainingGate)}


def score(
    form: nn.Module, split: Split, *, device: torch.device, limit: int | None = None, output: str | None = None
) -> tuple[float, Realisation]:
    """Return the accuracy on ``split`` as a fraction, and the decisions of varying gates for every image scored.

    ``output`` is the place of the scores among what the network returns, as in :func:`class_scores`.
    """
    correct, total = 0, 0
    traces = _Traces(form)
    for result, labels in _outputs(form, split, device, limit):
        logits = class_scores(result, output)
        if not logits.isfinite().all():
            raise TrainingError("the network's outputs are not finite; try a lower --lr")
        correct += int((logits.argmax(dim=1).cpu() == labels).sum())
        total += len(labels)
        traces.record()
    if total == 0:
        raise TrainingError("there is no image to score on; use a larger dataset")
    return correct / total, traces.realisation()


def trace_decisions(form: nn.Module, split: Split, *, device: torch.device) -> Realisation:
    """Return the decisions of varying gates for every image of ``split``."""
    traces = _Traces(form)
    if traces.gates:
        for _ in _outputs(form, split, device, None):
            traces.record()
    return traces.realisation()


def _outputs(
    form: nn.Module, split: Split, device: torch.device, limit: int | None
) -> Iterator[tuple[Any, torch.Tensor]]:
    form.to(device).eval()
    with torch.inference_mode():
        for images, labels in split.batches(split.evaluation_batch(), limit=limit):
            with training_step(device):
                result = form(images.to(device).contiguous(memory_format=torch.channels_last))
            yield result, labels


class _Traces:
    """Decisions of the gates in ``form``, image by image."""

    def __init__(self, form: nn.Module) -> None:
        self.gates = gates_of(form)
        self.decisions: dict[str, list[int]] = {name: [] for name in self.gates}

    def record(self) -> None:
        """Keep the decisions of the last forward pass."""
        for name, gate in self.gates.items():
            if gate.decision is not None:
                self.decisions[name] += gate.decision.tolist()

    def realisation(self) -> Realisation:
        return Realisation({name: tuple(trace) for name, trace in self.decisions.items() if trace})
