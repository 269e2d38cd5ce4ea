"""Optuna's samplers, asked in memory: what a sampler learns from is a window of the study's trials.

A sampler's time grows with the trials it is given, so it gets the best and the latest of a long study.

Built-in samplers are made for each draw, from the study's seed and the number of the draw: any process that knows the
same trials draws the same. A caller's sampler is one object, used as it is: with a seed of its own it draws the same in
every run that is not interrupted. After an interruption it is shown the trials again, and what else it kept, such as
the state of its random numbers or attributes that it wrote to trials, is gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState

from autogate.errors import AutoGateError
from autogate.goals import SAMPLERS, Direction, is_brought
from autogate.models import call_factory
from autogate.store import quiet_optuna
from autogate.system import one_line

_MOST = 1000
# The time of a Gaussian process grows with the cube of its trials.
_MOST_OF = {"gp": 300}
# A window is made anew when this many more trials have gathered.
_SLACK = 200
_STARTUP = 10
# Trials of one generation: small, since a study has tens of trials.
_POPULATION = 20
Choices = dict[str, str]


def _gp(seed: int, _: bool) -> optuna.samplers.BaseSampler:
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=_STARTUP, warn_independent_sampling=False)


def _nsgaii(seed: int, _: bool) -> optuna.samplers.BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=_POPULATION)


def _random(seed: int, _: bool) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _tpe(seed: int, parallel: bool) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP, multivariate=True, constant_liar=parallel)


_BUILT_IN: dict[str, Callable[[int, bool], optuna.samplers.BaseSampler]] = dict(
    zip(SAMPLERS, (_tpe, _random, _gp, _nsgaii), strict=True)
)


def load_sampler(kind: str, seed: int, drawn: int = 0) -> optuna.samplers.BaseSampler | None:
    """Return the sampler that a factory makes, or None for a built-in kind.

    Args:
        kind: A built-in kind, or ``package.module:factory``. The factory is called with ``seed`` if it takes one.
        seed: The study's seed.
        drawn: Trials the study has: a study that is continued should not draw its first trials again.

    Raises:
        AutoGateError: If the factory cannot be imported or called, or returns something else; if the kind stands for an
            object that was passed from Python.
    """
    if kind in _BUILT_IN:
        return None
    if is_brought(kind):
        raise AutoGateError(f"sampler {kind} was passed from Python; pass it again, or name another one with --sampler")
    found = call_factory(kind, AutoGateError, seed=_seed(seed, drawn))
    if not isinstance(found, optuna.samplers.BaseSampler):
        raise AutoGateError(f"{kind} must return an optuna.samplers.BaseSampler, not {type(found).__name__}")
    return found


def _seed(seed: int, index: int) -> int:
    return (seed * 10_007 + index) % 2**32


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
        kind: A built-in kind, such as ``tpe``; of ``custom``, its name.
        seed: Seed of built-in kinds; the same proposal of the same study is drawn the same, whatever process draws it.
        directions: Of the objective's values.
        choices: The choices of every decision.
        parallel: Whether candidates are trained at the same time, so that running ones are to be kept away from.
        custom: A sampler to ask instead of a built-in one.

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
        custom: optuna.samplers.BaseSampler | None = None,
    ) -> None:
        assert custom is not None or kind in _BUILT_IN  # noqa: S101 - the configuration is checked
        self._kind = kind
        self._custom = custom
        self._most = _MOST_OF.get(kind, _MOST)
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
        """Whether guided proposals are mixed with the sampler's; not where plain random search is what is wanted."""
        return self._kind != "random"

    def draw(self, index: int) -> Choices:
        """Return the choices of proposal ``index``, by the sampler alone."""
        start = time.perf_counter()
        self._drop_drawn()
        try:
            self._ask(self._new_sampler(index))
        except Exception as error:
            raise self._failed(error) from error
        assert self._drawn is not None  # noqa: S101 - set by asking
        self.seconds += time.perf_counter() - start
        return dict(self._drawn[0])

    def _ask(self, sampler: optuna.samplers.BaseSampler) -> None:
        self._study.sampler = sampler
        # Asking makes Optuna look at all trials; a trial made by hand would be drawn from those of the first draw.
        trial = self._study.ask()
        if isinstance(sampler, optuna.samplers.BaseGASampler):
            # Optuna orders parents in another way when it has selected them before: select them first, always.
            frozen = self._storage.get_trial(trial._trial_id)
            sampler.get_parent_population(self._study, sampler.get_trial_generation(self._study, frozen))
        choices = {name: str(trial.suggest_categorical(name, options)) for name, options in self._choices.items()}
        self._drawn = choices, trial._trial_id

    def _failed(self, error: Exception) -> AutoGateError:
        return AutoGateError(
            f"sampler {self._kind} failed: {one_line(error, with_type=True)}; continue the study with another --sampler"
        )

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
        if len(self._study.get_trials(deepcopy=False)) > self._most + _SLACK:
            self._open_window()
        self.seconds += time.perf_counter() - start

    def learn(self, ended: Iterable[SamplerTrial]) -> None:
        """Hear of all trials that ended before this process began, in their order."""
        self._ended += [seen for seen in ended if self._fits(seen.choices)]
        self._open_window()

    def _open_window(self) -> None:
        """Begin a study of the best and the latest trials, and of those that are running."""
        self._storage = optuna.storages.InMemoryStorage()
        with quiet_optuna():
            self._study = optuna.create_study(
                storage=self._storage, directions=self._directions, sampler=self._new_sampler(0)
            )
        self._id = self._storage.get_study_id_from_name(self._study.study_name)
        self._identities, self._drawn = {}, None
        chosen = self._ended
        if len(chosen) > self._most:
            latest = chosen[-self._most // 2 :]
            best = sorted(chosen[: -self._most // 2], key=self._rank)[: self._most - len(latest)]
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
        genetic = isinstance(self._study.sampler, optuna.samplers.BaseGASampler)
        if identity is None:
            self._drop_drawn()
            if genetic:
                identity = self._put_in_generation(choices)
            else:
                return self._storage.create_new_trial(
                    self._id,
                    optuna.trial.create_trial(
                        state=seen.state,
                        values=seen.values,
                        params=choices,
                        distributions=self._distributions,
                        constraints=dict(seen.constraints),
                    ),
                )
        trial = optuna.trial.Trial(self._study, identity)
        for key, value in seen.constraints.items():
            if key not in trial.constraints:
                trial.set_constraint(key, value)
        if seen.state != TrialState.RUNNING:
            self._finish(identity, seen)
        return identity

    def _put_in_generation(self, choices: Choices) -> int:
        """Store a running trial that the sampler did not draw, as a member of the generation that is being filled."""
        self._study.enqueue_trial(choices)
        trial = self._study.ask()
        for name, options in self._choices.items():
            trial.suggest_categorical(name, options)
        sampler = self._study.sampler
        assert isinstance(sampler, optuna.samplers.BaseGASampler)  # noqa: S101 - asked by the caller
        sampler.get_trial_generation(self._study, self._storage.get_trial(trial._trial_id))
        return trial._trial_id

    def _finish(self, identity: int, seen: SamplerTrial) -> None:
        try:
            frozen = self._storage.get_trial(identity)
            self._study.sampler.after_trial(self._study, frozen, seen.state, seen.values)
        except Exception as error:
            raise self._failed(error) from error
        self._storage.set_trial_state_values(identity, seen.state, seen.values)

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
        if self._custom is not None:
            return self._custom
        return _BUILT_IN[self._kind](_seed(self._seed, index), self._parallel)
