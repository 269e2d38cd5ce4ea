"""Judge profiles by held-out networks that were measured and recorded before, without the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autogate.latency.model import LatencyModel
from autogate.latency.profile import PlannedNetwork
from autogate.latency.validation.metrics import Scores, score, unit_errors
from autogate.policy import Policy
from autogate.records import MIXED, Profile, UnitSample
from autogate.sites import Network


@dataclass(frozen=True)
class Recorded:
    """Held-out networks as a profile predicts them and as its device measured them, float64 ``[networks]`` each.

    Attributes:
        predicted_ms: Predicted latencies.
        upper_ms: Their upper bounds.
        measured_ms: Measured latencies.
        again_ms: Latencies measured a second time.
    """

    predicted_ms: np.ndarray
    upper_ms: np.ndarray
    measured_ms: np.ndarray
    again_ms: np.ndarray

    @property
    def scores(self) -> Scores:
        """How good the predictions are."""
        return score(self.predicted_ms, self.measured_ms)

    @property
    def retest(self) -> Scores:
        """How good the second measurement is as a predictor of the first."""
        return score(self.again_ms, self.measured_ms)


def recorded(profile: Profile, network: Network, held_out: Mapping[str, Any]) -> Recorded:
    """Return held-out networks as a profile predicts them.

    Args:
        profile: Of the device that measured them.
        network: The network.
        held_out: A validation document (``autogate.validate/1``) whose points hold policies and decisions.

    Raises:
        ProfileError: If the profile is of another network, or lacks a gate.
    """
    model = LatencyModel(profile, network, slowdown=held_out["canary"])
    points, batch_size = held_out["points"], profile.setting.batch_size
    planned = [PlannedNetwork(Policy.from_json(point["policy"]), point["decisions"]) for point in points]
    estimates = [model.predict(one.policy, one.realisation(network.sites, batch_size)) for one in planned]
    return Recorded(
        np.array([estimate.p50 for estimate in estimates]),
        np.array([estimate.upper("p50") for estimate in estimates]),
        *(np.array([point[key] for point in points]) for key in ("measured_ms", "again_ms")),
    )


def recorded_unit_errors(profile: Profile, network: Network, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the errors of single units in held-out networks, as :func:`unit_errors` does.

    Args:
        profile: Of the device that measured them.
        network: The network.
        document: Policies of the networks, and two measurements of their units.

    Raises:
        ProfileError: If the profile is of another network, or lacks a gate.
    """
    planned = [
        PlannedNetwork(Policy.from_json(one["policy"]), one["decisions"], one["executors"])
        for one in document["policies"]
    ]
    first, second = ([UnitSample(**sample) for sample in half] for half in document["units"])
    return unit_errors(LatencyModel(profile, network), planned, first, second)


def few_networks(profile: Profile, count: int) -> Profile:
    """Return what a profile would be if its first ``count`` mixed networks were all that was measured."""
    networks = [network for network in profile.networks if network.phase == MIXED][:count]
    numbers, keys = {network.network for network in networks}, {key for network in networks for key in network.keys}
    return replace(
        profile,
        networks=tuple(networks),
        units=tuple(unit for unit in profile.units if unit.network in numbers),
        forms=tuple(form for form in profile.forms if form.key in keys),
    )
