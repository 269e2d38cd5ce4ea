"""Profile a network on the device at hand: every unit in every form, in place, in whole gated networks."""

from __future__ import annotations

import copy
import datetime
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from autogate.gates import get_family
from autogate.latency.card import take_card
from autogate.latency.device import LAYOUTS
from autogate.latency.executors import FastestExecutors
from autogate.latency.interleaving import GROUP, Round, interleave
from autogate.latency.journal import Journal
from autogate.latency.plan import PlannedNetwork, plan_alone, plan_networks
from autogate.latency.steadiness import median_interval, median_iqr
from autogate.latency.subjects import Samples, Subject, last_passes, samples_of
from autogate.latency.threads import inference
from autogate.latency.timing import WARM_UP_S, Pass, prepare, random_input, timed
from autogate.latency.units import GONE, Unit, cut_into_units, keys_of
from autogate.policy import DENSE, Gate, digest
from autogate.records import ALONE, MIXED, WARM, NetworkSample, Profile, Setting, UnitSample
from autogate.sites import Network
from autogate.space.bound import BoundSpace
from autogate.surgery import compact_form

_SECONDS_PER_LAYOUT = 1.5
_CARD_SHARE = 0.1
_CARD_SECONDS = 20.0
_SCREEN_SHARE = 0.3
# Mixed networks: as many as leave time for enough rounds, and a share of the time for these in any case.
_MOST_NETWORKS = 96
_MIN_NETWORKS = 10
_ROUNDS_SHARE = 0.3
_MIN_ROUNDS = 4
_WANTED_ROUNDS = 12
_WIDTH = 0.01
_SCREEN_WIDTH = 0.02
_WARM_PASSES = 30
_WARM_SECONDS = 2.0
# A lone gate must bring its unit below this share of the dense time to be worth more measurements.
_PAYING = 0.97

Progress = Callable[[float, str], None]


def fastest_layout(network: Network, setting_for: Callable[[str], Setting]) -> str:
    """Return the memory layout in which the dense network runs fastest on the device.

    Dense gets the same help as gated: the layout it likes best is the one both are measured in.
    """
    subjects = []
    for layout in LAYOUTS:
        setting = setting_for(layout)
        module = prepare(compact_form(network, DENSE, {}), setting)
        x = random_input(network.input_shape, setting)
        subjects.append(timed(module, x, setting))
    with inference(setting_for("contiguous")):
        passes = interleave(subjects, seconds=len(LAYOUTS) * _SECONDS_PER_LAYOUT, warm_up_s=WARM_UP_S, min_rounds=7)
    return list(LAYOUTS)[int(np.argmin(np.median(passes.ms, axis=1)))]


