"""Run networks in turns, so that drift of the machine's speed affects all alike, and repeat disturbed runs."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from autogate.errors import ProfileError

# Passes in a row that together show how fast the machine was while they ran.
GROUP = 20
# Smallest number of networks that can show it.
_LEAST_GROUP = 8
_RECENT = 50
# A group this much slower than the same networks were before was disturbed, and runs again. It is 10 % and not a few
# per cent: a slowdown shared by a group is divided out afterwards, and shared machines drift by a few per cent all the
# time, so that every group would run again. Only larger disturbances affect networks differently.
_DISTURBED = 1.10
# The usual times of the networks are known after so many rounds; before that, no group runs again.
_KNOWN_AFTER = 3
# If more than this share of the groups ran again, none does any more: the machine has become slower for good.
_MOST_AGAIN = 0.2


@dataclass(frozen=True)
class Round:
    """One pass of every network.

    Attributes:
        number: Its number, from 1.
        ms: Time of each network, in milliseconds, float64 ``[networks]``.
        groups: Number of the group within the round that each ran in, int ``[networks]``.
        throttled: Whether each ran while the device was throttled, bool ``[networks]``.
    """

    number: int
    ms: np.ndarray
    groups: np.ndarray
    throttled: np.ndarray


@dataclass(frozen=True)
class Passes:
    """Times of interleaved networks.

    Attributes:
        ms: In milliseconds, float64 ``[networks, rounds]``.
        groups: Passes that ran one after the other have the same number, int ``[networks, rounds]``.
        again: Number of groups that ran again because the machine was disturbed.
        throttled: Which passes ran while the device was throttled, bool ``[networks, rounds]``.
    """

    ms: np.ndarray
    groups: np.ndarray
    again: int
    throttled: np.ndarray

    @property
    def rounds(self) -> int:
        """Number of rounds, in each of which every network ran once."""
        return int(self.ms.shape[1])


def interleave(
    subjects: Sequence[Callable[[], float]],
    *,
    seconds: float,
    hard_limit_s: float = math.inf,
    warm_up: int = 3,
    warm_up_s: float = 0.0,
    min_rounds: int = 5,
    max_rounds: int = 1000,
    seed: int = 0,
    done: Callable[[Round], bool] | None = None,
    throttled: Callable[[], bool] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Passes:
    """Call every subject once per round, in a new random order each round, and return the times.

    First, at least ``warm_up`` rounds in the given order warm the device up, until ``warm_up_s`` seconds have passed.
    Rounds then end when another one would not end within ``seconds``, or when ``done``, called after every round,
    returns True, but not before ``min_rounds``. They always end when another one would not end within
    ``hard_limit_s`` of the call.

    A round runs in groups of about :data:`GROUP`. A group that was more than 10 % slower than the same
    subjects were before runs again at once. So does one after which the device is ``throttled``; if it still is after
    that, or the group may not run again, its passes are marked. All times are those of ``clock``, in seconds.

    Raises:
        ProfileError: If not even one round ends within ``hard_limit_s``.
    """
    rng = random.Random(seed)
    order = list(range(len(subjects)))
    last = clock() + hard_limit_s

    def first(subject: Callable[[], float]) -> float:
        """Run a subject in a round before the first complete one; raise if the time is up."""
        if clock() >= last:
            raise ProfileError(
                f"the time is too short to run each of {len(subjects)} networks once; raise --time, or choose a "
                "smaller --space"
            )
        return subject()

    warm, rounds = clock() + warm_up_s, 0
    while rounds < warm_up or clock() < warm:
        for subject in subjects:
            first(subject)
        rounds += 1
    end, longest_s = clock() + seconds, 0.0
    known: list[Round] = []
    ran = again = 0
    while len(known) < max_rounds:
        next_end = clock() + longest_s
        if known and (next_end >= last or (len(known) >= min_rounds and next_end >= end)):
            break
        begun = clock()
        rng.shuffle(order)
        ms, groups, marks = np.zeros(len(order)), np.zeros(len(order), dtype=np.int64), np.zeros(len(order), dtype=bool)
        usual = None
        if len(order) >= _LEAST_GROUP and len(known) >= _KNOWN_AFTER:
            usual = np.median([one.ms for one in known[-_RECENT:]], axis=0)
        for number, members in enumerate(np.array_split(order, max(1, round(len(order) / GROUP)))):
            groups[members] = number
            group_begun = clock()
            ms[members] = [subjects[i]() if known else first(subjects[i]) for i in members]
            ran += 1
            group_end = clock()
            has_time = max(begun + longest_s, group_end) + (group_end - group_begun) < last
            may_again = again < _MOST_AGAIN * ran and has_time
            is_throttled = throttled is not None and throttled()
            is_disturbed = usual is not None and _is_disturbed(ms[members] / usual[members])
            if may_again and (is_throttled or is_disturbed):
                ms[members] = [subjects[i]() for i in members]
                again += 1
                is_throttled = throttled is not None and throttled()
            marks[members] = is_throttled
        known.append(Round(len(known) + 1, ms, groups, marks))
        longest_s = max(longest_s, clock() - begun)
        if done is not None and done(known[-1]) and len(known) >= min_rounds:
            break
    return Passes(
        np.stack([one.ms for one in known], axis=1),
        numbered([one.groups for one in known]),
        again,
        np.stack([one.throttled for one in known], axis=1),
    )


def numbered(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Return the groups of rounds, ``[networks]`` each, numbered across rounds: int ``[networks, rounds]``."""
    table = np.stack(groups, axis=1)
    numbers: np.ndarray = table + np.arange(table.shape[1]) * (table.max() + 1)
    return numbers


def _is_disturbed(slowdown: np.ndarray) -> bool:
    return float(np.median(slowdown)) > _DISTURBED
