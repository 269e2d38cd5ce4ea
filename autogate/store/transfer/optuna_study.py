"""Optuna's part of a study: its trials, through Optuna's own functions."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from autogate.errors import StudyError
from autogate.store.optuna_storage import open_storage, optuna_errors
from autogate.store.store import Store

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

STUDY = "optuna_study"
TRIAL = "optuna_trial"
# A study whose adding was interrupted carries this, so that it can be told from one of the user's own.
_UNFINISHED = "autogate:unfinished"


def optuna_rows(store: Store, study: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the directions and trials of a study; nothing, if it ended before its first trial."""
    import optuna

    with optuna_errors(store):
        storage = open_storage(store)
        if study not in optuna.get_all_study_names(storage):
            return
        found = optuna.load_study(study_name=study, storage=storage)
        yield STUDY, {"directions": [direction.name for direction in found.directions]}
        for trial in found.get_trials(deepcopy=False):
            yield TRIAL, _values(trial)


def new_optuna_study(store: Store, name: str, directions: list[str]) -> optuna.Study:
    """Begin to add a study; what an interruption left of one of this name is replaced.

    Raises:
        StudyError: If Optuna knows a finished one of this name, which is not AutoGate's.
    """
    import optuna

    with optuna_errors(store):
        storage = open_storage(store)
        if name in optuna.get_all_study_names(storage):
            there = optuna.load_study(study_name=name, storage=storage)
            if not there.user_attrs.get(_UNFINISHED):
                raise StudyError(f"{store.shown_url} has a study {name!r} of Optuna alone; choose another name")
            optuna.delete_study(study_name=name, storage=storage)
        ways = [optuna.study.StudyDirection[direction] for direction in directions]
        study = optuna.create_study(storage=storage, study_name=name, directions=ways)
        study.set_user_attr(_UNFINISHED, True)
        return study


def add_optuna_trial(store: Store, study: optuna.Study, values: dict[str, Any]) -> None:
    """Add a trial as :func:`optuna_rows` wrote it."""
    import optuna
    from optuna.distributions import json_to_distribution

    def moment(name: str) -> datetime.datetime | None:
        return None if values[name] is None else datetime.datetime.fromisoformat(values[name])

    trial = optuna.trial.FrozenTrial(
        number=-1,
        trial_id=-1,
        state=optuna.trial.TrialState[values["state"]],
        value=None,
        values=values["values"],
        datetime_start=moment("datetime_start"),
        datetime_complete=moment("datetime_complete"),
        params=values["params"],
        distributions={name: json_to_distribution(text) for name, text in values["distributions"].items()},
        user_attrs=values["user_attrs"],
        system_attrs=values["system_attrs"],
        intermediate_values={int(step): value for step, value in values["intermediate_values"].items()},
    )
    with optuna_errors(store):
        study.add_trial(trial)


def finish_optuna_study(store: Store, study: optuna.Study) -> None:
    """Note that a study was added completely."""
    with optuna_errors(store):
        study.set_user_attr(_UNFINISHED, False)


def delete_optuna_study(store: Store, study: str) -> None:
    """Remove a study's trials, if there are any."""
    import optuna

    with optuna_errors(store):
        storage = open_storage(store)
        if study in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=study, storage=storage)


def _values(trial: FrozenTrial) -> dict[str, Any]:
    from optuna.distributions import distribution_to_json

    def text(moment: datetime.datetime | None) -> str | None:
        return None if moment is None else moment.isoformat()

    return {
        "state": trial.state.name,
        "values": trial.values,
        "params": trial.params,
        "distributions": {name: distribution_to_json(found) for name, found in trial.distributions.items()},
        "user_attrs": trial.user_attrs,
        "system_attrs": trial.system_attrs,
        "intermediate_values": trial.intermediate_values,
        "datetime_start": text(trial.datetime_start),
        "datetime_complete": text(trial.datetime_complete),
    }
