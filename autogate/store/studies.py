"""Studies: their configuration, and the facts found out about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from autogate.errors import StudyError
from autogate.policy import digest
from autogate.store import tables
from autogate.store.host import host_name
from autogate.store.retries import retry_on_disconnect
from autogate.store.session import Database, now_utc
from autogate.system import suggest

_LONGEST_NAME = 200
# What has a column of its own, so that SQL and views can use it.
_CONFIG_COLUMNS = ("latency_stat",)
_FACT_COLUMNS = ("profile", "latency_model")


def check_name(name: str) -> None:
    """Refuse a name that no database could keep.

    Raises:
        StudyError: If it is empty, too long, or holds what is no text.
    """
    if not name.strip() or len(name) > _LONGEST_NAME:
        raise StudyError(f"a study's name must have 1 to {_LONGEST_NAME} characters; choose another --study")
    if not name.isprintable() or not _is_text(name):
        raise StudyError(f"the study's name {name!a} holds characters that cannot be printed; choose another --study")


class Studies(Database):
    """The studies of a database."""

    def study_names(self) -> list[str]:
        """Return the names of all studies, oldest first."""
        with self.session() as session:
            query = select(tables.Study.name).order_by(tables.Study.created_utc, tables.Study.name)
            return list(session.scalars(query))

    def study(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return configuration and facts of a study.

        Raises:
            StudyError: If there is none of that name; names the closest ones.
        """
        with self.session() as session:
            row = session.get(tables.Study, name) if _is_text(name) else None
            if row is not None:
                space = None if row.space is None else session.get_one(tables.Space, row.space).body
                extra = {} if space is None else {"space": space}
                return {**row.config, **_filled(row, _CONFIG_COLUMNS), **extra}, {
                    **row.facts,
                    **_filled(row, _FACT_COLUMNS),
                }
        raise self._no_study(name)

    def origin(self, name: str) -> dict[str, str | None]:
        """Return when a study was created, and the code and the host that ran it last; None where it was not kept.

        Raises:
            StudyError: If there is none of that name; names the closest ones.
        """
        with self.session() as session:
            row = session.get(tables.Study, name)
            if row is not None:
                host = None if row.host is None else host_name(row.host)
                return {"created_utc": row.created_utc, "code_version": row.code_version, "host": host}
        raise self._no_study(name)

    def _no_study(self, name: str) -> StudyError:
        names = self.study_names()
        hint = suggest(name, names) or (f"known: {', '.join(names[-3:])}" if names else "")
        return StudyError(f"there is no study {name!r} in {self.shown_url}" + (f"; {hint}" if hint else ""))

    def create_study(
        self,
        name: str,
        config: Mapping[str, Any],
        facts: Mapping[str, Any] | None = None,
        *,
        code_version: str | None = None,
    ) -> None:
        """Add a study; it is stored on return.

        Args:
            name: Its name.
            config: Its resolved configuration.
            facts: What is known of it.
            code_version: Version of the code that runs it.

        Raises:
            StudyError: If there is one of that name.
        """
        row = tables.Study(name=name, config={}, facts={}, created_utc=now_utc(), code_version=code_version)
        try:
            with self.session() as session, session.begin():
                _set_config(session, row, config)
                _set_facts(row, facts or {})
                session.add(row)
        except IntegrityError:
            raise StudyError(f"study {name!r} exists already; choose another --study") from None

    @retry_on_disconnect
    def set_facts(self, name: str, facts: Mapping[str, Any]) -> None:
        """Merge ``facts`` into the study's; they are stored on return."""
        with self.session() as session, session.begin():
            row = session.get_one(tables.Study, name, with_for_update=True)
            _set_facts(row, {**row.facts, **facts})

    @retry_on_disconnect
    def set_config(
        self, name: str, config: Mapping[str, Any], *, code_version: str | None = None, forget: Iterable[str] = ()
    ) -> None:
        """Replace the study's configuration, and the version of the code that runs it; stored on return.

        Args:
            name: The study.
            config: Its resolved configuration.
            code_version: Version of the code that runs it from now on; None if it stays.
            forget: Facts that no longer hold.
        """
        with self.session() as session, session.begin():
            row = session.get_one(tables.Study, name)
            _set_config(session, row, config)
            row.code_version = code_version or row.code_version
            row.facts = {key: value for key, value in row.facts.items() if key not in forget}
            for column in set(_FACT_COLUMNS) & set(forget):
                setattr(row, column, None)


def _set_config(session: Session, row: tables.Study, config: Mapping[str, Any]) -> None:
    rest = dict(config)
    for column in _CONFIG_COLUMNS:
        setattr(row, column, rest.pop(column, None))
    space = rest.pop("space", None)
    row.space = None if space is None else digest(space)
    if space is not None:
        session.merge(tables.Space(digest=digest(space), body=space))
        session.flush()
    row.config = rest


def _set_facts(row: tables.Study, facts: Mapping[str, Any]) -> None:
    rest = dict(facts)
    for column in _FACT_COLUMNS:
        if column in rest:
            setattr(row, column, rest.pop(column))
    row.facts = rest


def _filled(row: tables.Study, columns: tuple[str, ...]) -> dict[str, Any]:
    return {column: value for column in columns if (value := getattr(row, column)) is not None}


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in name
