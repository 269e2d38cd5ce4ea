"""Policies, and the accuracies they reached."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.exc import IntegrityError

from autogate.policy import Policy
from autogate.records import Evaluation, EvaluationKey, Realisation
from autogate.store import tables
from autogate.store.retries import retry_on_disconnect
from autogate.store.session import Database


class Policies(Database):
    """The policies and evaluations of a database; studies share them."""

    @retry_on_disconnect
    def add_policy(self, policy: Policy) -> None:
        """Store a policy under its digest, if it is new."""
        with self.session() as session:
            known = session.get(tables.Policy, policy.digest) is not None
        if not known:
            # Another worker may have been quicker; equal digests are equal policies.
            with suppress(IntegrityError):
                self._add(
                    tables.Policy(digest=policy.digest, execution_digest=policy.execution_digest, body=policy.to_json())
                )

    @retry_on_disconnect
    def find_evaluation(self, key: EvaluationKey) -> Evaluation | None:
        """Return the evaluation under ``key``, or None."""
        with self.session() as session:
            row = session.scalar(select(tables.Evaluation).where(_has(key)))
            if row is None:
                return None
            realisation = Realisation.from_json(row.realisation)
            return Evaluation(key, row.val_accuracy, realisation, row.seconds, row.artifact, row.macs_paper)

    def realisation(self, policy: Policy) -> Realisation | None:
        """Return what the latest evaluation of ``policy`` found out about its decisions, or None."""
        e = tables.Evaluation
        query = select(e.realisation).where(e.policy == policy.digest).order_by(e.id.desc()).limit(1)
        with self.session() as session:
            found = session.scalar(query)
        return None if found is None else Realisation.from_json(found)


def evaluation_row(evaluation: Evaluation) -> tables.Evaluation:
    """Return an evaluation as a row."""
    return tables.Evaluation(
        **vars(evaluation.key),
        val_accuracy=evaluation.val_accuracy,
        macs_paper=evaluation.macs_paper,
        realisation=evaluation.realisation.to_json(),
        seconds=evaluation.seconds,
        artifact=evaluation.artifact,
    )


def _has(key: EvaluationKey) -> ColumnElement[bool]:
    e = tables.Evaluation
    return and_(
        e.policy == key.policy,
        e.task == key.task,
        e.recipe == key.recipe,
        e.fidelity == key.fidelity,
        e.seed == key.seed,
    )