def take_profile(
    network: Network,
    space: BoundSpace,
    setting: Setting,
    *,
    model: str,
    seconds: float = 40.0,
    seed: int = 0,
    progress: Progress | None = None,
    kept_in: Path | None = None,
    spent_s: float = 0.0,
) -> Profile:
    """Measure gated networks for about ``seconds`` seconds and return the samples.

    A first phase runs every gate alone, everywhere it fits; gates that save nothing in any unit are then
    left out, so that the rest of the time goes to mixtures of the gates that can pay.

    Args:
        network: The network; its weights do not matter.
        space: The gates to cover.
        setting: How to run.
        model: The network's name, kept in the profile.
        seconds: Time to spend; a few passes of every planned network are always made.
        seed: Seed of the plan and of the order of passes.
        progress: Called with a fraction in [0, 1] and what is going on.
        kept_in: File for what has been measured so far: if the same profile was interrupted, it goes on from there.
        spent_s: How much of the time is already gone, in seconds.

    Raises:
        ProfileError: If ``kept_in`` cannot be written.
    """
    units = cut_into_units(network)
    journal = Journal(kept_in, _identity(units, space, setting, model, seconds, seed))
    resumed = journal.resumed
    # The planned networks share what no gate touches, and are moved to the device: not the caller's weights.
    network = replace(network, model=copy.deepcopy(network.model))
    session = _Session(network, units, setting, journal, seconds, seed, progress, spent_s)
    if journal.card is None:
        journal.keep_card(take_card(setting, seconds=min(_CARD_SECONDS, _CARD_SHARE * seconds)), session.elapsed_s())
    assert journal.card is not None  # noqa: S101 - kept above

    captured = setting.runtime == "cuda_graph"
    alone = plan_alone(space, network.sites, units, setting.batch_size, captured=captured)
    screened = session.run(ALONE, alone, _SCREEN_SHARE * seconds, _SCREEN_WIDTH)
    unit_ms = unit_times(screened.units)
    paying = space.restricted(_pays(network, units, space, setting.batch_size, unit_ms))
    mixed = plan_networks(
        paying, network.sites, units, setting.batch_size, count=_MOST_NETWORKS, seed=seed,
        executors=FastestExecutors(network.sites, units, unit_ms, setting.batch_size).plan,
        rough_ms=lambda planned: rough_ms(planned, units, unit_ms),
    )  # fmt: skip
    profiled = session.run(
        MIXED, mixed, seconds - session.elapsed_s() - _WARM_SECONDS, _WIDTH,
        rough_ms=lambda planned: rough_ms(planned, units, unit_ms),
    )  # fmt: skip
    # What was seen among mixed networks is not taken from the first phase: that was another time. The rest is brought
    # to the speed that the device had later.
    again = {sample.key for sample in profiled.units}
    drift = drift_between(screened.units, profiled.units)
    samples = [
        *(
            replace(sample, ms=drift * sample.ms, iqr_ms=drift * sample.iqr_ms)
            for sample in screened.units
            if sample.key not in again
        ),
        *profiled.units,
    ]
    networks = [*profiled.networks, *screened.networks, session.run_warm(profiled.networks[0])]
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    method = {
        "clock": "CUDA events; wholes, host times, device times in separate passes"
        if session.on_gpu
        else "perf_counter",
        "order": "interleaved, one pass of each network per round, in a new random order",
        "canary": f"groups of about {GROUP} passes; a group slower than its networks were before ran again",
        "groups_again": session.again,
        "cache": f"cold, after another network; phase {WARM!r}: after itself",
        "rounds": {phase: len(journal.rounds(phase)) for phase in (ALONE, MIXED)},
        "drift": round(drift, 4),
        "seconds": round(session.elapsed_s(), 1),
        "resumed": resumed,
    }
    journal.remove()
    return Profile(
        setting, journal.card, model, network.input_shape, created, tuple(samples), tuple(networks), method,
        tuple({form.key: form for form in screened.forms + profiled.forms}.values()),
    )  # fmt: skip


def begun_in(
    network: Network,
    space: BoundSpace,
    settings: Sequence[Setting],
    kept_in: Path,
    *,
    model: str,
    seconds: float,
    seed: int,
) -> Setting | None:
    """Return the one of ``settings`` in which an interrupted profile of the same was begun; None if there is none.

    The arguments are those of :func:`take_profile`.
    """
    units = cut_into_units(network)
    for setting in settings:
        if Journal.is_of(kept_in, _identity(units, space, setting, model, seconds, seed)):
            return setting
    return None


def _identity(units: Sequence[Unit], space: BoundSpace, setting: Setting, model: str, seconds: float, seed: int) -> str:
    gates = [[site, gate.to_json()] for site, gate in space.gates()]
    return digest([model, [unit.type for unit in units], gates, setting.to_json(), seconds, seed])


