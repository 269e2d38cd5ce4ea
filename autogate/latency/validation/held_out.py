"""Gated networks that no profile has seen: chosen from the lightest to dense, and measured twice."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from autogate.errors import ProfileError
from autogate.gates import get_family
from autogate.latency.hardware import exclusive_inference, throttle_watch
from autogate.latency.model import LatencyModel, keys_of, record_operators
from autogate.latency.profile import PlannedNetwork, random_network
from autogate.latency.timing import Round, interleave, prepare, quiet_passes, random_input, stationary, timed
from autogate.policy import DENSE, Gate
from autogate.records import Operator, Setting, Site
from autogate.sites import Network
from autogate.space.bound import BoundSpace
from autogate.surgery import attach_gates, compact_form, script_decisions

_CANDIDATES_PER_NETWORK = 20
_MIN_ROUNDS = 7


@dataclass(frozen=True)
class HeldOut:
    """What was measured.

    Attributes:
        planned: The networks.
        first_ms: Median latency of each in the first half of the time, float64 ``[networks]``.
        second_ms: Likewise in the second half.
        operators: What each executes.
        known_ms: Median latency, in the first half, of the reference networks, float64 ``[reference networks]``.
        known_again_ms: Likewise in the second half.
    """

    planned: tuple[PlannedNetwork, ...]
    first_ms: np.ndarray
    second_ms: np.ndarray
    operators: tuple[tuple[Operator, ...], ...]
    known_ms: np.ndarray = field(default_factory=lambda: np.zeros(0))
    known_again_ms: np.ndarray = field(default_factory=lambda: np.zeros(0))


def plan_held_out(model: LatencyModel, space: BoundSpace, count: int, seed: int) -> list[PlannedNetwork]:
    """Choose ``count`` random networks, evenly from the lightest to dense as the model sees them; dense is one.

    No other network of the profile is among them.

    Raises:
        ProfileError: If the profile has seen every network that was drawn.
    """
    rng = random.Random(f"held out {seed}")
    sites, batch_size = model.network.sites, model.profile.setting.batch_size
    found: dict[tuple[str, str], PlannedNetwork] = {}

    def decisions_of(site: Site, gate: Gate) -> tuple[int | None, ...]:
        return get_family(gate.family).decisions(site, gate, batch_size)

    for _ in range(_CANDIDATES_PER_NETWORK * count):
        drawn = random_network(space, sites, decisions_of, rng, share=rng.random())
        found.setdefault((drawn.policy.digest, str(drawn.decisions)), drawn)
    seen = {sample.keys for sample in model.profile.networks}
    networks = [replace(drawn, executors=model.plan(drawn.policy)) for drawn in found.values() if drawn.policy.gates]
    networks = [n for n in networks if keys_of(model.units, n.policy, n.decisions, n.executors) not in seen]
    if not networks:
        raise ProfileError("the profile has seen every network of this space; validate it with a larger --space")
    ms = np.array([model.predict(one.policy, one.realisation(sites, batch_size)).p50 for one in networks])
    chosen = [PlannedNetwork(DENSE, {})]
    for target in np.linspace(ms.min(), model.dense_ms, min(count, len(networks) + 1) - 1, endpoint=False):
        nearest = int(np.argmin(np.abs(ms - target)))
        chosen.append(networks[nearest])
        ms[nearest] = np.inf
    return chosen


def measure_held_out(
    network: Network,
    planned: Sequence[PlannedNetwork],
    setting: Setting,
    *,
    seconds: float,
    references: Sequence[PlannedNetwork] = (),
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> HeldOut:
    """Measure networks interleaved with ``references``, twice one after the other, for about ``seconds`` in all."""
    network = replace(network, model=copy.deepcopy(network.model))
    x = random_input(network.input_shape, setting, seed)
    subjects, operators = [], []
    for wanted in (*planned, *references):
        gates = attach_gates(network, wanted.policy)
        form = compact_form(network, wanted.policy, gates, plan=wanted.executors, share_weights=True)
        script_decisions(form, wanted.decisions)
        prepare(form, setting)
        operators.append(record_operators(form, x))
        subjects.append(timed(form, x, setting))
    medians = []
    start = time.monotonic()
    for half in (0, 1):

        def watch(one: Round) -> bool:
            if progress is not None:
                progress(min(1.0, (time.monotonic() - start) / seconds), f"round {one.number}")
            return False

        with exclusive_inference(setting), throttle_watch(torch.device(setting.device)) as throttled:
            passes = interleave(
                subjects,
                seconds=seconds / 2,
                warm_up=2,
                min_rounds=_MIN_ROUNDS,
                seed=2 * seed + half,
                done=watch,
                throttled=throttled,
            )
        steady = stationary(passes.ms, passes.groups, passes.throttled, quiet_passes(passes.ms))
        medians.append(steady.medians(passes.ms))
    count = len(planned)
    first, second = medians
    return HeldOut(
        tuple(planned), first[:count], second[:count], tuple(operators[:count]), first[count:], second[count:]
    )
