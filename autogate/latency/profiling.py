"""Profile a network on the device at hand: every unit in every form, in place, in whole gated networks."""

from __future__ import annotations

import copy
import datetime
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from autogate.gates import get_family
from autogate.latency.card import take_card
from autogate.latency.executors import FastestExecutors
from autogate.latency.operators import record_operators
from autogate.latency.plan import PlannedNetwork, plan_alone, plan_networks
from autogate.latency.steadiness import Steady, median_iqr, steady
from autogate.latency.threads import inference
from autogate.latency.timing import Clock, MarkedNetwork, interleave, prepare, random_input, timed
from autogate.latency.units import GONE, Unit, cut_into_units, keys_of
from autogate.policy import DENSE, Gate
from autogate.records import NetworkSample, Profile, Setting, UnitSample
from autogate.sites import Network
from autogate.space.bound import BoundSpace
from autogate.surgery import attach_gates, compact_form, gate_path

_SECONDS_PER_LAYOUT = 1.5
_CARD_SHARE = 0.1
_SCREEN_SHARE = 0.3
_NETWORKS = 28
_MIN_NETWORKS = 10
_MIN_ROUNDS = 4
_WIDTH = 0.01
_SCREEN_WIDTH = 0.02
# A lone gate must bring its unit below this share of the dense time to be worth more measurements.
_PAYING = 0.97

Progress = Callable[[float, str], None]


def fastest_layout(network: Network, setting_for: Callable[[str], Setting]) -> str:
    """Return the memory layout in which the dense network runs fastest on the device.

    Dense gets the same help as gated: the layout it likes best is the one both are measured in.
    """
    layouts = ("contiguous", "channels_last")
    times: dict[str, list[float]] = {layout: [] for layout in layouts}
    subjects = []
    for layout in layouts:
        setting = setting_for(layout)
        module = prepare(compact_form(network, DENSE, {}), setting)
        x = random_input(network.input_shape, setting)
        subjects.append(timed(module, x, Clock(torch.device(setting.device)), times[layout]))
    with inference(setting_for(layouts[0])):
        interleave(subjects, seconds=len(layouts) * _SECONDS_PER_LAYOUT, min_rounds=7)
    return min(layouts, key=lambda layout: float(np.median(times[layout])))


