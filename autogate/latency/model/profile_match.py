"""Tell a profile of a network from one of another network, as of a sibling that is built of the same units."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from autogate.errors import ProfileError
from autogate.latency.model.units import Unit
from autogate.records import Profile
from autogate.sites import Network


def check_profile_matches(profile: Profile, network: Network, units: Sequence[Unit]) -> None:
    """Refuse a profile of another network than ``network``, whose units are ``units``.

    Raises:
        ProfileError: With what differs: the number of units, the input, the first other unit, or a site.
    """
    if not (different := _differences(profile, network, units)):
        return
    raise ProfileError(
        f"the profile of {profile.model!r} is of another network: {'; '.join(different)}; use it with its own network, "
        "or profile this one with `autogate profile`"
    )


def _differences(profile: Profile, network: Network, units: Sequence[Unit]) -> list[str]:
    here = [unit.type for unit in units]
    # A profile without dense is not written; a made-up one is judged by its units alone.
    there = next((list(sample.keys) for sample in profile.networks if not sample.policy.get("gates")), here)
    found = []
    if len(there) != len(here):
        found.append(f"it has {len(there)} units, this one {len(here)}")
    if profile.input_shape != network.input_shape:
        found.append(f"its input is {_size(profile.input_shape)}, this one's {_size(network.input_shape)}")
    for i, (its, ours) in enumerate(zip_longest(there, here, fillvalue="absent"), start=1):
        if its != ours:
            return [*found, f"its unit {i} is {its}, this one's {ours}"]
    known = {sample.key for sample in profile.units}
    found += [f"it lacks unit {unit}" for unit in here if unit not in known][:1]
    sites = {site: None for sample in profile.networks for site in sample.policy.get("gates", ())}
    return found + [f"it has gates at {site}, which this one lacks" for site in sites if site not in network.sites][:1]


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
