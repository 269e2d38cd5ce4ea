"""Weights that serve every policy of a space, trained once: the start of every candidate.

Each step trains three networks on one batch, the sandwich of slimmable networks: dense, the lightest, and a
random policy, all on the same weights.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from autogate.data import Split
from autogate.device_lock import training_step
from autogate.gates import TrainingGate, get_family
from autogate.policy import DENSE, Gate, Policy
from autogate.sites import Network
from autogate.space.bound import DENSE_CHOICE, BoundSpace
from autogate.surgery import attach_gates, canonical, dense_parts, run_heads, training_form, training_knobs
from autogate.training.loop import (
    Progress,
    cosine_lr,
    loss_of,
    optimiser_for,
    set_lr,
    set_training_progress,
    training_batches,
)
from autogate.training.recipe import Recipe
from autogate.training.scores import class_scores
from autogate.training.state import Checkpointer, pack_training, unpack_training
from autogate.training.threads import TrainingThreads

SharedGates = dict[tuple[str, Gate], TrainingGate]


def make_bank(network: Network, space: BoundSpace, seed: int) -> SharedGates:
    """Return one gate for each site and gene value of the families that have weights."""
    bank: SharedGates = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for site, gate in space.gates():
            family = get_family(gate.family)
            if family.has_weights:
                parts = dense_parts(network, site)
                bank[(site, gate)] = family.build_training_gate(
                    network.sites[site], gate, parts, training_knobs(DENSE, family.name)
                )
    return bank


def train_shared(
    network: Network,
    space: BoundSpace,
    bank: SharedGates,
    split: Split,
    recipe: Recipe,
    *,
    fastest: Policy,
    seed: int,
    device: torch.device,
    progress: Progress | None = None,
    checkpointer: Checkpointer | None = None,
    output: str | None = None,
    threads: TrainingThreads | None = None,
) -> None:
    """Train ``network.model`` and ``bank`` in place over random policies of ``space``.

    ``checkpointer``, ``output`` and ``threads`` are as in :func:`train`.
    """
    rng = random.Random(seed)
    holder = nn.ModuleList([network.model, *bank.values()])
    holder.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    holder.train()
    parameters = [p for p in holder.parameters() if p.requires_grad]
    optimiser = optimiser_for(parameters, recipe, holder)
    threads = threads or TrainingThreads(torch.get_num_threads())
    threads.begin()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        stored = None if checkpointer is None else checkpointer.load()
        start = 0 if stored is None else unpack_training(stored, holder, {}, optimiser, device)
        for _ in range(0, start, recipe.batch_size):  # the policies of the steps that are over
            random_policy(space, network, rng)
        for fraction, images, labels in training_batches(split, recipe, seed, device, start):
            with training_step(device), threads.step(device):
                set_lr(optimiser, cosine_lr(recipe, fraction))
                optimiser.zero_grad(set_to_none=True)
                for policy in (DENSE, fastest, random_policy(space, network, rng)):
                    gates = attach_gates(network, policy, bank)
                    form = training_form(network, gates)
                    form.train()
                    run_heads(form, False)
                    set_training_progress(gates.values(), fraction)
                    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bfloat16):
                        scores = class_scores(form(images), output)
                    loss = loss_of(scores, labels, gates, fraction * recipe.images / len(split))
                    (loss / 3).backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], 5.0)
                optimiser.step()
                if progress is not None:
                    progress(fraction, f"loss {loss.item():.3f}")
            if checkpointer is not None and checkpointer.is_due():
                seen = round(fraction * recipe.images) + len(images)
                checkpointer.save(pack_training(holder, {}, optimiser, device, seen), seen)


def random_policy(space: BoundSpace, network: Network, rng: random.Random) -> Policy:
    """Return a canonical policy whose share of gated sites is itself random."""
    share = rng.random()

    def pick(choices: Sequence[str]) -> str:
        gated = [choice for choice in choices if choice != DENSE_CHOICE]
        return rng.choice(gated) if gated and rng.random() < share else choices[0]

    return canonical(space.policy({d.name: pick(d.choices) for d in space.decisions}), network.sites)


def clone(network: Network) -> Network:
    """Return a copy whose weights can be trained without touching the original's."""
    return replace(network, model=copy.deepcopy(network.model))
