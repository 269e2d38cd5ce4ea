"""Look at the strongest gate of each family first, and leave a family out that saves nothing even so.

In runtimes that build networks slowly, this saves most of a profile's time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autogate.latency.profile.plan import PlannedNetwork
from autogate.policy import Gate
from autogate.records import Site, SiteKind

Shown = tuple[str, SiteKind]
"""A family at a kind of site."""


@dataclass(frozen=True)
class FirstLook:
    """The strongest gates of a plan.

    Attributes:
        plan: The dense network, and the lightest network of each family that decides on data and kind of site, with
            each of its executors.
        judged: What they show.
    """

    plan: list[PlannedNetwork]
    judged: frozenset[Shown]


def first_look(
    alone: Sequence[PlannedNetwork],
    sites: Mapping[str, Site],
    judged: Callable[[str], bool],
    macs: Callable[[PlannedNetwork], int],
) -> FirstLook:
    """Choose the networks to look at first.

    Args:
        alone: Networks with one gate each at many sites, the dense one first.
        sites: The sites of the network.
        judged: Whether a family is to be judged by its strongest gate.
        macs: Returns what a network computes.
    """
    of: dict[Shown, list[PlannedNetwork]] = {}
    for planned in alone[1:]:
        if judged((shown := shown_by(planned, sites))[0]):
            of.setdefault(shown, []).append(planned)
    plan = [alone[0]]
    for networks in of.values():
        least = min((one for one in networks if not one.executors), key=macs)
        plan += [least, *(one for one in networks if one.executors and one.policy == least.policy)]
    return FirstLook(plan, frozenset(of))


def shown_by(planned: PlannedNetwork, sites: Mapping[str, Site]) -> Shown:
    """Return the family and the kind of site that a network shows alone."""
    site, gate = next(iter(planned.policy))
    return gate.family, sites[site].kind


def without_savings(look: FirstLook, sites: Mapping[str, Site], pays: Callable[[str, Gate], bool]) -> frozenset[Shown]:
    """Return the families whose strongest gate saves nothing at any site of a kind.

    Args:
        look: What was looked at.
        sites: The sites of the network.
        pays: Whether a gate saves time at a site, by what was measured.
    """
    paying = {
        shown_by(planned, sites) for planned in look.plan[1:] if any(pays(site, gate) for site, gate in planned.policy)
    }
    return look.judged - paying
