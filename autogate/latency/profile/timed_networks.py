"""Gated networks as a profile runs them: with marks between units, and with given decisions of their gates."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import fx

from autogate.latency.hardware import exclusive_inference, inference_setting, throttle_watch
from autogate.latency.model import REMOVED, Unit, entries, keys_of, operators_by_unit
from autogate.latency.profile.plan import PlannedNetwork
from autogate.latency.timing import (
    Clock,
    MarkedNetwork,
    Pass,
    Round,
    interleave,
    median_interval,
    median_iqr,
    numbered,
    prepare,
    quiet_passes,
    random_input,
    stationary,
)
from autogate.records import NetworkSample, Setting, UnitForm, UnitSample
from autogate.runtimes import UnitTimes, get_runtime, runnable, timed_by_unit
from autogate.sites import Network
from autogate.surgery import attach_gates, compact_form, script_decisions


class TimedNetwork:
    """One planned network in its compact form.

    Args:
        network: The network, whose weights its compact forms share.
        units: Its units.
        planned: What to run.
        setting: How to run.
    """

    def __init__(self, network: Network, units: tuple[Unit, ...], planned: PlannedNetwork, setting: Setting) -> None:
        self.planned = planned
        compact = _compact(network, planned, setting)
        x = random_input(network.input_shape, setting)
        self.keys = keys_of(units, planned.policy, planned.decisions, planned.executors)
        self.entries = dict(entries(self.keys))
        executed = operators_by_unit(compact, x)
        self.macs = sum(one.macs for operators in executed.values() for one in operators) // setting.batch_size
        self.forms = {key: UnitForm(key, executed.get(i, ())) for i, key in enumerate(self.keys) if key != REMOVED}
        self.last: Pass | None = None
        self._run = self._prepared(compact, x, setting)

    def run(self) -> float:
        """Run once, keep what it took as ``last``, and return that of the whole, in milliseconds."""
        self.last = self._run()
        return self.last.whole_ms

    def _prepared(self, compact: fx.GraphModule, x: torch.Tensor, setting: Setting) -> Callable[[], Pass]:
        """Return what runs the network once, and times it and its units."""
        whole = None
        with exclusive_inference(setting):
            if (by_unit := timed_by_unit(compact, x, setting)) is not None:
                return lambda: self._pass(by_unit.time_ms(x))
            if get_runtime(setting.runtime).needs_eager_units:
                whole = runnable(compact, x, setting)
        marked = MarkedNetwork(compact, Clock(torch.device(setting.device)), whole)
        return lambda: marked.run(x)

    def _pass(self, times: UnitTimes) -> Pass:
        """Return a pass in which the time before a unit is its own, unless layouts change there."""
        units_ms = dict(times.units_ms)
        for index, ms in times.entries_ms.items():
            if index not in self.entries:
                units_ms[index] = units_ms.get(index, 0.0) + ms
        entries_ms = {index: times.entries_ms.get(index, 0.0) for index in self.entries}
        return Pass(times.whole_ms, units_ms, entries_ms=entries_ms)


def _compact(network: Network, planned: PlannedNetwork, setting: Setting) -> fx.GraphModule:
    gates = attach_gates(network, planned.policy)
    compact = compact_form(network, planned.policy, gates, plan=planned.executors, share_weights=True)
    script_decisions(compact, planned.decisions)
    prepare(compact, setting)
    return compact


def executed_macs(network: Network, planned: PlannedNetwork, *, setting: Setting) -> int:
    """Return how many MACs a planned network executes for a batch."""
    compact, x = _compact(network, planned, setting), random_input(network.input_shape, setting)
    with inference_setting(setting):
        return sum(one.macs for operators in operators_by_unit(compact, x).values() for one in operators)


def prepare_networks(network: Network, plan: Sequence[PlannedNetwork], setting: Setting) -> None:
    """Get ready to build several planned networks, where the runtime then builds them faster."""
    compacts = (_compact(network, planned, setting) for planned in plan)
    with inference_setting(setting):
        get_runtime(setting.runtime).prepare_all(compacts, random_input(network.input_shape, setting))


@dataclass(frozen=True)
class Samples:
    """Measurements of networks: times of the networks and their units, and the operators of each unit."""

    units: list[UnitSample]
    networks: list[NetworkSample]
    forms: list[UnitForm]

    def joined(self, more: Samples) -> Samples:
        """Return these and more of them; forms that stand in both are those of ``more``."""
        forms = {form.key: form for form in (*self.forms, *more.forms)}
        return Samples([*self.units, *more.units], [*self.networks, *more.networks], list(forms.values()))


def time_networks(
    network: Network,
    units: tuple[Unit, ...],
    plan: Sequence[PlannedNetwork],
    setting: Setting,
    *,
    seconds: float,
    phase: str,
    first_number: int = 0,
    seed: int = 0,
    min_rounds: int = 7,
    progress: Callable[[float, str], None] | None = None,
) -> Samples:
    """Time networks interleaved for about ``seconds``, at least ``min_rounds`` passes each."""
    network = replace(network, model=copy.deepcopy(network.model))
    prepare_networks(network, plan, setting)
    subjects = [TimedNetwork(network, units, planned, setting) for planned in plan]
    rounds: list[list[Pass]] = []
    start = time.monotonic()

    def keep(one: Round) -> bool:
        rounds.append(last_passes(subjects, one))
        if progress is not None:
            progress(min(1.0, (time.monotonic() - start) / max(seconds, 1e-9)), f"round {one.number}")
        return False

    with exclusive_inference(setting), throttle_watch(torch.device(setting.device)) as throttled:
        interleave(
            [subject.run for subject in subjects],
            seconds=seconds,
            warm_up=2,
            min_rounds=min_rounds,
            seed=seed,
            done=keep,
            throttled=throttled,
        )
    return samples_of(subjects, rounds, phase, first_number)


def last_passes(subjects: Sequence[TimedNetwork], one: Round) -> list[Pass]:
    """Return the passes of the round that has just ended."""
    return [
        replace(subject.last, group=int(group), throttled=bool(throttled))
        for subject, group, throttled in zip(subjects, one.groups, one.throttled, strict=True)
        if subject.last is not None
    ]


def needs_quiet(rounds: Sequence[Sequence[Pass]], fewest: int) -> bool:
    """Whether some network was disturbed so often that fewer than ``fewest`` of its passes count."""
    whole_ms = np.array([[one.whole_ms for one in passes] for passes in rounds]).T
    return any(not quiet.all() and quiet.sum() < fewest for quiet in quiet_passes(whole_ms))


def samples_of(
    subjects: Sequence[TimedNetwork], rounds: Sequence[Sequence[Pass]], phase: str, first_number: int
) -> Samples:
    """Return one sample per unit of every network, one for each place before which layouts change, and one per network.

    They are over the undisturbed passes.

    Args:
        subjects: The networks.
        rounds: One pass of each of them per round.
        phase: What the networks were run for.
        first_number: Number of the first network within the profile.
    """
    whole_ms = np.array([[one.whole_ms for one in passes] for passes in rounds]).T
    throttled = np.array([[one.throttled for one in passes] for passes in rounds]).T
    quiet = quiet_passes(whole_ms)
    groups = numbered([np.array([one.group for one in passes]) for passes in rounds])
    undisturbed = stationary(whole_ms, groups, throttled, quiet)
    units, networks = [], []
    for row, subject in enumerate(subjects):
        number = first_number + row
        passes = [every[row] for every in rounds]
        kept = int(undisturbed.kept[row].sum())
        for index, key in enumerate(subject.keys):
            if key == REMOVED:
                continue
            unit_ms = undisturbed.of(row, np.array([one.units_ms.get(index, 0.0) for one in passes]))
            if not quiet[row].all():  # of small networks, the units ran in another pass than the whole
                unit_ms = unit_ms[quiet_passes(unit_ms)]
            median, iqr = median_iqr(unit_ms)
            host_ms = float(np.median([one.host_ms.get(index, 0.0) for one in passes]))
            units.append(UnitSample(key, median, iqr, kept, number, host_ms))
        for index in passes[0].entries_ms:
            entry_ms = undisturbed.of(row, np.array([one.entries_ms[index] for one in passes]))
            units.append(UnitSample(subject.entries[index], *median_iqr(entry_ms), kept, number))
        times = undisturbed.of(row, whole_ms[row])
        median, iqr = median_iqr(times)
        policy = subject.planned.policy.to_json()
        networks.append(
            NetworkSample(
                policy,
                subject.keys,
                median,
                iqr,
                kept,
                number,
                subject.macs,
                median_interval(times),
                phase,
                {site: kept for site, kept in subject.planned.decisions.items() if kept is not None},
                dict(subject.planned.executors),
            )
        )
    forms = {key: form for subject in subjects for key, form in subject.forms.items()}
    return Samples(units, networks, list(forms.values()))
