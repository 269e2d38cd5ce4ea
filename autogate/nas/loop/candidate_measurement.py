"""Measure candidates that the latency model is not sure about, before any training, and let it learn from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from autogate.goals import Objective
from autogate.latency.hardware import Patience, noise_sources_of
from autogate.latency.model import LatencyModel
from autogate.latency.profile import PlannedNetwork, Samples, sample_rows, time_networks
from autogate.latency.timing import TOO_NOISY
from autogate.nas.loop.context import learn_measured_candidates
from autogate.policy import DENSE, Policy
from autogate.records import MEASURED, MeasuredCandidate
from autogate.resources import is_disturbed, policy_varies
from autogate.studies import StudyRun

_SECONDS = 1.5
_MIN_ROUNDS = 10
_MOST_LOOKS = 40
# Unlike anything profiled: most of the time is in forms that were never run. It matters near the budget only.
_UNLIKE = 0.5
_NEAR = 0.15
_ATTEMPTS = 3
_WAIT_S = 10.0


class CandidateMeasurer:
    """Looks closer at candidates of one study, on the target.

    Args:
        run: The study, which keeps what was measured.
        latency: The model that learns.
        objective: What the search is after.
        patience: Waits for a quiet host between measurements that other work disturbed.
        time: Times planned networks interleaved, as :func:`time_networks` does.
    """

    def __init__(
        self,
        run: StudyRun,
        latency: LatencyModel,
        objective: Objective,
        *,
        patience: Patience | None = None,
        time: Callable[..., Samples] = time_networks,
    ) -> None:
        self.run = run
        self.latency = latency
        self.objective = objective
        self._patience = patience or Patience(_WAIT_S)
        self._time = time
        self._is_noisy = False
        learn_measured_candidates(latency, run.facts)

    def maybe_measure(self, policy: Policy) -> bool:
        """Measure a candidate if its prediction leaves open whether it fits the budget; return whether it was.

        On a machine that is too noisy for it, the prediction stands.
        """
        if self._is_noisy or not self._is_open(policy):
            return False
        self.run.reporter.progress(0.0, "measuring a candidate near the budget")
        if (found := self._measure(policy)) is None:
            self._is_noisy = True  # and every further look would take as long
            sources = noise_sources_of(self.latency.profile.setting, {})
            self.run.reporter.note(f"candidates are not measured, only predicted: the machine is too noisy ({sources})")
            return False
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

    def _measure(self, policy: Policy) -> Samples | None:
        """Time a candidate interleaved with dense, on the scale of the profile; None if other work spoils it."""
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._patience.wait(self.latency.profile.setting)
            found = self._timed(policy)
            dense, candidate = found.networks
            is_steady = all(one.iqr_ms <= TOO_NOISY * one.ms for one in (dense, candidate))
            if is_steady and not is_disturbed(dense.ms, self.latency.dense_ms):
                return self._scaled(found)
        return None

    def _timed(self, policy: Policy) -> Samples:
        profile = self.latency.profile
        return self._time(
            self.latency.network,
            self.latency.units,
            [PlannedNetwork(DENSE, {}), PlannedNetwork(policy, {}, self.latency.plan(policy))],
            profile.setting,
            seconds=_SECONDS,
            phase=MEASURED,
            first_number=1 + max(sample.network for sample in profile.networks),
            min_rounds=_MIN_ROUNDS,
        )

    def _scaled(self, found: Samples) -> Samples:
        """Return the candidate's samples, scaled by how much slower dense is than in the profile."""
        known = {form.key for form in self.latency.profile.forms}
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
