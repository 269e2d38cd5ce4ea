"""Which candidate comes next: interrupted ones, seeds, guided ones, neighbours of the best, the sampler's own."""

from __future__ import annotations

import random
import time
from collections.abc import Container, Mapping

from autogate.nas.proposing.proposals import Choices, Proposer
from autogate.nas.proposing.sampler import Sampler
from autogate.studies import FrontHistory

_REDRAWS = 20


class Candidates:
    """Finds the candidates of one study.

    Args:
        proposer: Draws candidates that make sense.
        sampler: Draws the others.
        history: Knows the best so far.
        seed: Seed of the proposals.
        choices: Choices of the trials there are, by number.

    Attributes:
        choices: The same, and those of the trials to come, added by the driver.
        again: What is to be proposed before anything else, because it was interrupted.
        settled: Digests of the policies that need not be proposed again.
        seconds: Time spent on finding candidates, the sampler's included.
    """

    def __init__(
        self, proposer: Proposer, sampler: Sampler, history: FrontHistory, seed: int, choices: dict[int, Choices]
    ) -> None:
        self.proposer = proposer
        self.sampler = sampler
        self.choices = choices
        self.again: list[Choices] = []
        self.settled: set[str] = set()
        self.seconds = 0.0
        self._history = history
        self._seed = seed
        self._seeds = [(choices, proposer.policy(choices).digest) for choices in proposer.seeds()]

    def next(self, index: int, running: Container[str]) -> Choices:
        """Return the next candidate.

        Args:
            index: How many ended and run, so that an interrupted study proposes what it would have proposed.
            running: Digests of the policies that are being trained.
        """
        start_s = time.monotonic()
        choices = self._next(index, running)
        self.seconds += time.monotonic() - start_s
        return choices

    def _next(self, index: int, running: Container[str]) -> Choices:
        if self.again:
            return self.again.pop(0)
        if self.sampler.is_guided:
            own = self._own(index, running, random.Random(f"{self._seed}/{index}"))
            if own is not None:
                return own
        return self.sampler.draw(index)

    def _own(self, index: int, running: Container[str], rng: random.Random) -> Choices | None:
        for choices, digest in self._seeds:
            if digest not in self.settled and digest not in running:
                return choices
        kind = index % 4
        if kind == 3:
            return None
        for _ in range(_REDRAWS):
            best = self._history.best
            own: Choices | None
            if kind == 1 or best is None or best.number not in self.choices:
                own = self.proposer.guided(rng, None)
            else:
                own = self.proposer.neighbour(self.choices[best.number], rng)
            if own is None:
                return None
            if not self._is_known(own, running):
                return own
        return None

    def _is_known(self, choices: Mapping[str, str], running: Container[str]) -> bool:
        digest = self.proposer.policy(choices).digest
        return digest in self.settled or digest in running
