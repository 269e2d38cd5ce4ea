"""Run the migrations on the connection that the caller opened, in the caller's transaction."""

from alembic import context

from autogate.store.tables import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
