"""Optuna's part of a study database, with Optuna's errors made clear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from autogate.errors import StorageError
from autogate.store.database import clear_errors, engine_options
from autogate.store.store import Store
from autogate.system import has_known_optuna_tables, insert_optuna_params, optuna_schema

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution


def open_storage(store: Store) -> optuna.storages.RDBStorage:
    """Return Optuna's storage in a study database.

    Raises:
        StorageError: If Optuna cannot use it.
    """
    import optuna

    with optuna_errors(store), store.making_tables():
        # Optuna's own check reads all its migrations, which takes longer than all else that it does here.
        tables = _schema_of(store)
        known = tables is not None and tables == optuna_schema()
        return optuna.storages.RDBStorage(
            store.engine.url.render_as_string(hide_password=False),
            engine_kwargs=engine_options(store.engine.name),
            skip_compatibility_check=known or tables is None,
            skip_table_creation=known,
        )


def _schema_of(store: Store) -> str | None:
    """Return the version of Optuna's tables in a database; None where there are none."""
    from alembic.runtime.migration import MigrationContext

    with store.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def add_params(
    store: Store, trial: int, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
) -> None:
    """Store all parameters of an Optuna trial in one statement; Optuna itself needs one or two for each.

    Args:
        store: The study database, for whose Optuna tables :func:`has_known_tables` holds.
        trial: Optuna's id of the trial, which has no parameters yet.
        params: Values by name.
        distributions: The distribution of each parameter.
    """
    insert_optuna_params(store.engine, trial, params, distributions)


def has_known_tables(storage: optuna.storages.RDBStorage) -> bool:
    """Whether Optuna's tables are those that :func:`add_params` writes."""
    return has_known_optuna_tables(storage)


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's notes on new studies off the terminal; its verbosity is the user's, and is restored."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def optuna_errors(store: Store) -> Iterator[None]:
    """Turn what Optuna's storage raises into one clear error."""
    import optuna

    try:
        with clear_errors(store.engine.url), quiet_optuna():
            yield
    except (optuna.exceptions.StorageInternalError, RuntimeError) as error:
        raise StorageError(f"Optuna cannot use {store.shown_url}: {store.reason(error)}") from None
