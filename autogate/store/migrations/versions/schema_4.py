"""Schema 4: facts of a study in one form, and with a finalist its execution plan and its verdict.

The definitions here stay as they were released.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"
branch_labels = None
depends_on = None

# Names of facts before, by their names since.
_TASK = {
    "digest": "task",
    "training_functions": "methods",
    "val_images": "val_images",
    "preprocessing": "preprocessing",
    "class_names": "class_names",
}
_TARGET = {
    "foreign": "foreign",
    "setting": "setting",
    "dense_latency_ms": "dense_predicted_ms",
    "slowdown": "slowness",
    "stale_error": "stale_error",
    "unpaying_gates": "left_out",
    "budget_ms": "budget_ms_search",
    "budget_binding": "budget_binding",
}
_SAME = ("dense", "dense_artifact", "shared_artifact", "short_floor", "ended")
_RENAMED = {
    "measured_candidates": "measured_candidates",
    "failed_finalists": "failed_finalists",
    "stage_seconds": "seconds",
}
_STUDIES = sa.table(
    "autogate_studies", sa.column("name", sa.String), sa.column("facts", sa.JSON), sa.column("profile", sa.String)
)


def upgrade() -> None:
    """Upgrade from schema 3."""
    with op.batch_alter_table("autogate_finalists") as table:
        table.add_column(sa.Column("plan", sa.JSON()))
        table.add_column(sa.Column("verdict", sa.JSON()))
    connection = op.get_bind()
    studies = connection.execute(sa.select(_STUDIES.c.name, _STUDIES.c.facts, _STUDIES.c.profile)).all()
    for name, facts, profile in studies:
        values = {"facts": _facts(facts, has_profile=profile is not None)}
        connection.execute(_STUDIES.update().where(_STUDIES.c.name == name).values(values))
    op.execute("update autogate_meta set value = '4' where key = 'schema'")


def _facts(old: Mapping[str, Any], *, has_profile: bool) -> dict[str, Any]:
    """Return facts in their new form; a study that was on its way to another device has none of its target."""
    new: dict[str, Any] = {"version": 1}
    if "task" in old:
        new["task"] = _present(old, _TASK)
    if "setting" in old and has_profile:
        new["target"] = _present(old, _TARGET)
    new |= {key: old[key] for key in _SAME if key in old}
    new |= _present(old, _RENAMED)
    if "sensitivity" in old:
        new["sensitivity"] = [
            {"decision": decision, "choice": choice, "loss_increase": loss}
            for decision, choice, loss in old["sensitivity"]
        ]
    return new


def _present(old: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {new: old[name] for new, name in names.items() if name in old}
