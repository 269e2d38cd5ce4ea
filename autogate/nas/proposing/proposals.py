"""Where candidates come from: seeds that make sense, neighbours of the best, and Optuna's sampler.

The space of a network is large, and most of it is far too slow or far too pruned. Guided proposals fill the
budget with the gates that cost the least accuracy per millisecond saved, by a sensitivity measured once on
the shared weights; noise on that measure keeps them different.
"""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autogate.errors import UnprofiledGateError
from autogate.gates import brief
from autogate.latency.model import LatencyModel
from autogate.policy import Gate, Policy
from autogate.records import Site
from autogate.runtimes import no_saving_reason
from autogate.space.bound import DENSE_CHOICE, BoundSpace
from autogate.surgery import canonical

_NOISE = 0.5
# Shares of the dense latency that guided proposals aim at where there is no budget.
_AIMS = (0.3, 0.95)
Choices = dict[str, str]


@dataclass(frozen=True)
class Sensitivity:
    """What each choice of each decision costs, alone, on the shared weights.

    Attributes:
        loss_increase: Increase of the validation loss by (decision, choice); never below a small floor.
        saved_ms: Predicted saving in milliseconds by (decision, choice).
    """

    loss_increase: Mapping[tuple[str, str], float]
    saved_ms: Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class ProposalLimits:
    """What proposals are to keep within, by prediction and observation.

    Attributes:
        bound_ms: Predicted upper bound of a canonical policy's latency, in milliseconds.
        limit_ms: The budget in milliseconds; None lets every guided proposal aim at another share of dense.
        dense_ms: Predicted latency of the dense network.
        fastest: The fastest policy of the space, by prediction.
        fits_memory: Whether a canonical policy is within the memory budget; None without one.
        smallest: Choices with the lowest peak memory known; with a memory budget only.
    """

    bound_ms: Callable[[Policy], float]
    limit_ms: float | None
    dense_ms: float
    fastest: Policy
    fits_memory: Callable[[Policy], bool] | None = None
    smallest: Mapping[str, str] | None = None


