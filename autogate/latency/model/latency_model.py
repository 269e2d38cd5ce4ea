"""Predict the latency of a gated network from a profile.

A network's time is composed from its units' times, measured in place; a correction fitted to whole networks takes out
what marking adds, and what they still deviate by gives the upper bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autogate.gates import Family, get_family
from autogate.latency.model.calibration import Calibration, Kind, calibrate
from autogate.latency.model.decisions import timed_decisions
from autogate.latency.model.forms import FormTime, FormTimes
from autogate.latency.model.layouts import NO_ENTRY, Entry
from autogate.latency.model.operators import Regime, roofline, sum_of
from autogate.latency.model.timelines import Timelines
from autogate.latency.model.units import Unit, cut_into_units
from autogate.policy import DENSE, Gate, Policy
from autogate.records import (
    MEASURED,
    MIXED,
    Estimate,
    ExecutionPlan,
    NetworkSample,
    Profile,
    Realisation,
    Site,
    UnitForm,
    UnitSample,
)
from autogate.runtimes import get_runtime
from autogate.sites import Network

# Part of every stored prediction; another number, other predictions from the same profile.
VERSION = "6"

Traces = Mapping[str, np.ndarray]
"""Kept count per batch, by site: images per batch for blocks, channels for maps."""


@dataclass(frozen=True)
class GateSavings:
    """What the model can say about gates, compared with none.

    Attributes:
        saved_ms: Predicted saving in the lightest realisation; negative if the gates cost time.
        expected_ms: Predicted saving if the gates do what they are trained for.
    """

    saved_ms: float
    expected_ms: float


class LatencyModel:
    """Predicts latencies of one network in one setting.

    Args:
        profile: Measurements of this network.
        network: The network; its sites and units must be those that were profiled.
        slowdown: How much slower the device is now than when it was profiled, as a canary says.
        stale_error: By which share networks deviate since then, as those that were measured again say.

    Raises:
        ProfileError: If the profile was made of another network.
    """

    def __init__(self, profile: Profile, network: Network, *, slowdown: float = 1.0, stale_error: float = 0.0) -> None:
        self.network = network
        self.units = cut_into_units(network)
        self.slowdown = slowdown
        self._stale_error = stale_error
        self._fit(profile)

    def _fit(self, profile: Profile) -> None:
        self.profile = profile
        self._forms = FormTimes(profile, self.network, self.units)
        self._known: dict[tuple[int | Gate | None, ...], dict[tuple[int, ...], FormTime]] = {}
        self._limits = [roofline(self._forms.operators(unit), profile.card, profile.setting) for unit in self.units]
        fitted = calibrate(
            [row for row in profile.networks if row.phase in (MIXED, MEASURED)],
            self._composed_without,
            lambda row: self.regime(Policy.from_json(row.policy)),
            lambda row: self._kinds(Policy.from_json(row.policy)),
        )
        self._calibration = Calibration(
            self.slowdown * fitted.offset_ms,
            self.slowdown * fitted.slope,
            self._stale(fitted.error),
            {regime: self._stale(error) for regime, error in fitted.error_in.items()},
            {kind: self.slowdown * ms for kind, ms in fitted.kinds_ms.items()},
        )
        self.dense_ms = self.predict(DENSE).p50

    def _kinds(self, policy: Policy) -> Counter[Kind]:
        """Count the gates of each kind, in runtimes that fuse operators of several units."""
        if get_runtime(self.profile.setting.runtime).fuses_units:
            return Counter((gate.family, self.network.sites[site].kind) for site, gate in policy)
        return Counter()

    def gate_ms(self, site: str, gate: Gate) -> float:
        """Return what a gate adds to a network besides what its units show, in milliseconds."""
        return self._calibration.kinds_ms.get((gate.family, self.network.sites[site].kind), 0.0)

    def _stale(self, error: float) -> float:
        return (1 + error) * (1 + self._stale_error) - 1

    def learn(self, units: Sequence[UnitSample], networks: Sequence[NetworkSample], forms: Sequence[UnitForm]) -> None:
        """Add measurements of further networks to the profile, and fit the model again."""
        known = self.profile
        self._fit(
            replace(
                known,
                units=(*known.units, *units),
                networks=(*known.networks, *networks),
                forms=tuple({form.key: form for form in (*known.forms, *forms)}.values()),
            )
        )

    def regime(self, policy: Policy) -> Regime | None:
        """Return what limits most of a policy's time on the device; None if the profile does not say what ran."""
        traces = self._batched_traces(policy, None)
        lines, parts = self.timelines(1), []
        for unit in self.units:
            times = self._unit_time(unit, policy.gates, traces)
            lines.run(*times)
            parts.append((self._limits[unit.index], float(np.max(times[0]))))
        if lines.launch_bound.any():
            return "launch-bound"
        limits = sum_of(parts)
        return limits.regime if limits.total_ms else None

    def unseen_share(self, policy: Policy) -> float:
        """Return the share of a policy's time that is in unit forms which were never run, in [0, 1]."""
        traces = self._batched_traces(policy, None)
        times = [float(np.max(self._unit_time(unit, policy.gates, traces)[0])) for unit in self.units]
        seen = [self._forms.is_measured(unit, policy.gates) for unit in self.units]
        return sum(ms for ms, known in zip(times, seen, strict=True) if not known) / sum(times)

    def error(self, policy: Policy) -> float:
        """Return by which share a latency exceeds its prediction with a probability of 5 % at most.

        It is that of the networks of the policy's regime, where the profile holds enough of them.
        """
        one, by_regime = self._calibration.error, self._calibration.error_in
        regime = self.regime(policy) if by_regime else None
        return one if regime is None else by_regime.get(regime, one)

    @property
    def largest_error(self) -> float:
        """The largest that :meth:`error` returns."""
        return self._calibration.largest_error

    def plan(self, policy: Policy) -> ExecutionPlan:
        """Return the executors that are fastest on the device, where they are not the default ones."""
        return self._forms.plan(policy)

    def predict(self, policy: Policy, realisation: Realisation | None = None) -> Estimate:
        """Return the predicted latency of a canonical policy.

        Gates whose cost varies are replayed from ``realisation``; without one they count as fully open.

        Raises:
            ProfileError: If the policy holds a gate that was never profiled.
        """
        times = self._times(policy, self._batched_traces(policy, realisation))
        p50, p95 = np.percentile(times, [50, 95])
        return Estimate(float(times.mean()), float(p50), float(p95), float(times.max()), self.error(policy))

    def unit_ms(self, unit: Unit) -> float:
        """Return the measured time of a unit of the dense network, in milliseconds."""
        return self._forms.dense_ms(unit)

    def form_time(self, unit: Unit, policy: Policy, decisions: Mapping[str, int | None]) -> FormTime:
        """Return the time of one unit under a canonical policy whose varying gates take given decisions."""
        return self._forms.time(unit, policy.gates, decisions)

    def open_time(self, unit: Unit, policy: Policy) -> FormTime:
        """Return the time of one unit under a canonical policy, with gates whose cost varies fully open."""
        device, host, waits, entry = self._unit_time(unit, policy.gates, self._batched_traces(policy, None))
        return FormTime(float(np.max(device)), float(np.max(host)), waits, entry)

    def timelines(self, policies: int) -> Timelines:
        """Return timelines on which the units of so many policies can be run."""
        return Timelines(policies, synchronous=not self._forms.on_two_timelines)

    def whole_ms(self, composed_ms: np.ndarray) -> np.ndarray:
        """Return the times of whole networks from what their units compose to, in milliseconds."""
        return self._calibration.whole_ms(composed_ms)

    def fastest(self, policy: Policy) -> Estimate:
        """Return the latency of ``policy`` if every varying gate took its lightest decision."""
        return self._scripted(policy, lambda family, site, gate: float(self._ladder(site.name, gate)[0]))

    def expected(self, policy: Policy) -> Estimate:
        """Return the latency of ``policy`` if every varying gate met the target it is trained for."""
        return self._scripted(policy, lambda family, site, gate: family.expected(site, gate, self._batch_size))

    def _scripted(self, policy: Policy, decide: Callable[[Family, Site, Gate], float | None]) -> Estimate:
        decisions = {}
        for site, gate in policy:
            family = get_family(gate.family)
            if family.varies:
                decisions[site] = np.array([decide(family, self.network.sites[site], gate) or 0.0])
        ms = float(self._times(policy, decisions)[0])
        return Estimate(ms, ms, ms, ms, self.error(policy))

    def coverage(self, gates: Mapping[str, Gate]) -> GateSavings:
        """Return what gates, by site, save where no others are.

        Raises:
            ProfileError: If one of them was never profiled.
        """
        alone = Policy(gates)
        return GateSavings(self.dense_ms - self.fastest(alone).p50, self.dense_ms - self.expected(alone).p50)

    @property
    def _batch_size(self) -> int:
        return self.profile.setting.batch_size

    def _batched_traces(self, policy: Policy, realisation: Realisation | None) -> dict[str, np.ndarray]:
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

    def _times(self, policy: Policy, traces: Traces) -> np.ndarray:
        """Return the latency of every batch, or of all if none differs, in milliseconds, float64 ``[batches or 1]``."""
        lines = self.timelines(max([len(trace) for trace in traces.values()], default=1))
        for unit in self.units:
            lines.run(*self._unit_time(unit, policy.gates, traces))
        return self.whole_ms(lines.device_ms) + sum(self.gate_ms(site, gate) for site, gate in policy)

    def _unit_time(
        self, unit: Unit, gates: Mapping[str, Gate], traces: Traces
    ) -> tuple[np.ndarray | float, np.ndarray | float, bool, Entry]:
        """Times of one unit, on the device and for the host, whether the host waits, and what comes before.

        Times are numbers in milliseconds, or one per batch if a gate in the unit varies.
        """
        sites = unit.shaped_by(gates)
        if sites is None:
            return 0.0, 0.0, False, NO_ENTRY
        varying = [site for site in sites if site in traces]
        # By what the varying gates decide; empty for a form in which none varies.
        table = self._known.setdefault((unit.index, *map(gates.get, sites)), {})
        if not varying:
            found = table.get(()) or table.setdefault((), self._forms.time(unit, gates, {}))
            return found.device_ms, found.host_ms, found.waits, found.entry
        ladders = [self._ladder(site, gates[site]) for site in varying]

        def form_time(steps: tuple[int, ...]) -> FormTime:
            if steps not in table:
                table[steps] = self._forms.time(unit, gates, dict(zip(varying, steps, strict=True)))
            return table[steps]

        counts = [traces[site] for site in varying]
        device = _interpolated(lambda steps: form_time(steps).device_ms, ladders, counts)
        host: np.ndarray | float = 0.0
        if self._forms.on_two_timelines:
            host = _interpolated(lambda steps: form_time(steps).host_ms, ladders, counts)
        return device, host, any(found.waits for found in table.values()), next(iter(table.values())).entry

    def _ladder(self, site: str, gate: Gate) -> list[int]:
        options = timed_decisions(self.network.sites[site], gate, self.profile.setting)
        return [int(option or 0) for option in options]

    def _composed_without(self, network: NetworkSample) -> float:
        """Compose a measured network's time from what the other ones showed of its units, in milliseconds."""
        lines = self.timelines(1)
        gates = Policy.from_json(network.policy).gates
        for unit in self.units:
            found = self._forms.without(network, unit, gates)
            lines.run(found.device_ms, found.host_ms, found.waits, found.entry)
        return float(lines.device_ms[0])


def _interpolated(
    ms: Callable[[tuple[int, ...]], float], ladders: list[list[int]], counts: list[np.ndarray]
) -> np.ndarray:
    """Interpolate linearly between profiled decisions, one varying site after the other.

    Args:
        ms: Time by decisions.
        ladders: The decisions of each site, ascending.
        counts: What each site decided, ``[batches]`` each.
    """
    if not ladders:
        return np.full(1, ms(()))
    batches = len(counts[0])
    ladder = ladders[0]

    def behind(step: int) -> np.ndarray:
        return _interpolated(lambda more: ms((step, *more)), ladders[1:], counts[1:])

    table = np.stack([np.broadcast_to(behind(step), (batches,)) for step in ladder])
    position = np.interp(counts[0], ladder, np.arange(len(ladder)))
    low = np.minimum(position.astype(int), len(ladder) - 1)
    high = np.minimum(low + 1, len(ladder) - 1)
    columns = np.arange(batches)
    share = position - low
    blend: np.ndarray = table[low, columns] * (1 - share) + table[high, columns] * share
    return blend
