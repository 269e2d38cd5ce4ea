"""What became of a study's proposals, and what the study had reached after each."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import and_, func, select, update
from sqlalchemy.orm import Session

from autogate.policy import Policy
from autogate.records import FrontRecord, TrialRecord
from autogate.store import tables
from autogate.store.policies import Policies
from autogate.store.retries import retry_on_disconnect
from autogate.store.session import clock_utc

COUNTED = ("complete", "rejected", "reused", "stopped")
STATISTICS = ("mean", "p50", "p95", "max", "upper")
SHORT = "short"
_COSTS = ("macs_paper", "peak_memory_bytes")


class Trials(Policies):
    """The trials of a database's studies."""

    @retry_on_disconnect
    def add_trial(self, study: str, trial: TrialRecord, front: FrontRecord | None = None) -> None:
        """Store what became of a proposal, and what the study has reached with it; both are stored on return."""
        if trial.policy is not None:
            self.add_policy(trial.policy)
        row = tables.Trial(
            study=study,
            number=trial.number,
            outcome=trial.outcome,
            policy=None if trial.policy is None else trial.policy.digest,
            val_accuracy=trial.val_accuracy,
            **{name: _whole(trial.costs, name) for name in _COSTS},
            reason=trial.reason,
            seconds=trial.seconds,
        )
        with self.session() as session, session.begin():
            # Trials are read in the order in which they ended, on any host.
            row.finished_utc = clock_utc(session)
            session.merge(row)
            profile, model = judged_by(session, study)
            if trial.policy is not None and trial.predicted:
                session.flush()
                key = {"study": study, "policy": trial.policy.digest, "profile": profile, "latency_model": model}
                session.merge(prediction_row({**key, "fidelity": SHORT}, trial.predicted))
            if front is not None:
                session.flush()
                session.merge(_front_row(study, profile, front))

    @retry_on_disconnect
    def add_predictions(
        self, study: str, profile: str, latency_model: str, found: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Store what a latency model says of policies that a study tried; all are stored on return.

        Args:
            study: Name of the study.
            profile: Identity of the profile.
            latency_model: Version of the model.
            found: Statistics in milliseconds by policy digest.
        """
        with self.session() as session, session.begin():
            for policy, statistics in found.items():
                key = {"study": study, "policy": policy, "profile": profile, "latency_model": latency_model}
                session.merge(prediction_row({**key, "fidelity": SHORT}, statistics))

    def set_peak_memory(self, study: str, peaks: Mapping[str, int]) -> None:
        """Replace the peak memory of all trials of a study: in bytes, by policy digest; unknown for the others."""
        t = tables.Trial
        with self.session() as session, session.begin():
            session.execute(update(t).where(t.study == study).values(peak_memory_bytes=None))
            for policy, peak_bytes in peaks.items():
                session.execute(
                    update(t).where(t.study == study, t.policy == policy).values(peak_memory_bytes=peak_bytes)
                )

    def trial_order(self, study: str) -> list[int]:
        """Return the numbers of a study's trials in the order in which they ended."""
        t = tables.Trial
        query = select(t.number).where(t.study == study).order_by(func.coalesce(t.finished_utc, ""), t.number)
        with self.session() as session:
            return list(session.scalars(query))

    def trials(self, study: str) -> list[TrialRecord]:
        """Return the proposals of a study by number, with predictions for the device it is for."""
        t, p = tables.Trial, tables.Prediction
        with self.session() as session:
            profile, model = judged_by(session, study)
            query = (
                select(t, tables.Policy, p)
                .outerjoin(tables.Policy, tables.Policy.digest == t.policy)
                .outerjoin(
                    p,
                    and_(
                        p.study == t.study,
                        p.policy == t.policy,
                        p.profile == profile,
                        p.latency_model == model,
                        p.fidelity == SHORT,
                    ),
                )
                .where(t.study == study)
                .order_by(t.number)
            )
            return [
                TrialRecord(
                    row.number,
                    row.outcome,
                    None if policy is None else Policy.from_json(policy.body),
                    row.val_accuracy,
                    None if prediction is None else predicted(prediction),
                    {name: value for name in _COSTS if (value := getattr(row, name)) is not None} or None,
                    row.reason,
                    row.seconds,
                )
                for row, policy, prediction in session.execute(query)
            ]

    def count_trials(self, study: str) -> dict[str, int]:
        """Return the number of proposals by outcome, and their total without failed ones."""
        query = (
            select(tables.Trial.outcome, func.count()).where(tables.Trial.study == study).group_by(tables.Trial.outcome)
        )
        with self.session() as session:
            found = {outcome: int(count) for outcome, count in session.execute(query)}
        counts = {outcome: found.get(outcome, 0) for outcome in (*COUNTED, "failed")}
        return {"total": sum(counts[outcome] for outcome in COUNTED), **counts}

    def add_fronts(self, study: str, fronts: list[FrontRecord]) -> None:
        """Store what a study had reached after each of several trials."""
        with self.session() as session, session.begin():
            profile, _ = judged_by(session, study)
            for front in fronts:
                session.merge(_front_row(study, profile, front))

    def fronts(self, study: str) -> list[FrontRecord]:
        """Return what a study had reached when each trial ended, in that order, on the device it is for."""
        f, t = tables.FrontPoint, tables.Trial
        with self.session() as session:
            profile, _ = judged_by(session, study)
            query = (
                select(f)
                .join(t, and_(t.study == f.study, t.number == f.trial))
                .where(f.study == study, f.profile == profile)
                .order_by(func.coalesce(t.finished_utc, ""), t.number)
            )
            return [
                FrontRecord(row.trial, row.hypervolume, row.best_trial, row.best_val_accuracy, tuple(row.front))
                for row in session.scalars(query)
            ]


def judged_by(session: Session, study: str) -> tuple[str, str]:
    """Return the identities of the profile and the latency model that a study is judged by; empty before it has any."""
    query = select(tables.Study.profile, tables.Study.latency_model).where(tables.Study.name == study)
    found = session.execute(query).one_or_none()
    return ("", "") if found is None else (found.profile or "", found.latency_model or "")


def prediction_row(key: Mapping[str, str], values: Mapping[str, float]) -> tables.Prediction:
    """Return predicted statistics in milliseconds as a row."""
    return tables.Prediction(**key, **{f"{name}_ms": values[name] for name in STATISTICS}, dense_ms=values.get("dense"))


def predicted(row: tables.Prediction) -> dict[str, float]:
    """Return the predicted statistics in milliseconds; those of finalists include dense."""
    statistics = {name: float(getattr(row, f"{name}_ms")) for name in STATISTICS}
    return statistics if row.dense_ms is None else {**statistics, "dense": row.dense_ms}


def _front_row(study: str, profile: str, front: FrontRecord) -> tables.FrontPoint:
    return tables.FrontPoint(
        study=study,
        trial=front.trial,
        profile=profile,
        hypervolume=front.hypervolume,
        best_trial=front.best_trial,
        best_val_accuracy=front.best_val_accuracy,
        front=list(front.front),
    )


def _whole(values: Mapping[str, float] | None, name: str) -> int | None:
    return None if values is None or name not in values else round(values[name])
