"""Schema 2: spaces, devices, samples, predictions, measurements and fronts get tables of their own.

Tables whose rows change shape are read, made anew and filled again. The definitions here stay as they were released.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from autogate.policy import Policy, digest

revision = "2"
down_revision = "1"
branch_labels = None
depends_on = None

_COSTS = ("macs_paper", "macs_realisable", "params", "peak_memory_bytes", "dense_peak_memory_bytes")
_STATISTICS = ("mean", "p50", "p95", "max")
# What it was called before it was written down.
_LATENCY_MODEL = "1"


def upgrade() -> None:
    """Upgrade from schema 1."""
    studies = _rows("autogate_studies", "config", "facts")
    policies = _rows("autogate_policies", "body")
    profiles = _rows("autogate_profiles")
    trials = _rows("autogate_trials", "predicted", "costs")
    finalists = _rows("autogate_finalists", "costs", "predicted", "comparison", "realisation")
    artifacts = _rows("autogate_artifacts")
    for table in ("autogate_profiles", "autogate_trials", "autogate_finalists"):
        op.drop_table(table)
    _make_tables()
    _add_columns()
    op.execute("update autogate_meta set value = '2' where key = 'schema'")
    for row in studies:
        _split_study(row)
    for row in policies:
        _update("autogate_policies", "digest", row, execution_digest=Policy.from_json(row["body"]).execution_digest)
    for row in artifacts:
        _update("autogate_artifacts", "sha256", row, path=f"{row['sha256']}.safetensors")
    for row in profiles:
        _add_profile(row)
    used = {row["name"]: str(row["facts"].get("profile") or "") for row in studies}
    for row in sorted(trials, key=lambda row: row["number"]):
        _add_trial(row, used[row["study"]])
    for row in finalists:
        _add_finalist(row)


def _make_tables() -> None:
    op.create_table("autogate_spaces", _key("digest", 16), _column("body", sa.JSON()))
    op.create_table(
        "autogate_device_records", _key("digest", 16), _column("name", sa.String(200)), _column("kind", sa.String(20))
    )
    op.create_table(
        "autogate_profiles",
        _key("digest", 16),
        _column("device", sa.String(16), "autogate_device_records.digest"),
        _column("model", sa.String(200)),
        _column("input_shape", sa.JSON()),
        _column("torch_device", sa.String(40)),
        _column("batch_size", sa.BigInteger()),
        _column("dtype", sa.String(20)),
        _column("layout", sa.String(20)),
        _column("threads", sa.BigInteger()),
        _column("runtime", sa.String(40)),
        _column("versions", sa.JSON()),
        _column("card", sa.JSON()),
        sa.Column("method", sa.JSON()),
        _column("created_utc", sa.String(40)),
    )
    op.create_table(
        "autogate_samples",
        _key("profile", 16, "autogate_profiles.digest"),
        _number("position"),
        _column("network", sa.BigInteger()),
        _column("latency_ms", sa.Float()),
        _column("iqr_ms", sa.Float()),
        _column("passes", sa.BigInteger()),
        sa.Column("unit", sa.String()),
        sa.Column("units", sa.JSON()),
        sa.Column("policy", sa.JSON()),
        sa.Column("macs", sa.BigInteger()),
        *(sa.Column(name, sa.Float()) for name in ("host_ms", "low_ms", "high_ms")),
        sa.Column("phase", sa.String(16)),
        sa.Column("decisions", sa.JSON()),
        sa.Column("executors", sa.JSON()),
    )
    op.create_table(
        "autogate_forms",
        _key("profile", 16, "autogate_profiles.digest"),
        _number("position"),
        _column("unit", sa.String()),
        _column("operators", sa.JSON()),
    )
    op.create_table(
        "autogate_trial_records",
        _study(),
        _number("number"),
        _column("outcome", sa.String(10)),
        sa.Column("policy", sa.String(16), sa.ForeignKey("autogate_policies.digest")),
        sa.Column("val_accuracy", sa.Float()),
        sa.Column("macs_paper", sa.BigInteger()),
        sa.Column("peak_memory_bytes", sa.BigInteger()),
        sa.Column("reason", sa.String()),
        _column("seconds", sa.Float()),
        sa.Column("finished_utc", sa.String(40)),
    )
    op.create_table(
        "autogate_front_history",
        _study(),
        _number("trial"),
        _key("profile", 16),
        _column("hypervolume", sa.Float()),
        sa.Column("best_trial", sa.BigInteger()),
        sa.Column("best_val_accuracy", sa.Float()),
        _column("front", sa.JSON()),
    )
    op.create_table(
        "autogate_finalists",
        _study(),
        _policy(),
        _key("profile", 16),
        _column("trial", sa.BigInteger()),
        _column("val_accuracy", sa.Float()),
        _column("test_accuracy", sa.Float()),
        *(sa.Column(name, sa.BigInteger()) for name in _COSTS),
        sa.Column("energy", sa.JSON()),
        _column("realisation", sa.JSON()),
        _column("artifact", sa.String(64), "autogate_artifacts.sha256"),
        *(sa.Column(name, sa.Float()) for name in ("ratio", "ratio_low", "ratio_high")),
        sa.Column("setting", sa.JSON()),
    )
    op.create_table(
        "autogate_predictions",
        _study(),
        _policy(),
        _key("profile", 16),
        _key("latency_model", 40),
        _key("fidelity", 16),
        *_statistics(),
        _column("upper_ms", sa.Float()),
        sa.Column("dense_ms", sa.Float()),
    )
    op.create_table(
        "autogate_measurements",
        _study(),
        _policy(),
        _key("profile", 16),
        _key("network", 8),
        *_statistics(),
        _column("low_ms", sa.Float()),
        _column("high_ms", sa.Float()),
        _column("inputs", sa.BigInteger()),
        _column("repeats", sa.BigInteger()),
    )
    op.create_table(
        "autogate_artifact_parts",
        _key("sha256", 64, "autogate_artifacts.sha256"),
        _number("part"),
        _column("content", sa.LargeBinary()),
    )


def _add_columns() -> None:
    # Written out, because SQLite takes a reference only as a part of the new column.
    op.execute("alter table autogate_studies add column space varchar(16) references autogate_spaces (digest)")
    new = {"latency_stat": 8, "profile": 16, "latency_model": 40, "code_version": 40, "host": 200}
    for name, length in new.items():
        op.add_column("autogate_studies", sa.Column(name, sa.String(length)))
    op.add_column("autogate_policies", sa.Column("execution_digest", sa.String(16), nullable=False, server_default=""))
    op.add_column("autogate_evaluations", sa.Column("macs_paper", sa.BigInteger()))
    op.add_column("autogate_artifacts", sa.Column("path", sa.String()))
    if op.get_bind().dialect.name != "sqlite":  # whose numbers have one size
        op.alter_column("autogate_evaluations", "seed", type_=sa.BigInteger())
        op.alter_column("autogate_artifacts", "size_bytes", type_=sa.BigInteger())
        op.alter_column("autogate_meta", "value", type_=sa.String(1000))


def _split_study(row: Mapping[str, Any]) -> None:
    config, facts = dict(row["config"]), dict(row["facts"])
    space = config.pop("space", None)
    if space is not None:
        _insert_new("autogate_spaces", "digest", digest=digest(space), body=space)
    _update(
        "autogate_studies",
        "name",
        row,
        config=config,
        space=None if space is None else digest(space),
        latency_stat=config.pop("latency_stat", None),
        profile=facts.pop("profile", None),
        facts=facts,
        latency_model=_LATENCY_MODEL,
    )


def _add_profile(row: Mapping[str, Any]) -> None:
    header, *samples, _ = [json.loads(line) for line in row["lines"].splitlines() if line.strip()]
    setting = header["setting"]
    device = {"name": setting["device_name"], "kind": setting["device"].partition(":")[0]}
    _insert_new("autogate_device_records", "digest", digest=digest(device), **device)
    same = {key: setting[key] for key in ("batch_size", "dtype", "layout", "threads", "runtime", "versions")}
    _insert(
        "autogate_profiles",
        digest=row["digest"],
        device=digest(device),
        model=header["model"],
        input_shape=header["input_shape"],
        torch_device=setting["device"],
        **same,
        card=header["card"],
        created_utc=header["created_utc"],
    )
    for position, sample in enumerate(samples):
        values = {"latency_ms": sample["ms"], **{key: sample[key] for key in ("network", "iqr_ms", "passes")}}
        if sample["t"] == "unit":
            values["unit"] = sample["key"]
        else:
            values |= {"units": sample["keys"], "policy": sample["policy"], "macs": sample["macs"]}
        _insert("autogate_samples", profile=row["digest"], position=position, **values)


def _add_trial(row: Mapping[str, Any], profile: str) -> None:
    same = {key: row[key] for key in ("study", "number", "outcome", "policy", "val_accuracy", "reason", "seconds")}
    macs = (row["costs"] or {}).get("macs_paper")
    _insert("autogate_trial_records", **same, macs_paper=None if macs is None else round(macs))
    if row["policy"] is not None and row["predicted"]:
        _set_prediction(row["study"], row["policy"], profile, "short", row["predicted"])


def _add_finalist(row: Mapping[str, Any]) -> None:
    same = ("study", "policy", "profile", "trial", "val_accuracy", "test_accuracy", "realisation", "artifact")
    values = {key: row[key] for key in same}
    values |= {key: round(row["costs"][key]) for key in ("macs_paper", "macs_realisable", "params")}
    compared = row["comparison"]
    if compared is not None:
        low, high = compared["ratio_interval"]
        values |= {"ratio": compared["ratio"], "ratio_low": low, "ratio_high": high, "setting": compared["setting"]}
    _insert("autogate_finalists", **values)
    place = {key: row[key] for key in ("study", "policy", "profile")}
    _set_prediction(row["study"], row["policy"], row["profile"], "full", row["predicted"])
    for network in () if compared is None else ("dense", "gated"):
        found = compared[network]
        low, high = found["interval"]
        _insert(
            "autogate_measurements",
            **place,
            network=network,
            low_ms=low,
            high_ms=high,
            inputs=found["inputs"],
            repeats=found["repeats"],
            **{f"{name}_ms": found[name] for name in _STATISTICS},
        )


def _set_prediction(study: str, policy: str, profile: str, fidelity: str, predicted: Mapping[str, Any]) -> None:
    """Add a prediction; a policy that was proposed again has the one of the last time."""
    key = {
        "study": study,
        "policy": policy,
        "profile": profile,
        "latency_model": _LATENCY_MODEL,
        "fidelity": fidelity,
    }
    table = sa.table("autogate_predictions", *map(sa.column, key))
    op.get_bind().execute(sa.delete(table).where(*(table.c[name] == value for name, value in key.items())))
    statistics = {f"{name}_ms": predicted[name] for name in (*_STATISTICS, "upper")}
    _insert("autogate_predictions", **key, **statistics, dense_ms=predicted.get("dense"))


def _rows(table: str, *plain: str) -> list[dict[str, Any]]:
    """Return all rows of a table, the columns ``plain`` as plain data."""
    names = [column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)]
    columns = [sa.column(name, sa.JSON() if name in plain else None) for name in names]
    found = op.get_bind().execute(sa.select(*columns).select_from(sa.table(table)))
    return [dict(row) for row in found.mappings()]


def _insert(table: str, **values: Any) -> None:
    op.get_bind().execute(sa.insert(_table(table, values)).values(values))


def _insert_new(table: str, key: str, **values: Any) -> None:
    found = _table(table, values)
    known = op.get_bind().scalar(sa.select(sa.func.count()).select_from(found).where(found.c[key] == values[key]))
    if not known:
        _insert(table, **values)


def _update(table: str, key: str, row: Mapping[str, Any], **values: Any) -> None:
    found = _table(table, {key: row[key], **values})
    op.get_bind().execute(sa.update(found).where(found.c[key] == row[key]).values(values))


def _table(name: str, values: Mapping[str, Any]) -> sa.TableClause:
    """Return a table with columns for ``values``; lists and objects are stored as JSON."""
    kinds = {key: sa.JSON() if isinstance(value, dict | list) else None for key, value in values.items()}
    return sa.table(name, *(sa.column(key, kind) for key, kind in kinds.items()))


def _column(name: str, kind: sa.types.TypeEngine[Any], refers_to: str | None = None) -> sa.Column[Any]:
    references = [] if refers_to is None else [sa.ForeignKey(refers_to)]
    return sa.Column(name, kind, *references, nullable=False)


def _key(name: str, length: int, refers_to: str | None = None) -> sa.Column[Any]:
    references = [] if refers_to is None else [sa.ForeignKey(refers_to)]
    return sa.Column(name, sa.String(length), *references, primary_key=True)


def _number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), primary_key=True, autoincrement=False)


def _study() -> sa.Column[Any]:
    return _key("study", 200, "autogate_studies.name")


def _policy() -> sa.Column[Any]:
    return _key("policy", 16, "autogate_policies.digest")


def _statistics() -> list[sa.Column[Any]]:
    return [_column(f"{name}_ms", sa.Float()) for name in _STATISTICS]
