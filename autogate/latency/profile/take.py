"""Profile a network on the device at hand: every unit in every form, in place, in whole gated networks."""

from __future__ import annotations

import copy
import datetime
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from autogate.gates import get_family
from autogate.latency.model import REMOVED, SAVES_NOTHING, FastestKernels, Unit, cut_into_units, keys_of
from autogate.latency.profile.checkpoint import ProfileCheckpoint
from autogate.latency.profile.first_look import Shown, first_look, shown_by, without_savings
from autogate.latency.profile.instruments import REAL, Instruments
from autogate.latency.profile.phases import Phases, Progress, TimeLimit
from autogate.latency.profile.plan import PlannedNetwork, plan_alone, plan_networks
from autogate.latency.profile.timed_networks import executed_macs
from autogate.latency.timing import GROUP
from autogate.policy import Gate, digest
from autogate.records import ALONE, MIXED, STRONGEST, WARM, Profile, Setting, UnitSample
from autogate.runtimes import get_runtime
from autogate.sites import Network
from autogate.space.bound import BoundSpace
from autogate.system import HostLoad

_CARD_SHARE = 0.1
_CARD_SECONDS = 20.0
# Gates alone: so much of the time that is left, or for the first few rounds up to twice as much.
_SCREEN_SHARE = 0.3
_MOST_SCREEN_SHARE = 0.6
_FIRST_SHARE = 0.15
_MOST_NETWORKS = 96
_MOST_FILES = 48
_WIDTH = 0.01
_SCREEN_WIDTH = 0.02
# A lone gate must bring its unit below this share of the dense time to be worth more measurements.
_PAYING = 0.97