class Proposer:
    """Draws choices for candidates.

    Args:
        space: The decisions and choices.
        sites: Sites of the network.
        limits: What proposals are to keep within.
        sensitivity: Cost and saving of each choice alone.
        seed: Seed of all draws.
    """

    def __init__(
        self,
        space: BoundSpace,
        sites: Mapping[str, Site],
        limits: ProposalLimits,
        sensitivity: Sensitivity,
        seed: int,
    ) -> None:
        self.space = space
        self.sites = sites
        self.limits = limits
        self.sensitivity = sensitivity
        self.seed = seed
        self.smallest = self._complete(limits.smallest or {})

    def policy(self, choices: Mapping[str, str]) -> Policy:
        """Return the canonical policy of ``choices``."""
        return canonical(self.space.policy(choices), self.sites)

    def seeds(self) -> list[Choices]:
        """Return the first candidates: dense, each family alone filling the budget, and all mixed.

        Each family also comes uniformly: one gate at every site it fits. A budget that nothing fills by rank gets the
        lightest policy, which is known to meet it if any does; under a memory budget, the smallest policy comes early.
        """
        families = sorted({gate.family for _, gate in self.space.gates()})
        proposals: list[Choices] = [self._complete({}), self.smallest]
        for family in (None, *families):
            filled = self.guided(random.Random(self.seed), family, noise=0.0)
            if filled is not None:
                proposals.append(filled)
        if len(proposals) == 2:
            proposals.append(self._choices_for(self.limits.fastest))
        proposals += [self._uniform(gate) for gate in self._lone_gates(families)]
        return _distinct(proposals)

    def guided(self, rng: random.Random, family: str | None, noise: float = _NOISE) -> Choices | None:
        """Fill the budget greedily by loss per millisecond, with multiplicative noise on the ratio.

        None if all that was tried together does not reach the budget.

        Args:
            rng: Source of the noise.
            family: The only family to use, or None for all.
            noise: Standard deviation of the noise's logarithm.
        """
        low, high = _AIMS
        limit_ms = self.limits.limit_ms or rng.uniform(low, high) * self.limits.dense_ms
        ranked = []
        for (decision, choice), saved in self.sensitivity.saved_ms.items():
            if saved <= 0 or (family is not None and self._family(decision, choice) != family):
                continue
            cost = self.sensitivity.loss_increase[(decision, choice)] / saved
            ranked.append((cost * math.exp(noise * rng.gauss(0, 1)), decision, choice))
        ranked.sort()
        choices: Choices = {}
        steps = [choices]
        saved_ms = self.sensitivity.saved_ms
        # Where the first choice of every decision is not enough, stronger ones take their place.
        for exchange in (False, True):
            for _, decision, choice in ranked:
                chosen = choices.get(decision)
                if chosen is None or (exchange and saved_ms[(decision, choice)] > saved_ms[(decision, chosen)]):
                    choices = {**choices, decision: choice}
                    steps.append(choices)
        # Every step saves time, so the first that fits is found by halving.
        first = bisect.bisect_left(range(len(steps)), True, key=lambda step: self._fits(steps[step], limit_ms))
        if first == len(steps):
            return None
        choices = steps[first]
        return self._shrink(self._relax(self._complete(choices, rng if noise else None), limit_ms), rng)

    def neighbour(self, best: Mapping[str, str], rng: random.Random) -> Choices:
        """Change one to three decisions of ``best`` at random, keeping within the budget where possible."""
        names = list(self.space.all_choices().items())
        for _ in range(50):
            choices = dict(best)
            for _ in range(rng.randint(1, 3)):
                name, options = rng.choice(names)
                # Half of the moves go to or from dense, so that gates also change places.
                choices[name] = DENSE_CHOICE if rng.random() < 0.5 and DENSE_CHOICE in options else rng.choice(options)
            if choices != dict(best) and (self.limits.limit_ms is None or self._fits(choices, self.limits.limit_ms)):
                return self._shrink(choices, rng)
        return choices

    def _fits(self, choices: Choices, limit_ms: float) -> bool:
        return self.limits.bound_ms(self.policy(choices)) <= limit_ms

    def _shrink(self, choices: Choices, rng: random.Random) -> Choices:
        """Decide as the smallest candidate does at as many places as the memory budget asks for, drawn at random."""
        if self.limits.fits_memory is None or self.limits.fits_memory(self.policy(choices)):
            return choices
        differing = [d.name for d in self.space.decisions if choices.get(d.name) != self.smallest.get(d.name)]
        rng.shuffle(differing)

        def taken(count: int) -> Choices:
            return {**choices, **{name: self.smallest[name] for name in differing[:count]}}

        def fits(count: int) -> bool:
            assert self.limits.fits_memory is not None  # noqa: S101 - asked above
            return self.limits.fits_memory(self.policy(taken(count)))

        return taken(bisect.bisect_left(range(len(differing)), True, key=fits))

    def _relax(self, choices: Choices, limit_ms: float) -> Choices:
        """Take gates out again that the budget does not need, the most harmful first."""
        knobs = self.space.knobs
        gated = [(name, choice) for name, choice in choices.items() if choice != DENSE_CHOICE and name not in knobs]
        gated.sort(key=lambda item: -self.sensitivity.loss_increase.get(item, 0.0))
        for name, _ in gated:
            without = {**choices, name: DENSE_CHOICE}
            if self._fits(without, limit_ms):
                choices = without
        return choices

    def _complete(self, choices: Mapping[str, str], rng: random.Random | None = None) -> Choices:
        """Name a choice for every decision: dense where ``choices`` has none, a knob's first value."""
        complete: Choices = {}
        for name, options in self.space.all_choices().items():
            fallback = rng.choice(options) if rng is not None and name in self.space.knobs else options[0]
            complete[name] = choices.get(name, fallback)
        return complete

    def _uniform(self, gate: Gate) -> Choices:
        chosen = {
            decision.name: choice
            for decision in self.space.decisions
            for choice, gates in decision.options.items()
            if gate in gates.values()
        }
        return self._complete(chosen)

    def _choices_for(self, policy: Policy) -> Choices:
        """Return the choices whose gates are all in ``policy``."""
        chosen = {
            decision.name: choice
            for decision in self.space.decisions
            for choice, gates in decision.options.items()
            if gates and all(policy.gates.get(site) == gate for site, gate in gates.items())
        }
        return self._complete(chosen)

    def _lone_gates(self, families: Sequence[str]) -> list[Gate]:
        """The mildest gate of each family: the one that saves least, in the mean over its sites."""
        saved: dict[Gate, list[float]] = {}
        for decision in self.space.decisions:
            for choice, gates in decision.options.items():
                for gate in dict.fromkeys(gates.values()):
                    saved.setdefault(gate, []).append(self.sensitivity.saved_ms[(decision.name, choice)])
        mean = {gate: sum(values) / len(values) for gate, values in saved.items()}
        return [min((gate for gate in mean if gate.family == family), key=mean.__getitem__) for family in families]

    def _family(self, decision: str, choice: str) -> str:
        options = next(d.options for d in self.space.decisions if d.name == decision)
        return next(iter(options[choice].values())).family


def savings(space: BoundSpace, latency: LatencyModel) -> dict[tuple[str, str], float]:
    """Return the predicted saving of each choice alone, in milliseconds, at its typical decisions."""
    saved = {}
    for decision in space.decisions:
        for choice, gates in decision.options.items():
            if choice != DENSE_CHOICE:
                saved[(decision.name, choice)] = latency.coverage(gates).expected_ms
    return saved


def paying_gates(space: BoundSpace, latency: LatencyModel) -> tuple[BoundSpace, list[str]]:
    """Take out every gate that cannot pay at its site on this device; return the space and the reasons.

    So go gates that the profile does not hold, as one that was taken with another space.

    Raises:
        ProfileError: If it holds none of those that may pay.
    """
    reasons: dict[str, list[str]] = {}
    setting = latency.profile.setting
    unprofiled: list[UnprofiledGateError] = []

    def keep(site: str, gate: Gate) -> bool:
        limit = no_saving_reason(gate, latency.network.sites[site], setting.batch_size, setting.runtime)
        try:
            if limit is None and latency.coverage(space.alone(site, gate)).saved_ms <= 0:
                limit = "runs no faster than dense there on this device"
        except UnprofiledGateError as error:
            unprofiled.append(error)
            limit = "the profile does not hold it"
        if limit is not None:
            reasons.setdefault(f"{brief(gate)}: {limit}", []).append(site)
        return limit is None

    left = space.restricted(keep)
    if unprofiled and not left.gates():
        raise unprofiled[0]
    return left, [f"{reason} ({len(sites)} sites)" for reason, sites in reasons.items()]


def _distinct(proposals: list[Choices]) -> list[Choices]:
    seen: dict[tuple[tuple[str, str], ...], Choices] = {}
    for choices in proposals:
        seen.setdefault(tuple(sorted(choices.items())), choices)
    return list(seen.values())
