"""The phases of a profile: planned networks built, run in turns and summed up, all within one time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from autogate.errors import ProfileError
from autogate.latency.model import MIN_NETWORKS, Unit
from autogate.latency.profile.checkpoint import ProfileCheckpoint
from autogate.latency.profile.instruments import REAL, Instruments
from autogate.latency.profile.plan import PlannedNetwork
from autogate.latency.profile.timed_networks import (
    Samples,
    TimedNetwork,
    last_passes,
    needs_quiet,
    prepare_networks,
    samples_of,
)
from autogate.latency.timing import (
    TOO_NOISY,
    WARM_UP_S,
    Pass,
    Round,
    interleave,
    median_interval,
    median_iqr,
    numbered,
    prepare,
    random_input,
    spread,
    stationary,
)
from autogate.policy import DENSE
from autogate.records import ALONE, MIXED, STRONGEST, WARM, NetworkSample, Setting
from autogate.sites import Network
from autogate.surgery import compact_form

# Networks: as many as leave time for enough rounds, and a share of the time for these in any case.
_USUAL_NETWORKS = 10
_ROUNDS_SHARE = 0.3
_MIN_ROUNDS = 4
_WANTED_ROUNDS = 12
_WARM_PASSES = 30
_LEAST_WARM_PASSES = 10
_WARM_SECONDS = 2.0
_WARM_SHARE = 0.05
# Noise is judged once, after so much of a phase's time, from so many rounds or more.
_JUDGED_AFTER = 0.3
_JUDGED_ROUNDS = 7
# Where other work disturbs networks, rounds go on until each had so many quiet passes, so many seconds at a time.
_QUIET_PASSES = 5
_FURTHER_S = 10.0
# Summing up takes as long for one network as for another, about; those that ran often take longer.
_SUMMING_MARGIN = 1.5
_MOST_SUMMING_SHARE = 0.05

_DOING = {STRONGEST: "the strongest gates", ALONE: "every gate alone", MIXED: "gates mixed"}

Progress = Callable[[float, str], None]
RoughMs = Callable[[PlannedNetwork], float]


@dataclass(frozen=True)
class TimeLimit:
    """How long a profile may take.

    Attributes:
        seconds: Time for all phases together.
        elapsed_s: Seconds of it that are already spent.
        strict: Whether to stop when the time is up, instead of making a few passes of a few networks first.
        attempts: How often to begin a phase whose times of one network spread too much, within the time.
    """

    seconds: float
    elapsed_s: float = 0.0
    strict: bool = True
    attempts: int = 1


class Phases:
    """Runs the phases of one profile and counts their time, including that of earlier processes.

    Args:
        network: The network, whose weights the planned ones share.
        units: Its units.
        setting: Device, batch size, dtype, layout and threads.
        journal: Stores what was measured.
        limit: How long all of it may take.
        seed: Seed of the order of passes.
        progress: Called with a fraction in [0, 1] and the current step as text.
        instruments: What to measure with.

    Attributes:
        again: Number of groups of passes that ran again because the machine was disturbed or throttled.
        watched: Number of groups of this process after which a GPU was throttled, and was at its power limit; empty
            if that cannot be read.
        attempts_made: Number of attempts by phase.
    """

    def __init__(
        self,
        network: Network,
        units: tuple[Unit, ...],
        setting: Setting,
        journal: ProfileCheckpoint,
        limit: TimeLimit,
        *,
        seed: int,
        progress: Progress | None = None,
        instruments: Instruments = REAL,
    ) -> None:
        self.network = network
        self.units = units
        self.setting = setting
        self.journal = journal
        self.limit = limit
        self.seed = seed
        self.progress = progress
        self.instruments = instruments
        self.on_gpu = torch.device(setting.device).type == "cuda"
        self.again = 0
        self.watched: Counter[str] = Counter()
        self.attempts_made: dict[str, int] = {}
        self._warm_s = min(_WARM_SECONDS, _WARM_SHARE * limit.seconds)
        self._start = self.instruments.clock() - max(limit.elapsed_s, journal.elapsed_s)
        self._numbered = 0
        self._summing_s = 0.0
        self._patience, self._extra_s = instruments.patience(limit.seconds), limit.seconds

    def elapsed_s(self) -> float:
        """Return the seconds spent on the profile."""
        return self.instruments.clock() - self._start

    def left_s(self) -> float:
        """Return the seconds left for phases after reserving those of :meth:`run_warm`, building included."""
        return self.limit.seconds - self.elapsed_s() - 1.5 * self._warm_s

    def run(
        self,
        phase: str,
        plan: Sequence[PlannedNetwork],
        seconds: float,
        half_width: float,
        *,
        hard_limit_s: float | None = None,
        rough_ms: RoughMs | None = None,
    ) -> Samples:
        """Time the planned networks interleaved for at most ``seconds``, the building included.

        Rounds end early when the typical interval of a network's median is as narrow as ``half_width``, relative to
        the median. The first few may take until ``hard_limit_s``. With ``rough_ms``, an estimate of a network's
        time in milliseconds, only as many networks are built as can run often enough in the time that is left. Time to
        build again what an interrupted profile had built does not count, nor, unless the time limit is strict, the time
        to get ready to build.

        Raises:
            ProfileError: If the time limit is strict and too short to run each network once.
        """
        rounds, begun = self.journal.rounds(phase), self.instruments.clock()
        prepare_networks(self.network, plan[: len(rounds[0])] if rounds else plan, self.setting)
        if rounds:
            subjects = [self._subject(planned) for planned in plan[: len(rounds[0])]]
        if rounds or not self.limit.strict:
            self._start += self.instruments.clock() - begun
        begun = self.instruments.clock()
        # How long summing up the first phase takes is not known yet.
        begun -= min(_SUMMING_MARGIN * self._summing_s * len(plan), _MOST_SUMMING_SHARE * seconds)
        end = begun + seconds
        last = begun + (seconds if hard_limit_s is None else hard_limit_s) if self.limit.strict else math.inf
        if not rounds:
            subjects = self._built(phase, plan, end, last, rough_ms)
        if not self.journal.ended(phase):
            self._time(phase, subjects, end, last, half_width)
        begun = self.instruments.clock()
        samples = samples_of(subjects, self.journal.rounds(phase), phase, self._numbered)
        self._summing_s = (self.instruments.clock() - begun) / len(subjects)
        self._numbered += len(subjects)
        return samples

    def _subject(self, planned: PlannedNetwork) -> TimedNetwork:
        return self.instruments.timed_network(self.network, self.units, planned, self.setting)

    def _built(
        self, phase: str, plan: Sequence[PlannedNetwork], end: float, last: float, rough_ms: RoughMs | None
    ) -> list[TimedNetwork]:
        subjects: list[TimedNetwork] = []
        seconds = end - self.instruments.clock()
        round_s = slowest_s = s_per_ms = 0.0
        for planned in plan:
            begun = self.instruments.clock()
            if begun >= last and (rough_ms is None or len(subjects) < MIN_NETWORKS):
                raise ProfileError(
                    f"the time is up after {len(subjects)} of {len(plan)} networks were built, and none of them ran; "
                    "raise --time, or choose a smaller --space"
                )
            if rough_ms is not None and subjects:
                round_s += s_per_ms * rough_ms(planned)
                if not self._has_time_for(len(subjects), round_s, seconds, end - begun - slowest_s):
                    break
            subjects.append(self._subject(planned))
            if rough_ms is not None and len(subjects) == 1:
                s_per_ms = self._run_s(subjects[0]) / rough_ms(planned)
                round_s = s_per_ms * rough_ms(planned)
            slowest_s = max(slowest_s, self.instruments.clock() - begun)
            self._report(phase, 0)
        return subjects

    def _has_time_for(self, built: int, round_s: float, seconds: float, left_s: float) -> bool:
        """Whether one more network is worth its time: with it, a round takes ``round_s``."""
        if built >= _USUAL_NETWORKS and max(_WANTED_ROUNDS * round_s, _ROUNDS_SHARE * seconds) > left_s:
            return False
        # One more for the warm-up.
        return not self.limit.strict or built < MIN_NETWORKS or (1 + _MIN_ROUNDS) * round_s <= left_s

    def _run_s(self, subject: TimedNetwork) -> float:
        """Return how many seconds of the profile one run takes: on a GPU that is several passes."""
        with self.instruments.exclusive(self.setting):
            subject.run()
            begun = self.instruments.clock()
            subject.run()
            subject.run()
        return (self.instruments.clock() - begun) / 2

    def _time(self, phase: str, subjects: list[TimedNetwork], end: float, last: float, half_width: float) -> None:
        self.attempts_made[phase] = 0
        noisy = True
        while noisy:
            self.attempts_made[phase] += 1
            may_try_again = self.attempts_made[phase] < self.limit.attempts
            noisy = self._attempt(phase, subjects, end, last, half_width, may_try_again=may_try_again)
            if noisy:
                self.journal.begin_again(phase, self.elapsed_s())
        if not self.limit.strict:
            self._run_until_quiet(phase, subjects)
        self.journal.end(phase, self.elapsed_s())

    def _attempt(
        self,
        phase: str,
        subjects: list[TimedNetwork],
        end: float,
        last: float,
        half_width: float,
        *,
        may_try_again: bool,
    ) -> bool:
        """Run rounds; return whether they were stopped because they are too noisy."""
        rounds = self.journal.rounds(phase)
        begun = self.instruments.clock()
        if rounds and begun >= last:
            return False
        judged = not may_try_again
        noisy = False

        def keep(one: Round) -> bool:
            nonlocal judged, noisy
            passes = last_passes(subjects, one)
            rounds.append(passes)
            self.journal.add_round(phase, passes, self.elapsed_s())
            self._report(phase, len(rounds))
            if not judged and len(rounds) >= _JUDGED_ROUNDS:
                share = (self.instruments.clock() - begun) / max(end - begun, 1e-9)
                judged = share > _JUDGED_AFTER
                noisy = judged and share < 1 - _JUDGED_AFTER and _is_noisy(rounds)
            return noisy or (len(rounds) % 10 == 0 and _half_width(rounds) < half_width)

        self._interleave(subjects, end, last, len(rounds), keep)
        return noisy

    def _run_until_quiet(self, phase: str, subjects: list[TimedNetwork]) -> None:
        """Run further rounds while some network was hardly ever undisturbed; their time is not the profile's.

        They end after as long as the profile may take. Before each few of them, this waits for a quieter host.
        """
        begun, rounds = self.instruments.clock(), self.journal.rounds(phase)
        end = begun + self._extra_s

        def keep(one: Round) -> bool:
            passes = last_passes(subjects, one)
            rounds.append(passes)
            self.journal.add_round(phase, passes, self.elapsed_s())
            self._report(phase, len(rounds))
            return not needs_quiet(rounds, _QUIET_PASSES)

        while needs_quiet(rounds, _QUIET_PASSES) and (now := self.instruments.clock()) < end:
            self._patience.wait(self.setting, self._say)
            self._interleave(subjects, min(end, now + _FURTHER_S), math.inf, len(rounds), keep)
        self._extra_s -= self.instruments.clock() - begun
        self._start += self.instruments.clock() - begun

    def _interleave(
        self, subjects: list[TimedNetwork], end: float, last: float, made: int, keep: Callable[[Round], bool]
    ) -> None:
        tools, device = self.instruments, torch.device(self.setting.device)
        with tools.exclusive(self.setting), tools.throttle_watch(device) as throttled:
            now = self.instruments.clock()
            self.again += interleave(
                [subject.run for subject in subjects],
                seconds=end - now,
                hard_limit_s=last - now,
                warm_up=1,
                min_rounds=max(1, _MIN_ROUNDS - made),
                seed=self.seed + made,
                done=keep,
                throttled=throttled,
                clock=tools.clock,
            ).again
        if throttled is not None:
            self.watched["groups_throttled"] += throttled.throttled
            self.watched["groups_power_capped"] += throttled.power_capped

    def run_warm(self, dense: NetworkSample) -> NetworkSample | None:
        """Time the dense network alone, without others in between; return None if there is no time for it."""
        setting = self.setting
        form = prepare(compact_form(self.network, DENSE, {}), setting)
        run = self.instruments.timed(form, random_input(self.network.input_shape, setting), setting)
        with self.instruments.exclusive(setting):
            left_s = self.limit.seconds - self.elapsed_s() if self.limit.strict else math.inf
            if left_s < WARM_UP_S + _LEAST_WARM_PASSES * dense.ms * 1e-3:
                return None
            passes = interleave(
                [run],
                seconds=self._warm_s,
                hard_limit_s=left_s,
                warm_up_s=WARM_UP_S,
                max_rounds=_WARM_PASSES,
                clock=self.instruments.clock,
            )
        times_ms = passes.ms[0]
        median, iqr = median_iqr(times_ms)
        return replace(
            dense,
            ms=median,
            iqr_ms=iqr,
            passes=passes.rounds,
            network=self._numbered,
            interval_ms=median_interval(times_ms),
            phase=WARM,
        )

    def _report(self, phase: str, rounds: int) -> None:
        self._say(f"{_DOING[phase]}, round {rounds}")

    def _say(self, text: str) -> None:
        if self.progress is not None:
            self.progress(min(1.0, self.elapsed_s() / self.limit.seconds), text)


def _half_width(rounds: Sequence[Sequence[Pass]]) -> float:
    """Return the half-width of the 95 % interval of a median, relative to it, as the median over networks."""
    whole_ms = np.array([[one.whole_ms for one in passes] for passes in rounds])
    low, median, high = np.percentile(whole_ms, [25, 50, 75], axis=0)
    return float(np.median(1.82 * (high - low) / math.sqrt(len(rounds)) / median))


def _is_noisy(rounds: Sequence[Sequence[Pass]]) -> bool:
    """Whether times of one network spread too much for a profile, after removing slowdowns shared by a group."""
    whole_ms = np.array([[one.whole_ms for one in passes] for passes in rounds]).T
    undisturbed = stationary(whole_ms, numbered([np.array([one.group for one in passes]) for passes in rounds]))
    return spread(median_iqr(undisturbed.of(row, times)) for row, times in enumerate(whole_ms)) > TOO_NOISY