def take_profile(
    network: Network,
    space: BoundSpace,
    setting: Setting,
    *,
    model: str,
    seconds: float = 40.0,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint_path: Path | None = None,
    elapsed_s: float = 0.0,
    strict_time_limit: bool = True,
    attempts: int = 1,
    instruments: Instruments = REAL,
) -> Profile:
    """Measure gated networks for at most ``seconds`` seconds and return the samples.

    A first phase runs every gate alone, everywhere it fits; gates that save nothing in any unit are then
    left out, so that the rest of the time goes to mixtures of the gates that can pay.

    Args:
        network: The network; its weights do not matter.
        space: The gates to cover.
        setting: How to run.
        model: The network's name, stored in the profile.
        seconds: Time to spend. What does not fit is left out: rounds first, then mixtures of gates.
        seed: Seed of the plan and of the order of passes.
        progress: Called with a fraction in [0, 1] and what is going on.
        checkpoint_path: File for what has been measured so far: an interrupted profile goes on from there.
        elapsed_s: How much of the time is already gone, in seconds.
        strict_time_limit: Whether ``seconds`` may not be exceeded. If they may, a few passes of every gate alone and of
            ten mixtures are made, however long they take.
        attempts: How often to begin a phase whose times spread too much, within the time that is left.
        instruments: What to measure with.

    Raises:
        ProfileError: If ``checkpoint_path`` cannot be written, or the time is too short to see every gate and a few
            mixtures.
    """
    load = HostLoad()
    units = cut_into_units(network)
    journal = ProfileCheckpoint(checkpoint_path, _identity(units, space, setting, model, seconds, seed))
    resumed = journal.resumed
    # The planned networks share what no gate touches, and are moved to the device: not the caller's weights.
    network = replace(network, model=copy.deepcopy(network.model))
    phases = Phases(
        network,
        units,
        setting,
        journal,
        TimeLimit(seconds, elapsed_s, strict_time_limit, attempts),
        seed=seed,
        progress=progress,
        instruments=instruments,
    )
    if journal.card is None:
        card_s = min(_CARD_SECONDS, _CARD_SHARE * seconds)
        journal.add_card(instruments.take_card(setting, seconds=card_s), phases.elapsed_s())
    assert journal.card is not None  # noqa: S101 - stored above

    runtime = get_runtime(setting.runtime)
    captured = not runtime.waits_for_data
    alone = plan_alone(space, network.sites, units, setting, captured=captured)
    look, hopeless = None, frozenset[Shown]()
    if runtime.builds_slowly:
        macs = partial(executed_macs, network, setting=setting)
        look = first_look(alone, network.sites, lambda family: not get_family(family).is_static, macs)
        seen = phases.run(STRONGEST, look.plan, _FIRST_SHARE * phases.left_s(), _SCREEN_WIDTH)
        pays = _pays(network, units, space, setting.batch_size, unit_times(seen.units))
        hopeless = without_savings(look, network.sites, pays)
        space = space.restricted(lambda site, gate: (gate.family, network.sites[site].kind) not in hopeless)
        alone = [alone[0], *(one for one in alone[1:] if shown_by(one, network.sites) not in hopeless)]
    left_s = phases.left_s()
    screened = phases.run(ALONE, alone, _SCREEN_SHARE * left_s, _SCREEN_WIDTH, hard_limit_s=_MOST_SCREEN_SHARE * left_s)
    if look is not None:
        screened = seen.joined(screened)
    unit_ms = unit_times(screened.units)
    paying_gates = space.restricted(_pays(network, units, space, setting.batch_size, unit_ms))
    mixed = plan_networks(
        paying_gates,
        network.sites,
        units,
        setting,
        count=_MOST_FILES if runtime.builds_slowly else _MOST_NETWORKS,
        seed=seed,
        executors=FastestKernels(network.sites, units, unit_ms, setting.batch_size).plan,
        rough_ms=lambda planned: rough_ms(planned, units, unit_ms),
    )
    profiled = phases.run(
        MIXED,
        mixed,
        phases.left_s(),
        _WIDTH,
        rough_ms=lambda planned: rough_ms(planned, units, unit_ms),
    )
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
    warm = phases.run_warm(profiled.networks[0])
    networks = [*profiled.networks, *screened.networks, *([] if warm is None else [warm])]
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    method: dict[str, Any] = {
        "clock": "CUDA events; wholes, host times, device times in separate passes"
        if phases.on_gpu
        else "perf_counter",
        "order": "interleaved, one pass of each network per round, in a new random order",
        "canary": f"groups of about {GROUP} passes; a group slower than its networks were before ran again",
        "groups_again": phases.again,
        "attempts": phases.attempts_made,
        **phases.watched,
        **load.facts(),
        "cache": "after itself" if runtime.isolated else f"cold, after another network; phase {WARM!r}: after itself",
        "rounds": {phase: len(journal.rounds(phase)) for phase in (ALONE, MIXED)},
        **({SAVES_NOTHING: sorted(map(list, hopeless))} if hopeless else {}),
        "drift": round(drift, 4),
        "seconds": round(phases.elapsed_s(), 1),
        "resumed": resumed,
    }
    journal.remove()
    return Profile(
        setting,
        journal.card,
        model,
        network.input_shape,
        created,
        tuple(samples),
        tuple(networks),
        method,
        tuple({form.key: form for form in screened.forms + profiled.forms}.values()),
    )


def begun_in(
    network: Network,
    space: BoundSpace,
    settings: Sequence[Setting],
    checkpoint_path: Path,
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
        if ProfileCheckpoint.is_of(checkpoint_path, _identity(units, space, setting, model, seconds, seed)):
            return setting
    return None


def _identity(units: Sequence[Unit], space: BoundSpace, setting: Setting, model: str, seconds: float, seed: int) -> str:
    gates = [[site, gate.to_json()] for site, gate in space.gates()]
    return digest([model, [unit.type for unit in units], gates, setting.to_json(), seconds, seed])


def unit_times(samples: Sequence[UnitSample]) -> dict[str, float]:
    """Return the median time of every unit form seen, in milliseconds, by key."""
    times: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        times[sample.key].append(sample.ms)
    return {REMOVED: 0.0, **{key: float(np.median(values)) for key, values in times.items()}}


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
            left = sum(unit_ms.get(unit.key({site: gate}, {site: decision}), math.inf) for unit in touched)
            return left < _PAYING * sum(unit_ms[unit.type] for unit in touched)
        for unit in touched:
            plans = [{}, *({site: name} for name in family.executors(place, gate, batch_size)[1:])]
            keys = [unit.key(space.alone(site, gate), {site: decision}, plan) for plan in plans]
            if min(unit_ms.get(key, math.inf) for key in keys) < _PAYING * unit_ms[unit.type]:
                return True
        return False

    return pays