def take_profile(
    network: Network,
    space: BoundSpace,
    setting: Setting,
    *,
    model: str,
    seconds: float = 40.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Profile:
    """Measure gated networks for about ``seconds`` seconds and return the samples.

    A first round runs every gate alone, everywhere it fits; gates that save nothing in any unit are then
    left out, so that the rest of the time goes to mixtures of the gates that can pay.

    Args:
        network: The network; its weights do not matter.
        space: The gates to cover.
        setting: How to run.
        model: The network's name, kept in the profile.
        seconds: Time to spend; a few passes of every planned network are always made.
        seed: Seed of the plan and of the order of passes.
        progress: Called with a fraction in [0, 1] and what is going on.
    """
    start = time.monotonic()
    card = take_card(setting, seconds=_CARD_SHARE * seconds)
    units = cut_into_units(network)
    # The planned networks share what no gate touches, and are moved to the device: not the caller's weights.
    network = replace(network, model=copy.deepcopy(network.model))
    x = random_input(network.input_shape, setting, seed)

    def report(what: str) -> Callable[[int], None]:
        def watch(rounds: int) -> None:
            if progress is not None:
                progress(min(1.0, (time.monotonic() - start) / seconds), f"{what}, round {rounds}")

        return watch

    alone = plan_alone(space, network.sites, units, setting.batch_size)
    screened = _run(
        network, units, alone, setting, x, _SCREEN_SHARE * seconds, seed, report("every gate alone"), _SCREEN_WIDTH
    )
    unit_ms = _unit_times(screened)
    paying = space.restricted(_pays(network, units, space, setting.batch_size, unit_ms))
    mixed = plan_networks(
        paying, network.sites, units, setting.batch_size, count=_NETWORKS, seed=seed,
        executors=FastestExecutors(network.sites, units, unit_ms, setting.batch_size).plan,
    )  # fmt: skip
    left = seconds - (time.monotonic() - start)
    profiled = _run(network, units, mixed, setting, x, left, seed, report("gates mixed"), _WIDTH, optional=True)
    # What was seen among mixed networks is not taken from the first round: that was another time.
    again = {sample.key for sample in profiled.units}
    samples = [sample for sample in screened.units if sample.key not in again] + profiled.units
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Profile(setting, card, model, network.input_shape, created, tuple(samples), tuple(profiled.networks))


@dataclass
class _Samples:
    units: list[UnitSample]
    networks: list[NetworkSample]


def _unit_times(samples: _Samples) -> dict[str, float]:
    """Return the median time of every unit form seen, in milliseconds, by key."""
    times: dict[str, list[float]] = defaultdict(list)
    for sample in samples.units:
        times[sample.key].append(sample.ms)
    return {GONE: 0.0, **{key: float(np.median(values)) for key, values in times.items()}}


def _run(
    network: Network,
    units: tuple[Unit, ...],
    plan: list[PlannedNetwork],
    setting: Setting,
    x: torch.Tensor,
    seconds: float,
    seed: int,
    watch: Callable[[int], None],
    half_width: float,
    optional: bool = False,
) -> _Samples:
    """Time the planned networks interleaved for at most ``seconds``, the building included.

    Rounds end early when the typical interval of a network's median is as narrow as ``half_width``, relative to
    the median. Where the networks are ``optional``, building stops when half of the time is gone.
    """
    end = time.monotonic() + seconds
    subjects = []
    for planned in plan:
        subjects.append(_Subject(network, units, planned, setting))
        watch(0)
        if optional and time.monotonic() > end - seconds / 2 and len(subjects) >= _MIN_NETWORKS:
            break

    def narrow(rounds: int) -> bool:
        watch(rounds)
        return rounds % 10 == 0 and _half_width(subjects, rounds) < half_width

    with inference(setting):
        runs = [subject.run(x) for subject in subjects]
        passes = interleave(
            runs, seconds=end - time.monotonic(), warm_up=1, min_rounds=_MIN_ROUNDS, seed=seed, done=narrow
        )
    samples = _Samples([], [])
    whole_ms = np.array([[whole for whole, _ in subject.times[-passes:]] for subject in subjects])
    rounds = steady(whole_ms)
    for number, subject in enumerate(subjects):
        parts, whole = subject.samples(number, passes, rounds)
        samples.units += parts
        samples.networks.append(whole)
    return samples


def _pays(
    network: Network, units: tuple[Unit, ...], space: BoundSpace, batch_size: int, unit_ms: Mapping[str, float]
) -> Callable[[str, Gate], bool]:
    """Whether a lone gate, at its lightest and fastest, saves time in its block, or in any unit it touches."""

    def pays(site: str, gate: Gate) -> bool:
        family, place = get_family(gate.family), network.sites[site]
        decision = family.decisions(place, gate, batch_size)[0]
        touched = [unit for unit in units if site in unit.sites]
        if place.kind == "block":
            left = sum(unit_ms[unit.key({site: gate}, {site: decision})] for unit in touched)
            return left < _PAYING * sum(unit_ms[unit.type] for unit in touched)
        for unit in touched:
            plans = [{}, *({site: name} for name in family.executors(place, gate, batch_size)[1:])]
            keys = [unit.key(space.alone(site, gate), {site: decision}, plan) for plan in plans]
            if min(unit_ms[key] for key in keys) < _PAYING * unit_ms[unit.type]:
                return True
        return False

    return pays


class _Subject:
    """One planned network: its compact form with unit marks, and the times seen so far."""

    def __init__(self, network: Network, units: tuple[Unit, ...], planned: PlannedNetwork, setting: Setting) -> None:
        self.planned = planned
        compact = compact_form(
            network, planned.policy, attach_gates(network, planned.policy), plan=planned.executors, share_weights=True
        )
        script(compact, planned.decisions)
        prepare(compact, setting)
        x = random_input(network.input_shape, setting)
        self.macs = sum(operator.macs for operator in record_operators(compact, x)) // setting.batch_size
        self.marked = MarkedNetwork(compact, Clock(torch.device(setting.device)))
        self.keys = keys_of(units, planned.policy, planned.decisions, planned.executors)
        self.times: list[tuple[float, dict[int, float]]] = []

    def run(self, x: torch.Tensor) -> Callable[[], None]:
        """Return a call that runs the network once and keeps its times."""
        return lambda: self.times.append(self.marked.run(x))

    def samples(self, number: int, passes: int, rounds: Steady) -> tuple[list[UnitSample], NetworkSample]:
        """Return one sample per unit, and one of the whole, over the steady rounds among the last ``passes``.

        A unit with nothing left takes 0 ms.
        """
        times = self.times[-passes:]
        kept = int(rounds.kept.sum())
        units = []
        for index, key in enumerate(self.keys):
            if key == GONE:
                continue
            median, iqr = median_iqr(rounds.of(np.array([parts.get(index, 0.0) for _, parts in times])))
            units.append(UnitSample(key, median, iqr, kept, number))
        median, iqr = median_iqr(rounds.of(np.array([whole for whole, _ in times])))
        policy = self.planned.policy.to_json()
        return units, NetworkSample(policy, self.keys, median, iqr, kept, number, self.macs)


def _half_width(subjects: list[_Subject], rounds: int) -> float:
    """Return the half-width of the 95 % interval of a median, relative to it, as the median over networks."""
    widths = []
    for subject in subjects:
        median, iqr = median_iqr(np.array([whole for whole, _ in subject.times[-rounds:]]))
        widths.append(1.82 * iqr / math.sqrt(rounds) / median)
    return float(np.median(widths))


def script(compact: torch.nn.Module, decisions: Mapping[str, int | None]) -> None:
    """Tell the varying gates of a compact network which decision to take, whatever the input.

    A map gate inside a gated block lives below the block's gate.
    """
    paths = {gate_path(site): decision for site, decision in decisions.items() if decision is not None}
    for name, module in compact.named_modules():
        for path, decision in paths.items():
            if name == path or name.endswith("." + path):
                module.scripted = decision
