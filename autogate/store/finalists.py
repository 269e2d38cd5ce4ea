"""Finalists: fully trained, and measured if the target is at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import and_, select

from autogate.policy import Policy
from autogate.records import Comparison, EnergyComparison, FinalistRecord, Measurement, Realisation, Setting, Verdict
from autogate.store import tables
from autogate.store.retries import retry_on_disconnect
from autogate.store.trials import Trials, judged_by, predicted, prediction_row

_COSTS = ("macs_paper", "macs_realisable", "params", "peak_memory_bytes", "dense_peak_memory_bytes")
_STATISTICS = ("mean", "p50", "p95", "max")
_NETWORKS = ("dense", "gated")
FULL = "full"


class Finalists(Trials):
    """The finalists of a database's studies."""

    @retry_on_disconnect
    def add_finalist(self, study: str, finalist: FinalistRecord) -> None:
        """Store a finalist; it is stored on return."""
        self.add_policy(finalist.policy)
        place = {"study": study, "policy": finalist.policy.digest, "profile": finalist.profile}
        row = tables.Finalist(
            **place,
            trial=finalist.trial,
            val_accuracy=finalist.val_accuracy,
            test_accuracy=finalist.test_accuracy,
            realisation=finalist.realisation.to_json(),
            artifact=finalist.artifact,
            plan=None if finalist.plan is None else dict(finalist.plan),
            verdict=None if finalist.verdict is None else finalist.verdict.to_json(),
            **{name: round(finalist.costs[name]) for name in _COSTS if name in finalist.costs},
        )
        compared = finalist.comparison
        if compared is not None:
            row.ratio, (row.ratio_low, row.ratio_high) = compared.ratio, compared.ratio_interval
            row.setting = compared.setting.to_json()
            row.energy = None if compared.energy is None else compared.energy.to_json()
        with self.session() as session, session.begin():
            session.merge(row)
            session.flush()
            _, model = judged_by(session, study)
            session.merge(prediction_row({**place, "latency_model": model, "fidelity": FULL}, finalist.predicted))
            for network in _NETWORKS if compared is not None else ():
                session.merge(_measurement_row(place, network, getattr(compared, network)))

    @retry_on_disconnect
    def set_verdict(self, study: str, finalist: FinalistRecord, verdict: Verdict) -> None:
        """Replace a finalist's verdict, as when a study continues with other budgets; it is stored on return."""
        key = {"study": study, "policy": finalist.policy.digest, "profile": finalist.profile}
        with self.session() as session, session.begin():
            session.get_one(tables.Finalist, key).verdict = verdict.to_json()

    def finalists(self, study: str) -> list[FinalistRecord]:
        """Return the finalists of a study by trial."""
        f, p = tables.Finalist, tables.Prediction
        with self.session() as session:
            _, model = judged_by(session, study)
            query = (
                select(f, tables.Policy, p)
                .join(tables.Policy, tables.Policy.digest == f.policy)
                .join(
                    p,
                    and_(
                        p.study == f.study,
                        p.policy == f.policy,
                        p.profile == f.profile,
                        p.latency_model == model,
                        p.fidelity == FULL,
                    ),
                )
                .where(f.study == study)
                .order_by(f.trial, f.policy, f.profile)
            )
            measured = _measurements(session.scalars(select(tables.Measurement).filter_by(study=study)))
            return [
                FinalistRecord(
                    Policy.from_json(policy.body),
                    row.profile,
                    row.trial,
                    row.val_accuracy,
                    row.test_accuracy,
                    {name: value for name in _COSTS if (value := getattr(row, name)) is not None},
                    predicted(prediction),
                    _comparison(row, measured),
                    Realisation.from_json(row.realisation),
                    row.artifact,
                    row.plan,
                    None if row.verdict is None else Verdict.from_json(row.verdict),
                )
                for row, policy, prediction in session.execute(query)
            ]


def _measurement_row(place: dict[str, str], network: str, measured: Measurement) -> tables.Measurement:
    low_ms, high_ms = measured.interval
    return tables.Measurement(
        **place,
        network=network,
        low_ms=low_ms,
        high_ms=high_ms,
        inputs=measured.inputs,
        repeats=measured.repeats,
        **{f"{name}_ms": getattr(measured, name) for name in _STATISTICS},
    )


def _measurements(rows: Iterable[tables.Measurement]) -> dict[tuple[str, str, str], Measurement]:
    """Return measurements by policy, profile and network."""
    found = {}
    for row in rows:
        statistics = {name: getattr(row, f"{name}_ms") for name in _STATISTICS}
        interval = (row.low_ms, row.high_ms)
        measured = Measurement(**statistics, interval=interval, inputs=row.inputs, repeats=row.repeats)
        found[(row.policy, row.profile, row.network)] = measured
    return found


def _comparison(row: tables.Finalist, measured: Mapping[tuple[str, str, str], Measurement]) -> Comparison | None:
    if row.ratio is None or row.ratio_low is None or row.ratio_high is None or row.setting is None:
        return None
    dense, gated = (measured[(row.policy, row.profile, network)] for network in _NETWORKS)
    setting = Setting.from_json(row.setting)
    energy = None if row.energy is None else EnergyComparison.from_json(row.energy)
    return Comparison(dense, gated, row.ratio, (row.ratio_low, row.ratio_high), setting, energy)
