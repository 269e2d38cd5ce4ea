"""A study from plain rows into a database; it is there when all of it is."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from sqlalchemy import JSON, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from autogate.errors import StudyError
from autogate.store import tables
from autogate.store.store import Store
from autogate.store.transfer import optuna_study
from autogate.store.transfer.rows import ARTIFACT, LEFT_OUT, OWN, SHARED, Row
from autogate.system import one_line

_KINDS: dict[str, type[tables.Base]] = {**SHARED, **OWN}
_EVALUATION_KEY = ("policy", "task", "recipe", "fidelity", "seed")


def add_study(store: Store, rows: Iterable[Row], name: str) -> None:
    """Store a study under ``name``; weights and Optuna's trials first, then the study itself in one transaction.

    Args:
        store: The database; it holds no study of that name.
        rows: What :func:`autogate.store.transfer.rows.study_rows` yields.
        name: The study's name here.

    Raises:
        StudyError: If the rows are not those of a study, or the name is taken.
    """
    if name in store.study_names():
        raise StudyError(f"{store.shown_url} has a study {name!r} already; choose another name")
    own: list[tables.Base] = []
    trials: list[dict[str, Any]] = []
    directions: list[str] | None = None
    weights = _Weights(store)
    try:
        for kind, values in rows:
            if kind == ARTIFACT:
                weights.add(values)
            elif kind == optuna_study.STUDY:
                directions = values["directions"]
            elif kind == optuna_study.TRIAL:
                trials.append(values)
            else:
                own.append(_row(kind, values, name))
        if not any(isinstance(row, tables.Study) for row in own):
            raise StudyError("there is no study among the rows; export it again")
        optuna = None if directions is None else optuna_study.new_optuna_study(store, name, directions)
        if optuna is not None:
            for values in trials:
                optuna_study.add_optuna_trial(store, optuna, values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = one_line(error, 100)
        raise StudyError(f"a row of the study cannot be read ({reason}); export it again") from None
    try:
        with store.session() as session, session.begin():
            for row in own:
                _add(session, row)
    except IntegrityError as error:
        raise StudyError(f"the study's rows do not fit together ({store.reason(error)}); export it again") from None
    if optuna is not None:
        optuna_study.finish_optuna_study(store, optuna)


class _Weights:
    """Puts weights together from their parts."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.parts: list[bytes] = []

    def add(self, values: dict[str, Any]) -> None:
        self.parts.append(base64.b64decode(values["content"], validate=True))
        if not values["last"]:
            return
        content, self.parts = b"".join(self.parts), []
        if self.store.add_artifact(str(values["kind"])[:20], content) != values["sha256"]:
            raise StudyError(f"the weights {values['sha256']} were changed; export the study again")


def _row(kind: str, values: dict[str, Any], name: str) -> tables.Base:
    """Return values as a row, checked: they may come from a file."""
    if kind not in _KINDS:
        raise StudyError(f"a study has no rows of kind {kind!r}; update autogate")
    table = _KINDS[kind]
    columns = {column.key: column for column in table.__table__.columns if column.key not in LEFT_OUT.get(kind, ())}
    if set(values) != set(columns):
        raise ValueError(f"a {kind} has {sorted(columns)}, not {sorted(values)}")
    for key, value in values.items():
        wanted = _plain_types(columns[key].type)
        if not (isinstance(value, wanted) or (value is None and columns[key].nullable)) or isinstance(value, bool):
            raise ValueError(f"{key} of a {kind} must not be {value!r:.40}")
    if kind == "study":
        return table(**{**values, "name": name})
    return table(**({**values, "study": name} if kind in OWN else values))


def _plain_types(kind: TypeEngine[Any]) -> tuple[type, ...]:
    if isinstance(kind, JSON):
        return dict, list
    # A float that is whole may come back from a file as an integer.
    return (float, int) if kind.python_type is float else (kind.python_type,)


def _add(session: Session, row: tables.Base) -> None:
    """Add a row; what studies share may be there already."""
    if isinstance(row, tables.Evaluation):
        same = {key: getattr(row, key) for key in _EVALUATION_KEY}
        if session.scalar(select(tables.Evaluation.id).filter_by(**same)) is None:
            session.add(row)
    elif type(row) in SHARED.values():
        key = [getattr(row, column.name) for column in inspect(type(row)).primary_key]
        if session.get(type(row), key) is None:
            session.add(row)
    else:
        session.add(row)
    session.flush()
