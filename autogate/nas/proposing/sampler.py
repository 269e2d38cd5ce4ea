"""Optuna's samplers, asked in memory: what a sampler learns from is a window of the study's trials.

A sampler's time grows with the trials it is given, so it gets the best and the latest of a long study.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState

from autogate.goals import SAMPLERS, Direction

optuna.logging.set_verbosity(optuna.logging.WARNING)
_MOST = 1000
# A window is made anew when this many more trials have gathered.
_SLACK = 200
_STARTUP = 10
Choices = dict[str, str]


@dataclass
class SamplerTrial:
    """A trial as the sampler sees it.

    Attributes:
        choices: What was chosen.
        state: How it ended; running while it has not.
        values: The objective's values, if it was trained.
        constraints: By how much it is over each limit; at most 0 where it is within.
    """

    choices: Mapping[str, str]
    state: TrialState
    values: Sequence[float] | None
    constraints: Mapping[str, float]


class Sampler:
    """Draws candidates.

    Args:
        kind: ``tpe`` or ``random``.
        seed: Seed; the same proposal of the same study is drawn the same, whatever process draws it.
        directions: Of the objective's values.
        choices: The choices of every decision.
        parallel: Whether candidates are trained at the same time, so that running ones are to be kept away from.

    Attributes:
        seconds: Time spent on drawing.
    """

    def __init__(
        self,
        kind: str,
        seed: int,
        directions: Sequence[Direction],
        choices: Mapping[str, tuple[str, ...]],
        *,
        parallel: bool,
    ) -> None:
        assert kind in SAMPLERS  # noqa: S101 - the configuration is checked
        self._kind = kind
        self._seed = seed
        self._directions = list(directions)
        self._choices = choices
        self._distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(options) for name, options in choices.items()
        }
        self._parallel = parallel
        self._ended: list[SamplerTrial] = []
        self._running: dict[int, SamplerTrial] = {}
        self._identities: dict[int, int] = {}
        self._drawn: tuple[Choices, int] | None = None
        self._open_window()
        self.seconds = 0.0

    @property
    def is_guided(self) -> bool:
        """Whether proposals of our own are mixed in; not where plain random search is what is wanted."""
        return self._kind != "random"

    def draw(self, index: int) -> Choices:
        """Return the choices of proposal ``index``, by the sampler alone."""
        start = time.perf_counter()
        self._drop_drawn()
        self._study.sampler = self._new_sampler(index)
        # Asking makes Optuna look at all trials; a trial made by hand would be drawn from those of the first draw.
        trial = self._study.ask()
        choices = {name: str(trial.suggest_categorical(name, options)) for name, options in self._choices.items()}
        self._drawn = choices, trial._trial_id
        self.seconds += time.perf_counter() - start
        return dict(choices)

    def begin(self, number: int, seen: SamplerTrial) -> None:
        """Hear of a trial that is being trained."""
        self._running[number] = seen
        if self._fits(seen.choices):
            self._identities[number] = self._put(seen)

    def end(self, number: int, seen: SamplerTrial) -> None:
        """Hear how a trial ended, whether it had been begun or not."""
        start = time.perf_counter()
        self._running.pop(number, None)
        if self._fits(seen.choices):
            self._ended.append(seen)
            self._put(seen, self._identities.pop(number, None))
        if len(self._study.get_trials(deepcopy=False)) > _MOST + _SLACK:
            self._open_window()
        self.seconds += time.perf_counter() - start

    def learn(self, ended: Iterable[SamplerTrial]) -> None:
        """Hear of all trials that ended before this process began, in their order."""
        self._ended += [seen for seen in ended if self._fits(seen.choices)]
        self._open_window()

    def _open_window(self) -> None:
        """Begin a study of the best and the latest trials, and of those that are running."""
        self._storage = optuna.storages.InMemoryStorage()
        self._study = optuna.create_study(storage=self._storage, directions=self._directions)
        self._id = self._storage.get_study_id_from_name(self._study.study_name)
        self._identities, self._drawn = {}, None
        chosen = self._ended
        if len(chosen) > _MOST:
            latest = chosen[-_MOST // 2 :]
            best = sorted(chosen[: -_MOST // 2], key=self._rank)[: _MOST - len(latest)]
            chosen = [*best, *latest]
        for seen in chosen:
            self._put(seen)
        for number, seen in self._running.items():
            if self._fits(seen.choices):
                self._identities[number] = self._put(seen)

    def _put(self, seen: SamplerTrial, identity: int | None = None) -> int:
        """Store a trial, in the place of itself when it was running or just drawn, and return its identity."""
        choices = {name: seen.choices[name] for name in self._choices}
        if identity is None and self._drawn is not None and self._drawn[0] == choices:
            identity, self._drawn = self._drawn[1], None
        if identity is None:
            self._drop_drawn()
            template = optuna.trial.create_trial(
                state=seen.state,
                values=seen.values,
                params=choices,
                distributions=self._distributions,
                constraints=dict(seen.constraints),
            )
            return self._storage.create_new_trial(self._id, template)
        trial = optuna.trial.Trial(self._study, identity)
        for key, value in seen.constraints.items():
            if key not in trial.constraints:
                trial.set_constraint(key, value)
        if seen.state != TrialState.RUNNING:
            self._storage.set_trial_state_values(identity, seen.state, seen.values)
        return identity

    def _drop_drawn(self) -> None:
        """Take what was drawn last, and not used, out of the sampler's sight."""
        if self._drawn is not None:
            self._storage.set_trial_state_values(self._drawn[1], TrialState.FAIL)
            self._drawn = None

    def _rank(self, seen: SamplerTrial) -> tuple[bool, float, float]:
        """Order trials: feasible and trained ones first, by the first value."""
        over = max(0.0, sum(max(0.0, value) for value in seen.constraints.values()))
        if seen.values is None:
            return True, over, 0.0
        sign = -1 if self._directions[0] == "maximize" else 1
        return over > 0, over, sign * seen.values[0]

    def _fits(self, choices: Mapping[str, str]) -> bool:
        return all(choices.get(name) in options for name, options in self._choices.items())

    def _new_sampler(self, index: int) -> optuna.samplers.BaseSampler:
        seed = (self._seed * 10_007 + index) % 2**32
        if self._kind == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=_STARTUP, multivariate=True, constant_liar=self._parallel
        )