class _Session:
    """Runs the phases of one profile and counts the time that they take, in earlier processes too."""

    def __init__(
        self,
        network: Network,
        units: tuple[Unit, ...],
        setting: Setting,
        journal: Journal,
        seconds: float,
        seed: int,
        progress: Progress | None,
        spent_s: float,
    ) -> None:
        self.network = network
        self.units = units
        self.setting = setting
        self.journal = journal
        self.seconds = seconds
        self.seed = seed
        self.progress = progress
        self.on_gpu = torch.device(setting.device).type == "cuda"
        self.again = 0
        self._start = time.monotonic() - max(spent_s, journal.elapsed_s)
        self._numbered = 0

    def elapsed_s(self) -> float:
        """Return the seconds spent on the profile."""
        return time.monotonic() - self._start

    def run(
        self,
        phase: str,
        plan: list[PlannedNetwork],
        seconds: float,
        half_width: float,
        *,
        rough_ms: Callable[[PlannedNetwork], float] | None = None,
    ) -> Samples:
        """Time the planned networks interleaved for at most ``seconds``, the building included.

        Rounds end early when the typical interval of a network's median is as narrow as ``half_width``, relative to
        the median. Where ``rough_ms`` says about what a network takes, in milliseconds, no more of them are built than
        can run often enough in the time that is left.
        """
        end = time.monotonic() + seconds
        rounds = self.journal.rounds(phase)
        if rounds:
            plan, rough_ms = plan[: len(rounds[0])], None
        subjects: list[Subject] = []
        round_s = 0.0
        for planned in plan:
            if rough_ms is not None:
                round_s += rough_ms(planned) * 1e-3
                rounds_s = max(_WANTED_ROUNDS * round_s, _ROUNDS_SHARE * seconds)
                if len(subjects) >= _MIN_NETWORKS and time.monotonic() + rounds_s > end:
                    break
            subjects.append(Subject(self.network, self.units, planned, self.setting))
            self._report(phase, len(rounds))
        if not self.journal.ended(phase):
            self._time(phase, subjects, rounds, end, half_width)
        samples = samples_of(subjects, self.journal.rounds(phase), phase, self._numbered)
        self._numbered += len(subjects)
        return samples

    def _time(
        self, phase: str, subjects: list[Subject], rounds: list[list[Pass]], end: float, half_width: float
    ) -> None:
        def keep(one: Round) -> bool:
            passes = last_passes(subjects, one)
            rounds.append(passes)
            self.journal.keep_round(phase, passes, self.elapsed_s())
            self._report(phase, len(rounds))
            return len(rounds) % 10 == 0 and _half_width(rounds) < half_width

        with inference(self.setting):
            self.again += interleave(
                [subject.run for subject in subjects], seconds=end - time.monotonic(), warm_up=1,
                min_rounds=max(1, _MIN_ROUNDS - len(rounds)), seed=self.seed + len(rounds), done=keep,
            ).again  # fmt: skip
        self.journal.end(phase, self.elapsed_s())

    def run_warm(self, dense: NetworkSample) -> NetworkSample:
        """Time the dense network with no other one in between."""
        setting = self.setting
        form = prepare(compact_form(self.network, DENSE, {}), setting)
        run = timed(form, random_input(self.network.input_shape, setting), setting)
        with inference(setting):
            passes = interleave([run], seconds=_WARM_SECONDS, warm_up_s=WARM_UP_S, max_rounds=_WARM_PASSES)
        kept = passes.ms[0]
        median, iqr = median_iqr(kept)
        return replace(
            dense, ms=median, iqr_ms=iqr, passes=passes.rounds, network=self._numbered,
            interval_ms=median_interval(kept), phase=WARM,
        )  # fmt: skip

    def _report(self, phase: str, rounds: int) -> None:
        if self.progress is not None:
            what = "every gate alone" if phase == ALONE else "gates mixed"
            self.progress(min(1.0, self.elapsed_s() / self.seconds), f"{what}, round {rounds}")


def unit_times(samples: Sequence[UnitSample]) -> dict[str, float]:
    """Return the median time of every unit form seen, in milliseconds, by key."""
    times: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        times[sample.key].append(sample.ms)
    return {GONE: 0.0, **{key: float(np.median(values)) for key, values in times.items()}}


def rough_ms(planned: PlannedNetwork, units: tuple[Unit, ...], unit_ms: Mapping[str, float]) -> float:
    """Return about what a network takes, in milliseconds, from what its gates alone leave of its units."""
    total = 0.0
    for key in keys_of(units, planned.policy, planned.decisions, planned.executors):
        unit_type, *parts = key.split("|")
        if key in unit_ms:
            total += unit_ms[key]
        elif unit_type in unit_ms:
            dense = unit_ms[unit_type]
            total += dense * math.prod(unit_ms.get(f"{unit_type}|{part}", dense) / dense for part in parts)
        else:  # a gated block with gates inside
            total += unit_ms[f"{unit_type}|{parts[0]}"]
    return total


def drift_between(before: Sequence[UnitSample], after: Sequence[UnitSample]) -> float:
    """Return by which factor the device was slower after than before, from the unit forms seen in both."""
    then, now = unit_times(before), unit_times(after)
    both = then.keys() & now.keys()
    return sum(now[key] for key in both) / sum(then[key] for key in both)


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
            if min(unit_ms.get(key, math.inf) for key in keys) < _PAYING * unit_ms[unit.type]:
                return True
        return False

    return pays


def _half_width(rounds: Sequence[Sequence[Pass]]) -> float:
    """Return the half-width of the 95 % interval of a median, relative to it, as the median over networks."""
    whole_ms = np.array([[one.whole_ms for one in passes] for passes in rounds])
    low, median, high = np.percentile(whole_ms, [25, 50, 75], axis=0)
    return float(np.median(1.82 * (high - low) / math.sqrt(len(rounds)) / median))
