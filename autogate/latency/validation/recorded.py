"""Judge profiles by held-out networks that were measured once and kept, without the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from autogate.latency.model import LatencyModel
from autogate.latency.plan import PlannedNetwork
from autogate.latency.validation.metrics import Scores, score
from autogate.policy import Policy
from autogate.records import MIXED, Profile
from autogate.sites import Network


def recorded_scores(profile: Profile, network: Network, held_out: Mapping[str, Any]) -> Scores:
    """Return how well a profile predicts held-out networks.

    Args:
        profile: Of the device that measured them.
        network: The network.
        held_out: A validation document (``autogate.validate/1``) whose points hold policies and decisions.

    Raises:
        ProfileError: If the profile is of another network, or lacks a gate.
    """
    model = LatencyModel(profile, network, slowness=held_out["canary"])
    points, batch_size = held_out["points"], profile.setting.batch_size
    planned = [PlannedNetwork(Policy.from_json(point["policy"]), point["decisions"]) for point in points]
    predicted_ms = [model.predict(one.policy, one.realisation(network.sites, batch_size)).p50 for one in planned]
    return score(np.array(predicted_ms), np.array([point["measured_ms"] for point in points]))


def few_networks(profile: Profile, count: int) -> Profile:
    """Return what a profile would be if its first ``count`` mixed networks were all that was measured."""
    networks = [network for network in profile.networks if network.phase == MIXED][:count]
    numbers, keys = {network.network for network in networks}, {key for network in networks for key in network.keys}
    return replace(
        profile, networks=tuple(networks), units=tuple(unit for unit in profile.units if unit.network in numbers),
        forms=tuple(form for form in profile.forms if form.key in keys),
    )  # fmt: skip
