"""Schema 3: jobs, workers and checkpoints.

The definitions here stay as they were released.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"
branch_labels = None
depends_on = None

_KEY = ("policy", "task", "recipe", "fidelity", "seed")


def upgrade() -> None:
    """Upgrade from schema 2."""
    op.create_table(
        "autogate_jobs",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("policy", sa.String(16), sa.ForeignKey("autogate_policies.digest"), nullable=False),
        *(sa.Column(name, sa.String(16), nullable=False) for name in ("task", "recipe", "fidelity")),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("study", sa.String(200), sa.ForeignKey("autogate_studies.name"), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("trial", "attempts")),
        sa.Column("holder", sa.String(64)),
        sa.Column("expires_s", sa.Float()),
        sa.Column("failure", sa.String()),
        sa.UniqueConstraint(*_KEY),
    )
    op.create_table(
        "autogate_workers",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("study", sa.String(200), sa.ForeignKey("autogate_studies.name"), nullable=False),
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.String(40), nullable=False) for name in ("device", "code_version")),
        sa.Column("joined", sa.Boolean(), nullable=False),
        sa.Column("seen_s", sa.Float(), nullable=False),
        sa.Column("doing", sa.String(200)),
    )
    op.create_table(
        "autogate_checkpoints",
        sa.Column("slot", sa.String(16), primary_key=True),
        sa.Column("study", sa.String(200), sa.ForeignKey("autogate_studies.name"), nullable=False),
        sa.Column("artifact", sa.String(64), sa.ForeignKey("autogate_artifacts.sha256"), nullable=False),
        sa.Column("images", sa.BigInteger(), nullable=False),
        sa.Column("saved_utc", sa.String(40), nullable=False),
    )
    op.execute("update autogate_meta set value = '3' where key = 'schema'")
