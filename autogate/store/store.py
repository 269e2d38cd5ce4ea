"""Everything that is read from and written to a study database."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from autogate.errors import StorageError, StudyError
from autogate.policy import Policy
from autogate.records import Comparison, Evaluation, EvaluationKey, FinalistRecord, Realisation, TrialRecord
from autogate.store import tables
from autogate.store.artifacts import artifact_root, read_artifact, write_artifact
from autogate.store.database import DEFAULT_URL, default_storage, open_database

COUNTED = ("complete", "rejected", "reused")


class Store:
    """A study database.

    Args:
        url: SQLAlchemy URL.
        create: Whether to make the database if it is not there.

    Raises:
        StorageError: See :func:`autogate.store.database.open_database`.
    """

    def __init__(self, url: str = DEFAULT_URL, *, create: bool = False) -> None:
        self.url = url
        self.engine: Engine = open_database(url, create=create)
        self._artifacts = artifact_root(url)

    def study_names(self) -> list[str]:
        """Return the names of all studies, oldest first."""
        with self._session() as session:
            query = select(tables.Study.name).order_by(tables.Study.created_utc)
            return list(session.scalars(query))

    def study(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return configuration and facts of a study.

        Raises:
            StudyError: If there is none of that name; names the closest ones.
        """
        with self._session() as session:
            row = session.get(tables.Study, name)
            if row is not None:
                return dict(row.config), dict(row.facts)
        names = self.study_names()
        close = difflib.get_close_matches(name, names, n=3) or names[-3:]
        known = f"; known: {', '.join(close)}" if close else ""
        raise StudyError(f"there is no study {name!r} in {self.shown_url}{known}")

    @property
    def shown_url(self) -> str:
        """The URL without its password."""
        return self.engine.url.render_as_string(hide_password=True)

    def command(self, verb: str, study: str) -> str:
        """Return the command that does something with a study of this database."""
        elsewhere = "" if self.url == default_storage() else f" --storage '{self.shown_url}'"
        return f"autogate {verb} {study}{elsewhere}"

    def create_study(self, name: str, config: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> None:
        """Add a study; it is stored on return.

        Raises:
            StudyError: If there is one of that name.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        try:
            self._add(tables.Study(name=name, config=dict(config), facts=dict(facts or {}), created_utc=now))
        except IntegrityError:
            raise StudyError(f"study {name!r} exists already; choose another --study") from None

    def set_facts(self, name: str, facts: Mapping[str, Any]) -> None:
        """Merge ``facts`` into the study's; they are stored on return."""
        with self._session() as session, session.begin():
            row = session.get_one(tables.Study, name)
            row.facts = {**row.facts, **facts}

    def set_config(self, name: str, config: Mapping[str, Any]) -> None:
        """Replace the study's configuration; it is stored on return."""
        with self._session() as session, session.begin():
            session.get_one(tables.Study, name).config = dict(config)

    def add_policy(self, policy: Policy) -> None:
        """Store a policy under its digest, if it is new."""
        with self._session() as session:
            known = session.get(tables.Policy, policy.digest) is not None
        if not known:
            # Another worker may have been quicker; equal digests are equal policies.
            with suppress(IntegrityError):
                self._add(tables.Policy(digest=policy.digest, body=policy.to_json()))

    def find_evaluation(self, key: EvaluationKey) -> Evaluation | None:
        """Return the evaluation under ``key``, or None."""
        e = tables.Evaluation
        query = select(e).where(
            e.policy == key.policy,
            e.task == key.task,
            e.recipe == key.recipe,
            e.fidelity == key.fidelity,
            e.seed == key.seed,
        )
        with self._session() as session:
            row = session.scalar(query)
            if row is None:
                return None
            realisation = Realisation.from_json(row.realisation)
            return Evaluation(key, row.val_accuracy, realisation, row.seconds, row.artifact)

    def realisation(self, policy: Policy) -> Realisation | None:
        """Return what the latest evaluation of ``policy`` found out about its decisions, or None."""
        e = tables.Evaluation
        query = select(e.realisation).where(e.policy == policy.digest).order_by(e.id.desc()).limit(1)
        with self._session() as session:
            found = session.scalar(query)
        return None if found is None else Realisation.from_json(found)

    def add_evaluation(self, evaluation: Evaluation) -> None:
        """Store an evaluation; an equal key that is there already stays as it is."""
        key = evaluation.key
        try:
            self._add(
                tables.Evaluation(
                    policy=key.policy,
                    task=key.task,
                    recipe=key.recipe,
                    fidelity=key.fidelity,
                    seed=key.seed,
                    val_accuracy=evaluation.val_accuracy,
                    realisation=evaluation.realisation.to_json(),
                    seconds=evaluation.seconds,
                    artifact=evaluation.artifact,
                )
            )
        except IntegrityError:
            if self.find_evaluation(key) is None:
                raise

    def add_trial(self, study: str, trial: TrialRecord) -> None:
        """Store what became of a proposal; it is stored on return."""
        if trial.policy is not None:
            self.add_policy(trial.policy)
        row = tables.Trial(
            study=study,
            number=trial.number,
            outcome=trial.outcome,
            policy=None if trial.policy is None else trial.policy.digest,
            val_accuracy=trial.val_accuracy,
            predicted=None if trial.predicted is None else dict(trial.predicted),
            costs=None if trial.costs is None else dict(trial.costs),
            reason=trial.reason,
            seconds=trial.seconds,
        )
        with self._session() as session, session.begin():
            session.merge(row)

    def trials(self, study: str) -> list[TrialRecord]:
        """Return the proposals of a study by number."""
        query = (
            select(tables.Trial, tables.Policy)
            .outerjoin(tables.Policy, tables.Policy.digest == tables.Trial.policy)
            .where(tables.Trial.study == study)
            .order_by(tables.Trial.number)
        )
        with self._session() as session:
            return [
                TrialRecord(
                    row.number,
                    row.outcome,
                    None if policy is None else Policy.from_json(policy.body),
                    row.val_accuracy,
                    row.predicted,
                    row.costs,
                    row.reason,
                    row.seconds,
                )
                for row, policy in session.execute(query)
            ]

    def count_trials(self, study: str) -> dict[str, int]:
        """Return the number of proposals by outcome, and their total without failed ones."""
        query = (
            select(tables.Trial.outcome, func.count()).where(tables.Trial.study == study).group_by(tables.Trial.outcome)
        )
        with self._session() as session:
            found = {outcome: int(count) for outcome, count in session.execute(query)}
        counts = {outcome: found.get(outcome, 0) for outcome in (*COUNTED, "failed")}
        return {"total": sum(counts[outcome] for outcome in COUNTED), **counts}

    def add_finalist(self, study: str, finalist: FinalistRecord) -> None:
        """Store a finalist; it is stored on return."""
        self.add_policy(finalist.policy)
        row = tables.Finalist(
            study=study,
            policy=finalist.policy.digest,
            profile=finalist.profile,
            trial=finalist.trial,
            val_accuracy=finalist.val_accuracy,
            test_accuracy=finalist.test_accuracy,
            costs=dict(finalist.costs),
            predicted=dict(finalist.predicted),
            comparison=None if finalist.comparison is None else finalist.comparison.to_json(),
            realisation=finalist.realisation.to_json(),
            artifact=finalist.artifact,
        )
        with self._session() as session, session.begin():
            session.merge(row)

    def finalists(self, study: str) -> list[FinalistRecord]:
        """Return the finalists of a study."""
        query = (
            select(tables.Finalist, tables.Policy)
            .join(tables.Policy, tables.Policy.digest == tables.Finalist.policy)
            .where(tables.Finalist.study == study)
        )
        with self._session() as session:
            return [
                FinalistRecord(
                    Policy.from_json(policy.body),
                    row.profile,
                    row.trial,
                    row.val_accuracy,
                    row.test_accuracy,
                    row.costs,
                    row.predicted,
                    None if row.comparison is None else Comparison.from_json(row.comparison),
                    Realisation.from_json(row.realisation),
                    row.artifact,
                )
                for row, policy in session.execute(query)
            ]

    def add_profile(self, digest: str, model: str, setting: Mapping[str, Any], lines: str) -> None:
        """Store a profile as its JSON lines, if it is new."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        row = tables.Profile(digest=digest, model=model, setting=dict(setting), lines=lines, created_utc=now)
        with self._session() as session:
            known = session.get(tables.Profile, digest) is not None
        if not known:
            with suppress(IntegrityError):
                self._add(row)

    def profile(self, digest: str) -> str | None:
        """Return the JSON lines of a profile, or None."""
        with self._session() as session:
            row = session.get(tables.Profile, digest)
            return None if row is None else row.lines

    def profiles(self, model: str) -> list[str]:
        """Return the JSON lines of all profiles of ``model``, newest first."""
        query = (
            select(tables.Profile.lines)
            .where(tables.Profile.model == model)
            .order_by(tables.Profile.created_utc.desc())
        )
        with self._session() as session:
            return list(session.scalars(query))

    def add_artifact(self, kind: str, content: bytes) -> str:
        """Store weights and return their SHA-256."""
        sha256 = write_artifact(self._artifacts, content)
        with self._session() as session, session.begin():
            session.merge(tables.Artifact(sha256=sha256, kind=kind, size_bytes=len(content)))
        return sha256

    def artifact(self, sha256: str) -> bytes:
        """Return stored weights.

        Raises:
            StorageError: If the file is missing or was changed.
        """
        return read_artifact(self._artifacts, sha256)

    def _add(self, row: tables.Base) -> None:
        with self._session() as session, session.begin():
            session.add(row)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """Open a session; what the database refuses becomes one clear error."""
        try:
            with Session(self.engine) as session:
                yield session
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            reason = " ".join(str(getattr(error, "orig", error)).split())[:200]
            raise StorageError(
                f"the database {self.shown_url} failed: {reason}; what was stored before is safe, resume when it works "
                "again"
            ) from None
