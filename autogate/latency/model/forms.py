"""Times of the units of a network in every form: measured, composed from what was, or estimated from what runs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from autogate.errors import UnprofiledGateError
from autogate.gates import get_family
from autogate.latency.model.kernels import FastestKernels
from autogate.latency.model.layouts import NO_ENTRY, Entry, LayoutChanges, is_entry
from autogate.latency.model.regression import Counts, FormRegression
from autogate.latency.model.units import REMOVED, Region, Unit, check_profile_matches
from autogate.policy import Gate, Policy
from autogate.records import ExecutionPlan, NetworkSample, Operator, Profile
from autogate.sites import Network

# Operators after which the host must know what the device has found.
_WAITING = ("aten.nonzero", "aten._local_scalar_dense", "aten.masked_select", "aten.unique")
_MIN_FORMS = 40
SAVES_NOTHING = "saves_nothing"
"""Entry of a profile's ``method``: pairs of family and kind of site whose strongest gate saved nothing anywhere.

Weaker ones were not measured then; they take at least as long."""

Decisions = Mapping[str, int | None]


@dataclass(frozen=True)
class FormTime:
    """Time of a unit in one form.

    Attributes:
        device_ms: On the device, in milliseconds.
        host_ms: For the host to launch it, in milliseconds; 0 on a CPU.
        waits: Whether the host needs the device's results first.
        entry: What comes before it, by the layout in which the network's data is.
    """

    device_ms: float
    host_ms: float
    waits: bool
    entry: Entry = NO_ENTRY


_NOTHING = FormTime(0.0, 0.0, False)


class FormTimes:
    """Knows the time of every unit form of one network in one setting.

    Args:
        profile: Measurements of the network.
        network: The network.
        units: Its units.

    Raises:
        ProfileError: If the profile was made of another network.
    """

    def __init__(self, profile: Profile, network: Network, units: tuple[Unit, ...]) -> None:
        check_profile_matches(profile, network, units)
        self._profile = profile
        self._network = network
        self._units = units
        self._samples: dict[str, list[int]] = defaultdict(list)
        for i, sample in enumerate(profile.units):
            if not is_entry(sample.key):
                self._samples[sample.key].append(i)
        self._layouts = LayoutChanges(profile.units)
        self._ms = {key: self._median(rows, "ms") for key, rows in self._samples.items()}
        self.on_two_timelines = any(sample.host_ms for sample in profile.units)
        self._host_ms = {key: self._median(rows, "host_ms") for key, rows in self._samples.items()}
        self._operators = {form.key: form.operators for form in profile.forms}
        self._batch_size = profile.setting.batch_size
        self._executors = FastestKernels(network.sites, units, {REMOVED: 0.0, **self._ms}, self._batch_size)
        self._composed: dict[str, FormTime] = {}

    def _median(self, rows: list[int], field: str) -> float:
        return float(np.median([getattr(self._profile.units[i], field) for i in rows]))

    def dense_ms(self, unit: Unit) -> float:
        """Return the measured time of a unit of the dense network, in milliseconds."""
        return self._ms[unit.type]

    def operators(self, unit: Unit) -> tuple[Operator, ...]:
        """Return what a unit executes in the dense network; nothing if the profile does not say."""
        return self._operators.get(unit.type, ())

    def plan(self, policy: Policy) -> ExecutionPlan:
        """Return the executors that are fastest on the device, where they are not the default ones."""
        return self._executors.plan(policy)

    def time(self, unit: Unit, gates: Mapping[str, Gate], decisions: Decisions) -> FormTime:
        """Return the time of one form of a unit: measured if it was seen, else composed from its gates alone.

        Raises:
            ProfileError: If a gate in it was never profiled.
        """
        key = self._key(unit, gates, decisions)
        if key == REMOVED:
            return _NOTHING
        return self._entered(key, self._inside(key, unit, gates, decisions))

    def _inside(self, key: str, unit: Unit, gates: Mapping[str, Gate], decisions: Decisions) -> FormTime:
        if key in self._ms:
            return FormTime(self._ms[key], self._host_ms[key], self._waits(key))
        if key not in self._composed:
            self._composed[key] = self._compose(key, unit, gates, decisions)
        return self._composed[key]

    def _entered(self, key: str, found: FormTime) -> FormTime:
        return replace(found, entry=self._layouts.entry(key)) if self._layouts.known else found

    def is_measured(self, unit: Unit, gates: Mapping[str, Gate]) -> bool:
        """Whether a unit was run with these gates, of which none varies, or nothing is left of it."""
        key = self._key(unit, gates, {})
        return key == REMOVED or key in self._ms

    def without(self, network: NetworkSample, unit: Unit, gates: Mapping[str, Gate]) -> FormTime:
        """Return the time of a unit of a measured network as if that network had not been measured.

        If no other network has shown the form, it is what is estimated without it.
        """
        key = network.keys[unit.index]
        return _NOTHING if key == REMOVED else self._entered(key, self._inside_without(network, unit, gates))

    def _inside_without(self, network: NetworkSample, unit: Unit, gates: Mapping[str, Gate]) -> FormTime:
        key = network.keys[unit.index]
        others = [i for i in self._samples[key] if self._profile.units[i].network != network.network]
        if others:
            return FormTime(self._median(others, "ms"), self._host_ms[key], self._waits(key))
        region = unit.region(gates)
        if region is not None and any(site in gates for site in region.sites[1:]):
            return self._compose_region(region, unit, gates, network.decisions)
        return FormTime(self._left_out_ms.get(key, self._ms[key]), self._host_ms[key], self._waits(key))

    def _key(self, unit: Unit, gates: Mapping[str, Gate], decisions: Decisions) -> str:
        """Return the key of a unit whose gates run on their fastest executors."""
        here = {site: gates[site] for site in unit.shaped_by(gates) or () if site in gates}
        chosen = {site: self._executors.at(site, gate) for site, gate in here.items()}
        return unit.key(here, decisions, {site: name for site, name in chosen.items() if name is not None})

    def _waits(self, key: str) -> bool:
        return self.on_two_timelines and any(one.name in _WAITING for one in self._operators.get(key, ()))

    def _compose(self, key: str, unit: Unit, gates: Mapping[str, Gate], decisions: Decisions) -> FormTime:
        region = unit.region(gates)
        if region is not None:
            return self._compose_region(region, unit, gates, decisions)
        parts = [self._alone(unit, together, decisions) for together in self._parts(unit, gates, decisions)]
        host_ms = self._host_ms[unit.type]
        host_ms += sum(self._host_ms[part] - self._host_ms[unit.type] for part in parts)
        return FormTime(self._estimate(unit.type, parts), max(0.0, host_ms), any(map(self._waits, parts)))

    def _compose_region(self, region: Region, unit: Unit, gates: Mapping[str, Gate], decisions: Decisions) -> FormTime:
        """Time of a gated block with gates inside: as without them, less what they save of the work that it does."""
        key = self._alone(unit, {region.site: gates[region.site]}, decisions)
        alone = FormTime(self._ms[key], self._host_ms[key], self._waits(key))
        work_ms, least_ms = self._work(region, unit, gates[region.site], decisions)
        if not work_ms:
            return alone
        inner = {site: gates[site] for site in region.sites if site in gates and site != region.site}
        units = [self._units[i] for i in region.units]
        left = [self.time(other, inner, decisions) for other in units]
        share = sum(one.device_ms for one in left) / sum(self._ms[other.type] for other in units)
        more_ms = sum(one.host_ms for one in left) - sum(self._host_ms[other.type] for other in units)
        return FormTime(
            max(least_ms, alone.device_ms - (1 - share) * work_ms),
            max(0.0, alone.host_ms + more_ms),
            alone.waits or any(one.waits for one in left),
        )

    def _work(self, region: Region, unit: Unit, gate: Gate, decisions: Decisions) -> tuple[float, float]:
        """Return how much of a gated block's time its layers take, and its time without them, in milliseconds.

        The time to decide, and to gather and scatter images, stays the same when the layers have further gates.
        A block that runs for some of the images does the same share of its whole work.
        """
        ladder = get_family(gate.family).decisions(self._network.sites[region.site], gate, self._batch_size)
        full = ladder[-1]
        if full is None:
            key = self._alone(unit, {region.site: gate}, {})
            works = key not in self._operators or any(operator.macs for operator in self._operators[key])
            return (self._ms[key] if works else 0.0), 0.0
        shut_ms, open_ms = (
            self._ms[self._alone(unit, {region.site: gate}, {region.site: step})] for step in (ladder[0], full)
        )
        return (open_ms - shut_ms) * (decisions[region.site] or 0) / full, shut_ms

    def _alone(self, unit: Unit, gates: Mapping[str, Gate], decisions: Decisions) -> str:
        """Return the key of a form in which gates stood alone.

        Raises:
            ProfileError: If it was never measured.
        """
        key = self._key(unit, gates, decisions)
        if key not in self._ms and (stronger := self._stronger(unit, gates)) is not None:
            return stronger
        if key not in self._ms:
            site, gate = next(iter(gates.items()))
            raise UnprofiledGateError(
                f"{gate} at {site} was never profiled on this device; profile it with `autogate profile --space` and "
                "a space that holds it"
            )
        return key

    def _stronger(self, unit: Unit, gates: Mapping[str, Gate]) -> str | None:
        """Return the key of the fastest form measured with the same families, if the profile says they save nothing."""
        kinds = {(gate.family, self._network.sites[site].kind) for site, gate in gates.items()}
        if not kinds <= self._saves_nothing:
            return None
        wanted = _families(unit.key(gates, {}))
        return min((key for key in self._ms if _families(key) == wanted), key=self._ms.__getitem__, default=None)

    @cached_property
    def _saves_nothing(self) -> set[tuple[str, str]]:
        return {(family, kind) for family, kind in self._profile.method.get(SAVES_NOTHING, ())}

    def _parts(self, unit: Unit, gates: Mapping[str, Gate], decisions: Decisions) -> Iterator[dict[str, Gate]]:
        """Divide the gates in a unit into single ones, and sets of equal ones at groups that were seen together."""
        here = {site: gates[site] for site in unit.sites if site in gates}
        equal: dict[Gate, dict[str, Gate]] = defaultdict(dict)
        for site, gate in here.items():
            if self._network.sites[site].kind == "group":
                equal[get_family(gate.family).profile_alias(gate)][site] = gate
        for together in equal.values():
            if self._key(unit, together, decisions) in self._ms:
                yield together
                here = {site: gate for site, gate in here.items() if site not in together}
        yield from ({site: gate} for site, gate in here.items())

    def _estimate(self, unit_type: str, parts: list[str]) -> float:
        """Return what the regression says of gates together, in milliseconds.

        Where it knows too little, it is what the gates alone leave of the time, multiplied.
        """
        multiplied_ms = self._multiplied_ms(unit_type, parts)
        if self._regression is None or any(key not in self._counts for key in (unit_type, *parts)):
            return multiplied_ms
        counts = self._together(unit_type, parts)
        return float(self._regression.predict_ms([unit_type], [counts], [multiplied_ms])[0])

    def _multiplied_ms(self, unit_type: str, parts: list[str]) -> float:
        dense = self._ms[unit_type]
        return dense * float(np.prod([self._ms[part] / dense for part in parts]))

    def _together(self, unit_type: str, parts: list[str]) -> Counts:
        dense = self._counts[unit_type]
        counts = dense
        for part in parts:
            counts = counts.changed_by(self._counts[part], dense)
        return counts

    @cached_property
    def _counts(self) -> dict[str, Counts]:
        """What dense units and lone gates execute, by key."""
        card, setting = self._profile.card, self._profile.setting
        return {key: Counts.of(operators, card, setting) for key, operators in self._operators.items() if operators}

    @cached_property
    def _regressed(self) -> list[str]:
        """Keys of the forms that the regression is fitted to: all but gated blocks, which are of many layers."""
        units = {unit.type for unit in self._units}
        return [key for key, ms in self._ms.items() if key in self._counts and _type_of(key) in units and ms > 0]

    @cached_property
    def _regression(self) -> FormRegression | None:
        keys = self._regressed
        if len(keys) < _MIN_FORMS:
            return None
        # Forms of several gates are counted as they will be when they were never run: from their gates alone.
        counts, multiplied_ms = [], []
        for key in keys:
            unit_type, *gates = key.split("|")
            parts = [f"{unit_type}|{gate}" for gate in gates]
            known = all(part in self._counts and part in self._ms for part in parts)
            counts.append(self._together(unit_type, parts) if known else self._counts[key])
            multiplied_ms.append(self._multiplied_ms(unit_type, parts) if known else self._ms[key])
        return FormRegression(
            [_type_of(key) for key in keys],
            counts,
            multiplied_ms,
            [self._ms[key] for key in keys],
            [len(self._samples[key]) for key in keys],
        )

    @cached_property
    def _left_out_ms(self) -> Mapping[str, float]:
        if self._regression is None:
            return {}
        return dict(zip(self._regressed, map(float, self._regression.left_out_ms), strict=True))


def _families(key: str) -> tuple[str, ...]:
    """Return the type of a unit form, and the place and family of each of its gates, whatever they are set to."""
    unit_type, *gates = key.split("|")
    return unit_type, *(re.match(r"\d+:\w+", gate)[0] for gate in gates)  # type: ignore[index]


def _type_of(key: str) -> str:
    return key.split("|", 1)[0]
