"""Schema 1, the first that was released: what databases from before Alembic hold."""

revision = "1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Do nothing: a database is here or later."""
