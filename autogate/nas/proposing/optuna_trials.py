"""A study's trials as Optuna stores them: one transaction to begin one, one to end it, and no reading in between.

Suggesting value by value would cost a transaction each. What is read is read once, when a study is opened.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from autogate.goals import Direction
from autogate.policy import Policy
from autogate.records import Estimate, EvaluationKey
from autogate.store import Store, add_params, has_known_tables, is_drop, open_storage, optuna_errors, retry

# Tells whether a trial was stored, if the answer got lost.
_TOKEN = "autogate:token"  # noqa: S105 - no secret

R = TypeVar("R")


@dataclass(frozen=True)
class TrialHandle:
    """A trial that is stored as running.

    Attributes:
        number: Its number in the study.
        identity: Optuna's identity of it.
    """

    number: int
    identity: int


@dataclass(frozen=True)
class OpenTrial:
    """A trial that waits for its evaluation."""

    begun: TrialHandle
    choices: dict[str, str]
    policy: Policy
    key: EvaluationKey
    estimate: Estimate
    constraints: Mapping[str, float]
    start_s: float = field(default_factory=time.monotonic)


class OptunaTrials:
    """Optuna's rows of one study.

    Args:
        store: The study database.
        study: Name of the study.
        directions: Of its objective's values.
        choices: The choices of every decision that the study can ever take.
    """

    def __init__(
        self,
        store: Store,
        study: str,
        directions: Sequence[Direction],
        choices: Mapping[str, tuple[str, ...]],
    ) -> None:
        self._store = store
        with optuna_errors(store):
            self._study = optuna.create_study(
                storage=open_storage(store),
                study_name=study,
                directions=list(directions),
                load_if_exists=True,
                sampler=optuna.samplers.RandomSampler(),
            )
            # The storage below Optuna's cache, which would read all trials again and again.
            self._storage = open_storage(store)
            self._id = self._storage.get_study_id_from_name(study)
            self._at_once = has_known_tables(self._storage)
            self.trials: list[FrozenTrial] = self._storage.get_all_trials(self._id, deepcopy=False)
        distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(options) for name, options in choices.items()
        }
        # Values of a study keep the meaning that they were first stored with.
        for trial in self.trials:
            distributions |= trial.distributions
        self.distributions = distributions

    def within(self, choices: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """Return the choices that can be stored: a study begun by an older version may know fewer."""
        kept = {name: tuple(c for c in options if self._is_choice(name, c)) for name, options in choices.items()}
        return {name: options for name, options in kept.items() if len(options) > 1}

    def begin(self, choices: Mapping[str, str], constraints: Mapping[str, float]) -> TrialHandle:
        """Store a trial as running and return it; killed in between, it is left without its choices."""
        token = uuid.uuid4().hex
        params = {name: value for name, value in choices.items() if self._is_choice(name, value)}
        distributions = {name: self.distributions[name] for name in params}
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            user_attrs={_TOKEN: token},
            constraints=dict(constraints),
            params=None if self._at_once else dict(params),
            distributions=None if self._at_once else distributions,
        )
        attempts: list[int] = []

        def attempt() -> int:
            if attempts:
                for there in self._storage.get_all_trials(self._id, deepcopy=False):
                    if there.user_attrs.get(_TOKEN) == token:
                        return self._storage.get_trial_id_from_study_id_trial_number(self._id, there.number)
            attempts.append(1)
            return self._storage.create_new_trial(self._id, template)

        identity = self._try(attempt)
        if self._at_once:
            self._try(lambda: add_params(self._store, identity, params, distributions))
        return TrialHandle(self._try(lambda: self._storage.get_trial_number_from_id(identity)), identity)

    def end(
        self,
        trial: TrialHandle,
        state: TrialState,
        values: Sequence[float] | None = None,
        constraints: Mapping[str, float] | None = None,
    ) -> None:
        """End a trial; one that was ended before stays as it is."""
        if constraints:
            stored = self._try(lambda: Trial(self._study, trial.identity))
            for key, value in constraints.items():
                self._try(lambda key=key, value=value: stored.set_constraint(key, value))  # type: ignore[misc]
        with suppress(optuna.exceptions.UpdateFinishedTrialError):  # the answer to an earlier attempt was lost
            self._try(lambda: self._storage.set_trial_state_values(trial.identity, state, values))

    def running(self) -> list[tuple[TrialHandle, FrozenTrial]]:
        """Return the trials that an earlier process left running, or waiting."""
        left = self._try(
            lambda: self._storage.get_all_trials(self._id, False, (TrialState.RUNNING, TrialState.WAITING))
        )
        return [
            (
                TrialHandle(
                    trial.number, self._storage.get_trial_id_from_study_id_trial_number(self._id, trial.number)
                ),
                trial,
            )
            for trial in left
        ]

    def _is_choice(self, name: str, value: str) -> bool:
        distribution = self.distributions.get(name)
        return isinstance(distribution, CategoricalDistribution) and value in distribution.choices

    def _try(self, attempt: Callable[[], R]) -> R:
        """Do something in the database, again and again while it is out of reach.

        Raises:
            StorageError: If it stays so, or refuses.
        """

        def passes(error: Exception) -> Any:
            return isinstance(error, optuna.exceptions.StorageInternalError | SQLAlchemyError) and (
                is_drop(error) or (error.__cause__ is not None and is_drop(error.__cause__))
            )

        self._store.check_there()
        with optuna_errors(self._store):
            return retry(attempt, passes)
