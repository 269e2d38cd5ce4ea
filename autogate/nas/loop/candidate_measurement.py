"""Measure candidates that the latency model is not sure about, before any training, and let it learn from them."""

from __future__ import annotations

from dataclasses import replace

from autogate.goals import Objective
from autogate.latency.model import LatencyModel
from autogate.latency.profile import PlannedNetwork, Samples, sample_rows, time_networks
from autogate.nas.loop.context import learn_measured_candidates
from autogate.policy import DENSE, Policy
from autogate.records import MEASURED, MeasuredCandidate
from autogate.resources import policy_varies
from autogate.studies import StudyRun

_SECONDS = 1.5
_MIN_ROUNDS = 10
_MOST_LOOKS = 40
# Unlike anything profiled: most of the time is in forms that were never run. It matters near the budget only.
_UNLIKE = 0.5
_NEAR = 0.15


class CandidateMeasurer:
    """Looks closer at candidates of one study, on the target.

    Args:
        run: The study, which keeps what was measured.
        latency: The model that learns.
        objective: What the search is after.
    """

    def __init__(self, run: StudyRun, latency: LatencyModel, objective: Objective) -> None:
        self.run = run
        self.latency = latency
        self.objective = objective
        learn_measured_candidates(latency, run.facts)

    def maybe_measure(self, policy: Policy) -> bool:
        """Measure a candidate if its prediction leaves open whether it fits the budget; return whether it was."""
        if not self._is_open(policy):
            return False
        self.run.reporter.progress(0.0, "measuring a candidate near the budget")
        found = self._measure(policy)
        rows = tuple(sample_rows(found.units, found.networks, found.forms))
        measured = (*self.run.facts.measured_candidates, MeasuredCandidate(policy.digest, rows))
        self.run.update(lambda facts: replace(facts, measured_candidates=measured))
        self.latency.learn(found.units, found.networks, found.forms)
        return True

    def _is_open(self, policy: Policy) -> bool:
        limit_ms = self.objective.limit_ms
        if limit_ms is None or policy_varies(policy) or len(self.run.facts.measured_candidates) >= _MOST_LOOKS:
            return False
        if any(measured.policy == policy.digest for measured in self.run.facts.measured_candidates):
            return False
        predicted = self.latency.predict(policy)
        ms = predicted.stat(self.objective.stat)
        if ms / (1 + predicted.error) <= limit_ms < ms * (1 + predicted.error):
            return True
        return abs(ms / limit_ms - 1) < _NEAR and self.latency.unseen_share(policy) > _UNLIKE

    def _measure(self, policy: Policy) -> Samples:
        """Time a candidate interleaved with dense, and scale it by how much slower dense is than in the profile."""
        profile = self.latency.profile
        plan = [PlannedNetwork(DENSE, {}), PlannedNetwork(policy, {}, self.latency.plan(policy))]
        found = time_networks(
            self.latency.network,
            self.latency.units,
            plan,
            profile.setting,
            seconds=_SECONDS,
            phase=MEASURED,
            first_number=1 + max(sample.network for sample in profile.networks),
            min_rounds=_MIN_ROUNDS,
        )
        known = {form.key for form in profile.forms}
        dense, candidate = found.networks
        factor = self.latency.dense_ms / self.latency.slowdown / dense.ms
        low, high = candidate.interval_ms or (candidate.ms, candidate.ms)
        return Samples(
            [
                replace(one, ms=factor * one.ms, iqr_ms=factor * one.iqr_ms, host_ms=factor * one.host_ms)
                for one in found.units
                if one.network == candidate.network
            ],
            [
                replace(
                    candidate,
                    ms=factor * candidate.ms,
                    iqr_ms=factor * candidate.iqr_ms,
                    interval_ms=(factor * low, factor * high),
                )
            ],
            [form for form in found.forms if form.key not in known],
        )
