"""The version of a database's schema: checked, made, and brought up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.orm import Session

from autogate.errors import NoStudiesError, PolicyError, StorageError
from autogate.store.tables import SCHEMA_VERSION, VERSION_TABLE, Base, Meta, SchemaVersion
from autogate.store.urls import default_storage, redact_url
from autogate.store.views import create_views, drop_views
from autogate.system import one_line

# Databases from before Alembic have their version, always 1, in this table.
_FIRST_VERSION_TABLE = "autogate_meta"
_OPTUNA = {"studies", "trials", "alembic_version"}
_MIGRATIONS = Path(__file__).parent / "migrations"
# Any number does, as long as nobody else takes it.
_POSTGRES_LOCK = 4_117_020_269


def ensure_schema(engine: Engine, *, create: bool) -> None:
    """Check that the tables are this version's, and make them where there are none.

    Args:
        engine: The database.
        create: Whether to make the tables if they are not there.

    Raises:
        NoStudiesError: If there are none and they are not to be made.
        StorageError: If the schema is older, newer or foreign; says what to do.
    """
    found = schema_version(engine)
    if found is None:
        if not create:
            raise NoStudiesError(f"{redact_url(engine.url)} holds no AutoGate study; `autogate search` starts one")
        _create(engine)
    elif found < SCHEMA_VERSION:
        raise StorageError(
            f"{redact_url(engine.url)} has schema {found}, and this version works with {SCHEMA_VERSION}; run "
            f"`autogate studies upgrade{_elsewhere(engine)}`, which keeps everything"
        )


def schema_version(engine: Engine) -> int | None:
    """Return the schema's version, or None where there are no tables of AutoGate yet.

    Raises:
        StorageError: If the tables are another program's, or a newer version's.
    """
    tables = set(inspect(engine).get_table_names())
    where = redact_url(engine.url)
    if _FIRST_VERSION_TABLE not in tables:
        if tables and not tables >= _OPTUNA:
            raise StorageError(f"{where} is a database of another program; give AutoGate another one with --storage")
        return None
    with engine.connect() as connection:
        if VERSION_TABLE in tables:
            found = connection.scalar(text(f"select version_num from {VERSION_TABLE}"))  # noqa: S608 - a constant
        else:
            found = connection.scalar(text("select value from autogate_meta where key = 'schema'"))
    if found is None or not str(found).isdigit():
        raise StorageError(f"{where} has an unknown schema; it was not written by autogate")
    if int(found) > SCHEMA_VERSION:
        raise StorageError(
            f"{where} has schema {found}, newer than {SCHEMA_VERSION}, which this version reads; update autogate"
        )
    return int(found)


def upgrade_schema(engine: Engine) -> tuple[int, int]:
    """Bring a database up to date in one transaction; return the versions before and after.

    Raises:
        NoStudiesError: If there are no tables of AutoGate.
        StorageError: If the schema is newer or foreign, or holds what was never written.
    """
    from alembic import command
    from alembic.config import Config

    found = schema_version(engine)
    if found is None:
        raise NoStudiesError(f"{redact_url(engine.url)} holds no AutoGate study; `autogate search` starts one")
    if found == SCHEMA_VERSION:
        return found, found
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        with _alone(engine) as connection:
            config.attributes["connection"] = connection
            drop_views(connection)
            if VERSION_TABLE not in inspect(connection).get_table_names():
                command.stamp(config, str(found))
            command.upgrade(config, "head")
            create_views(connection)
    except (ValueError, KeyError, TypeError, AttributeError, PolicyError) as error:
        raise StorageError(
            f"{redact_url(engine.url)} holds a row that cannot be read ({one_line(error, 150)}); nothing "
            "was changed, restore the database"
        ) from None
    return found, SCHEMA_VERSION


def _create(engine: Engine) -> None:
    with _alone(engine) as connection:
        if _FIRST_VERSION_TABLE in inspect(connection).get_table_names():
            return  # another process was quicker
        Base.metadata.create_all(connection)
        create_views(connection)
        with Session(connection) as session:
            session.add(SchemaVersion(version_num=str(SCHEMA_VERSION)))
            session.add(Meta(key="schema", value=str(SCHEMA_VERSION)))
            session.flush()


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that changes tables, all or nothing, while no other process does."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # The driver would begin only at the first row that is written, after tables were made.
            raw = connection.connection.dbapi_connection
            assert raw is not None  # noqa: S101 - it was just opened
            before, raw.isolation_level = raw.isolation_level, None
            try:
                connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
                connection.commit()
            finally:
                connection.rollback()
                connection.exec_driver_sql("PRAGMA foreign_keys=ON")
                connection.rollback()
                raw.isolation_level = before
        else:
            with connection.begin():
                connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _POSTGRES_LOCK})
                yield connection


def _elsewhere(engine: Engine) -> str:
    url = redact_url(engine.url)
    return "" if url == default_storage() else f" --storage '{url}'"
