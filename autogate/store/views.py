"""Views for users: what they may rely on in SQL, documented in ``docs/sql.md``; tables may change, views grow."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

_PREDICTED = """
    left join autogate_predictions p
        on p.study = t.study and p.policy = t.policy and p.profile = coalesce(s.profile, '')
        and p.latency_model = coalesce(s.latency_model, '') and p.fidelity = 'short'
"""

_TRIALS = f"""
create view autogate_trials as
select
    t.study, t.number as trial, t.outcome, t.policy, t.val_accuracy, t.macs_paper, t.peak_memory_bytes,
    p.mean_ms as predicted_mean_ms, p.p50_ms as predicted_p50_ms, p.p95_ms as predicted_p95_ms,
    p.max_ms as predicted_max_ms, p.upper_ms as predicted_upper_ms,
    case s.latency_stat when 'mean' then p.mean_ms when 'p50' then p.p50_ms when 'max' then p.max_ms else p.p95_ms end
        as predicted_ms,
    t.seconds, t.reason, t.finished_utc
from autogate_trial_records t
    join autogate_studies s on s.name = t.study {_PREDICTED}
"""  # noqa: S608 - constants

# A candidate is on the front if it beats all that are faster, and equals, in accuracy.
_FRONT = """
create view autogate_front as
with points as (
    select
        t.*,
        max(val_accuracy) over (
            partition by study order by predicted_ms, val_accuracy desc, trial
            rows between unbounded preceding and 1 preceding
        ) as best_of_faster
    from autogate_trials t
    where val_accuracy is not null and predicted_ms is not null
)
select
    f.study, f.trial, f.policy, f.val_accuracy, f.macs_paper, f.predicted_ms, f.predicted_p50_ms,
    f.predicted_upper_ms, d.test_accuracy, g.p50_ms as measured_p50_ms, g.p95_ms as measured_p95_ms,
    n.p50_ms as dense_measured_p50_ms, d.ratio as measured_ratio
from points f
    join autogate_studies s on s.name = f.study
    left join autogate_finalists d on d.study = f.study and d.policy = f.policy and d.profile = s.profile
    left join autogate_measurements g
        on g.study = d.study and g.policy = d.policy and g.profile = d.profile and g.network = 'gated'
    left join autogate_measurements n
        on n.study = d.study and n.policy = d.policy and n.profile = d.profile and n.network = 'dense'
where f.best_of_faster is null or f.val_accuracy > f.best_of_faster
"""

_DEVICES = """
create view autogate_devices as
select
    d.name as device, d.kind, r.digest as profile, r.model, r.batch_size, r.dtype, r.layout, r.threads, r.runtime,
    r.created_utc,
    (select count(*) from autogate_samples m where m.profile = r.digest) as samples,
    (select count(*) from autogate_studies s where s.profile = r.digest) as studies
from autogate_device_records d
    join autogate_profiles r on r.device = d.digest
"""

VIEWS = {"autogate_trials": _TRIALS, "autogate_front": _FRONT, "autogate_devices": _DEVICES}


def create_views(connection: Connection) -> None:
    """Make the views, in a database that has none of them."""
    for statement in VIEWS.values():
        connection.execute(text(statement))


def drop_views(connection: Connection) -> None:
    """Take the views away, so that the tables behind them can change."""
    there = inspect(connection).get_view_names()
    for name in reversed(VIEWS):
        if name in there:
            connection.execute(text(f"drop view {name}"))
