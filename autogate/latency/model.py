"""Predict the latency of a gated network from a profile.

A network's time is the sum of its units' times, measured in place; an affine correction fitted on whole
networks takes out what marking adds, and what whole networks still deviate by gives the upper bound.
A unit form that was never seen is composed from the forms of its gates alone.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from autogate.errors import ProfileError
from autogate.gates import Family, get_family
from autogate.latency.conformal import upper_residual
from autogate.latency.executors import FastestExecutors
from autogate.latency.units import GONE, Region, Unit, cut_into_units
from autogate.policy import DENSE, Gate, Policy
from autogate.records import Estimate, ExecutionPlan, Profile, Realisation, Site, UnitSample
from autogate.sites import Network

# Part of every stored prediction; another number, other predictions from the same profile.
VERSION = "1"
_MIN_ERROR = 0.005
_MIN_NETWORKS = 6


@dataclass(frozen=True)
class Coverage:
    """What the model can say about gates, compared with none.

    Attributes:
        saved_ms: Predicted saving in the lightest realisation; negative if the gates cost time.
        typical_ms: Predicted saving if the gates do what they are trained for.
    """

    saved_ms: float
    typical_ms: float


class LatencyModel:
    """Predicts latencies of one network in one setting.

    Args:
        profile: Measurements of this network.
        network: The network; its sites and units must be those that were profiled.
        slowness: How much slower the device is now than when it was profiled, as a canary says.

    Raises:
        ProfileError: If the profile was made of another network.
    """

    def __init__(self, profile: Profile, network: Network, *, slowness: float = 1.0) -> None:
        self.profile = profile
        self.network = network
        self.units = cut_into_units(network)
        self._samples: dict[str, list[UnitSample]] = defaultdict(list)
        for sample in profile.units:
            self._samples[sample.key].append(sample)
        self._unit_ms = {key: float(np.median([s.ms for s in samples])) for key, samples in self._samples.items()}
        self._unit_ms[GONE] = 0.0
        missing = [unit.type for unit in self.units if unit.type not in self._unit_ms]
        if missing:
            raise ProfileError(
                f"the profile of {profile.model!r} lacks unit {missing[0]} of this network; it was made of another "
                "network, input size or number of classes; profile this one with `autogate profile`"
            )
        self._composed: dict[str, float] = {}
        self._fixed_ms: dict[tuple[int | Gate | None, ...], float] = {}
        self._executors = FastestExecutors(network.sites, self.units, self._unit_ms, self._batch_size)
        offset_ms, slope, self.error = self._calibrate()
        self._offset_ms, self._slope = slowness * offset_ms, slowness * slope
        self.dense_ms = self.predict(DENSE).p50

    def plan(self, policy: Policy) -> ExecutionPlan:
        """Return the executors that are fastest on the device, where they are not the default ones."""
        return self._executors.plan(policy)

    def predict(self, policy: Policy, realisation: Realisation | None = None) -> Estimate:
        """Return the predicted latency of a canonical policy.

        Gates whose cost varies are replayed from ``realisation``; without one they count as fully open.

        Raises:
            ProfileError: If the policy holds a gate that was never profiled.
        """
        traces = self._batched_traces(policy, realisation)
        total: np.ndarray | float = 0.0
        for unit in self.units:
            total = total + self._unit_time(unit, policy.gates, traces)
        times = self.whole_ms(np.atleast_1d(np.asarray(total, dtype=np.float64)))
        p50, p95 = np.percentile(times, [50, 95])
        return Estimate(float(times.mean()), float(p50), float(p95), float(times.max()), self.error)

    def unit_ms(self, unit: Unit) -> float:
        """Return the measured time of a unit of the dense network, in milliseconds."""
        return self._unit_ms[unit.type]

    def open_ms(self, unit: Unit, policy: Policy) -> float:
        """Return the time of one unit under a canonical policy, with gates whose cost varies fully open."""
        return float(np.max(self._unit_time(unit, policy.gates, self._batched_traces(policy, None))))

    def whole_ms(self, sums_ms: np.ndarray) -> np.ndarray:
        """Return the times of whole networks from the sums of their units' times, in milliseconds."""
        whole: np.ndarray = self._offset_ms + self._slope * sums_ms
        return whole

    def lightest(self, policy: Policy) -> Estimate:
        """Return the latency of ``policy`` if every varying gate took its lightest decision."""
        return self._scripted(policy, lambda family, site, gate: float(self._ladder(site.name, gate)[0]))

    def typical(self, policy: Policy) -> Estimate:
        """Return the latency of ``policy`` if every varying gate met the target it is trained for."""
        return self._scripted(policy, lambda family, site, gate: family.typical(site, gate, self._batch_size))

    def _scripted(self, policy: Policy, decide: Callable[[Family, Site, Gate], float | None]) -> Estimate:
        decisions = {}
        for site, gate in policy:
            family = get_family(gate.family)
            if family.varies:
                decisions[site] = np.array([decide(family, self.network.sites[site], gate) or 0.0])
        total = sum(float(np.max(self._unit_time(unit, policy.gates, decisions))) for unit in self.units)
        ms = float(self.whole_ms(np.asarray(total)))
        return Estimate(ms, ms, ms, ms, self.error)

    def coverage(self, gates: Mapping[str, Gate]) -> Coverage:
        """Return what gates, by site, save where no others are.

        Raises:
            ProfileError: If one of them was never profiled.
        """
        alone = Policy(gates)
        return Coverage(self.dense_ms - self.lightest(alone).p50, self.dense_ms - self.typical(alone).p50)

    @property
    def _batch_size(self) -> int:
        return self.profile.setting.batch_size

    def _batched_traces(self, policy: Policy, realisation: Realisation | None) -> dict[str, np.ndarray]:
        """Kept count per batch, by site: images per batch for blocks, channels for maps."""
        traces: dict[str, np.ndarray] = {}
        for site, gate in policy:
            family = get_family(gate.family)
            if not family.varies:
                continue
            place = self.network.sites[site]
            trace = realisation.decisions.get(site) if realisation else None
            if not trace:
                options = family.decisions(place, gate, self._batch_size)
                traces[site] = np.array([float(options[-1] or 0)])
            elif place.kind == "block":
                whole = max(1, len(trace) // self._batch_size)
                counts = np.resize(np.asarray(trace, dtype=np.float64), whole * self._batch_size)
                traces[site] = counts.reshape(whole, self._batch_size).sum(axis=1)
            else:
                traces[site] = np.asarray(trace, dtype=np.float64)
        return traces

    def _unit_time(self, unit: Unit, gates: Mapping[str, Gate], traces: Mapping[str, np.ndarray]) -> np.ndarray | float:
        """Time of one unit in milliseconds: a number, or one per batch if a gate in it varies."""
        sites = unit.shaped_by(gates)
        if sites is None:
            return 0.0
        varying = [site for site in sites if site in traces]
        if not varying:
            form = (unit.index, *map(gates.get, sites))
            if form not in self._fixed_ms:
                self._fixed_ms[form] = self._form_ms(unit, gates, {})
            return self._fixed_ms[form]
        ladders = {site: self._ladder(site, gates[site]) for site in varying}
        grids: list[list[int]] = [list(ladders[site]) for site in varying]
        return self._interpolate(unit, gates, varying, grids, {}, traces)

    def _interpolate(
        self,
        unit: Unit,
        gates: Mapping[str, Gate],
        sites: list[str],
        grids: list[list[int]],
        fixed: dict[str, int | None],
        traces: Mapping[str, np.ndarray],
    ) -> np.ndarray | float:
        """Interpolate linearly between profiled decisions, one varying site after the other."""
        if not sites:
            return self._form_ms(unit, gates, fixed)
        site, ladder = sites[0], grids[0]
        rows = [
            np.broadcast_to(
                self._interpolate(unit, gates, sites[1:], grids[1:], {**fixed, site: step}, traces),
                traces[site].shape,
            )
            for step in ladder
        ]
        table = np.stack(rows)
        position = np.interp(traces[site], ladder, np.arange(len(ladder)))
        low = np.minimum(position.astype(int), len(ladder) - 1)
        high = np.minimum(low + 1, len(ladder) - 1)
        columns = np.arange(len(position))
        share = position - low
        blend: np.ndarray = table[low, columns] * (1 - share) + table[high, columns] * share
        return blend

    def _ladder(self, site: str, gate: Gate) -> list[int]:
        options = get_family(gate.family).decisions(self.network.sites[site], gate, self._batch_size)
        return [int(option or 0) for option in options]

    def _form_ms(self, unit: Unit, gates: Mapping[str, Gate], decisions: Mapping[str, int | None]) -> float:
        """Time of one form of a unit: measured if it was seen, else composed from its gates alone."""
        key = self._key(unit, gates, decisions)
        if key in self._unit_ms:
            return self._unit_ms[key]
        if key not in self._composed:
            self._composed[key] = self._compose(unit, gates, decisions)
        return self._composed[key]

    def _key(self, unit: Unit, gates: Mapping[str, Gate], decisions: Mapping[str, int | None]) -> str:
        """Return the key of a unit whose gates run on their fastest executors."""
        here = {site: gates[site] for site in unit.shaped_by(gates) or () if site in gates}
        chosen = {site: self._executors.at(site, gate) for site, gate in here.items()}
        return unit.key(here, decisions, {site: name for site, name in chosen.items() if name is not None})

    def _compose(self, unit: Unit, gates: Mapping[str, Gate], decisions: Mapping[str, int | None]) -> float:
        region = unit.region(gates)
        if region is not None:
            return self._compose_region(region, unit, gates, decisions)
        dense = self._unit_ms[unit.type]
        ratio = 1.0
        for together in self._parts(unit, gates, decisions):
            site, gate = next(iter(together.items()))
            ratio *= self._alone_ms(unit, together, decisions, f"{gate} at {site}") / dense
        return dense * ratio

    def _compose_region(
        self, region: Region, unit: Unit, gates: Mapping[str, Gate], decisions: Mapping[str, int | None]
    ) -> float:
        """Time of a gated block with gates inside: as without them, times what they leave of the block's units."""
        gate = gates[region.site]
        alone = self._alone_ms(unit, {region.site: gate}, decisions, f"{gate} at {region.site}")
        if decisions.get(region.site) == 0:
            return alone
        inner = {site: gates[site] for site in region.sites if site in gates and site != region.site}
        units = [self.units[i] for i in region.units]
        left = sum(self._form_ms(other, inner, decisions) for other in units)
        return alone * left / sum(self._unit_ms[other.type] for other in units)

    def _alone_ms(self, unit: Unit, gates: Mapping[str, Gate], decisions: Mapping[str, int | None], what: str) -> float:
        key = self._key(unit, gates, decisions)
        if key not in self._unit_ms:
            raise ProfileError(
                f"{what} was never profiled on this device; profile it with `autogate profile --space` and a space "
                "that holds it"
            )
        return self._unit_ms[key]

    def _parts(
        self, unit: Unit, gates: Mapping[str, Gate], decisions: Mapping[str, int | None]
    ) -> Iterator[dict[str, Gate]]:
        """Divide the gates in a unit into single ones, and sets of equal ones at groups that were seen together."""
        here = {site: gates[site] for site in unit.sites if site in gates}
        equal: dict[Gate, dict[str, Gate]] = defaultdict(dict)
        for site, gate in here.items():
            if self.network.sites[site].kind == "group":
                equal[get_family(gate.family).runs_as(gate)][site] = gate
        for together in equal.values():
            if self._key(unit, together, decisions) in self._unit_ms:
                yield together
                here = {site: gate for site, gate in here.items() if site not in together}
        yield from ({site: gate} for site, gate in here.items())

    def _calibrate(self) -> tuple[float, float, float]:
        """Fit measured = offset + slope * composed on whole networks; return it and the bound on relative errors.

        The bound comes from leaving each network, and what its own units showed, out in turn.
        """
        rows = [sample for sample in self.profile.networks if all(key in self._unit_ms for key in sample.keys)]
        x = np.array([sum(self._unit_ms[key] for key in sample.keys) for sample in rows])
        y = np.array([sample.ms for sample in rows])
        n = len(rows)
        if n < _MIN_NETWORKS:
            raise ProfileError("the profile holds too few whole networks to calibrate; profile again for longer")
        residual = []
        for i in range(n):
            others = np.arange(n) != i
            slope, offset = _relative_fit(x[others], y[others])
            composed = sum(self._unit_ms_without(rows[i].network, key) for key in rows[i].keys)
            residual.append(math.log(y[i] / max(offset + slope * composed, 1e-9)))
        slope, offset = _relative_fit(x, y)
        return offset, slope, max(math.expm1(upper_residual(np.array(residual))), _MIN_ERROR)

    def _unit_ms_without(self, network: int, key: str) -> float:
        """Time of a unit form as the other networks saw it; as all did, if no other has it."""
        others = [sample.ms for sample in self._samples[key] if sample.network != network]
        return float(np.median(others)) if others else self._unit_ms[key]


def _relative_fit(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Least squares of relative errors: slope and intercept of y on x, each row weighted by 1 / y."""
    a = np.stack([x / y, 1 / y], axis=1)
    slope, offset = np.linalg.lstsq(a, np.ones(len(y)), rcond=None)[0]
    return float(slope), float(offset)
