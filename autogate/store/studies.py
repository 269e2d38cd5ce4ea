"""Studies: their configuration, and the facts found out about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from autogate.errors import AutoGateError, StorageError, StudyError
from autogate.goals import SearchConfig
from autogate.policy import digest
from autogate.records import StudyFacts
from autogate.store import tables
from autogate.store.host import host_name
from autogate.store.retries import retry_on_disconnect
from autogate.store.session import Database, now_utc
from autogate.system import is_text, one_line, suggest

_LONGEST_NAME = 200


@dataclass(frozen=True)
class StudyRecord:
    """A study as it is stored, but for its trials and finalists.

    Attributes:
        config: What was asked for.
        facts: What was found out on the way.
    """

    config: SearchConfig
    facts: StudyFacts


def check_name(name: str) -> None:
    """Refuse a name that no database could keep.

    Raises:
        StudyError: If it is empty, too long, or holds what is no text.
    """
    if not name.strip() or len(name) > _LONGEST_NAME:
        raise StudyError(f"a study's name must have 1 to {_LONGEST_NAME} characters; choose another --study")
    if not name.isprintable() or not is_text(name):
        raise StudyError(f"the study's name {name!a} holds characters that cannot be printed; choose another --study")


class Studies(Database):
    """The studies of a database."""

    def study_names(self) -> list[str]:
        """Return the names of all studies, oldest first."""
        with self.session() as session:
            query = select(tables.Study.name).order_by(tables.Study.created_utc, tables.Study.name)
            return list(session.scalars(query))

    def study(self, name: str) -> StudyRecord:
        """Return configuration and facts of a study.

        Raises:
            StudyError: If there is none of that name; names the closest ones.
        """
        with self.session() as session:
            row = session.get(tables.Study, name) if is_text(name) else None
            if row is not None:
                return StudyRecord(_config_of(session, row), facts_of(row))
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
        config: SearchConfig,
        facts: StudyFacts | None = None,
        *,
        code_version: str | None = None,
    ) -> None:
        """Add a study; it is stored on return.

        Args:
            name: Its name.
            config: What was asked for.
            facts: What is known of it; None for nothing.
            code_version: Version of the code that runs it.

        Raises:
            StudyError: If there is one of that name.
        """
        row = tables.Study(name=name, config={}, facts={}, created_utc=now_utc(), code_version=code_version)
        try:
            with self.session() as session, session.begin():
                _set_config(session, row, config)
                _set_facts(row, facts or StudyFacts())
                session.add(row)
        except IntegrityError:
            raise StudyError(f"study {name!r} exists already; choose another --study") from None

    @retry_on_disconnect
    def update_facts(self, name: str, change: Callable[[StudyFacts], StudyFacts]) -> StudyFacts:
        """Replace a study's facts by what ``change`` makes of them, and return those; they are stored on return.

        ``change`` may be called again on what it made, so it must not add anything twice.
        """
        with self.session() as session, session.begin():
            row = session.get_one(tables.Study, name, with_for_update=True)
            facts = change(facts_of(row))
            _set_facts(row, facts)
        return facts

    @retry_on_disconnect
    def set_config(
        self,
        name: str,
        config: SearchConfig,
        change: Callable[[StudyFacts], StudyFacts] | None = None,
        *,
        code_version: str | None = None,
    ) -> StudyFacts:
        """Replace a study's configuration, facts and version of its code, all or nothing, and return the facts.

        Args:
            name: The study.
            config: What is asked for from now on.
            change: What becomes of the facts, as in :meth:`update_facts`; None if they stay.
            code_version: Version of the code that runs it from now on; None if it stays.
        """
        with self.session() as session, session.begin():
            row = session.get_one(tables.Study, name, with_for_update=True)
            facts = facts_of(row)
            _set_config(session, row, config)
            if change is not None:
                facts = change(facts)
                _set_facts(row, facts)
            row.code_version = code_version or row.code_version
        return facts


def facts_of(row: tables.Study) -> StudyFacts:
    """Return the facts of a study's row.

    Raises:
        StorageError: If they cannot be read.
    """
    data = dict(row.facts)
    if data.get("target") is not None:
        data["target"] = {**data["target"], "profile": row.profile, "latency_model": row.latency_model or ""}
    try:
        return StudyFacts.from_json(data)
    except ValueError as error:
        reason = one_line(error, 150)
        raise StorageError(f"the facts of study {row.name!r} cannot be read ({reason}); restore the database") from None


def _set_facts(row: tables.Study, facts: StudyFacts) -> None:
    """Store facts; what has a column of its own, so that SQL and views can use it, is not in the JSON as well."""
    data = facts.to_json()
    target = data["target"]
    row.profile = None if target is None else target.pop("profile")
    row.latency_model = None if target is None else target.pop("latency_model")
    row.facts = data


def _config_of(session: Session, row: tables.Study) -> SearchConfig:
    stat = {} if row.latency_stat is None else {"latency_stat": row.latency_stat}
    space = {} if row.space is None else {"space": session.get_one(tables.Space, row.space).body}
    try:
        # A study from before there was a choice ran in PyTorch.
        return SearchConfig.model_validate({"runtime": "eager", **row.config, **stat, **space})
    except (ValueError, AutoGateError) as error:
        reason = one_line(error, 150)
        raise StorageError(
            f"the configuration of study {row.name!r} cannot be read ({reason}); restore the database"
        ) from None


def _set_config(session: Session, row: tables.Study, config: SearchConfig) -> None:
    rest = config.to_json()
    row.latency_stat = rest.pop("latency_stat")
    space = rest.pop("space")
    row.space = digest(space)
    session.merge(tables.Space(digest=digest(space), body=space))
    session.flush()
    row.config = rest
