"""Optuna's part of a study database, with Optuna's errors made clear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy

from autogate.errors import StorageError
from autogate.store.database import clear_errors, engine_options
from autogate.store.store import Store

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

# Unchanged from Optuna 3.2 to 5.0.
_KNOWN_TABLES = "v3.2.0.a"


def open_storage(store: Store) -> optuna.storages.RDBStorage:
    """Return Optuna's storage in a study database.

    Raises:
        StorageError: If Optuna cannot use it.
    """
    import optuna

    with optuna_errors(store), store.making_tables():
        return optuna.storages.RDBStorage(
            store.engine.url.render_as_string(hide_password=False), engine_kwargs=engine_options(store.engine.name)
        )


def add_params(
    store: Store, trial: int, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
) -> None:
    """Store all parameters of a trial of Optuna's at once, which takes Optuna a query or two for each.

    Args:
        store: The study database, with Optuna's tables in the version of :func:`has_known_tables`.
        trial: Optuna's identity of the trial; it has no parameters yet.
        params: Values by name.
        distributions: Of each.
    """
    from optuna.distributions import distribution_to_json

    rows = [
        {
            "trial_id": trial,
            "param_name": name,
            "param_value": distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(distributions[name]),
        }
        for name, value in params.items()
    ]
    columns = ("trial_id", "param_name", "param_value", "distribution_json")
    table = sqlalchemy.table("trial_params", *map(sqlalchemy.column, columns))
    with store.engine.begin() as connection:
        connection.execute(sqlalchemy.delete(table).where(table.c.trial_id == trial))
        if rows:
            connection.execute(sqlalchemy.insert(table), rows)


def has_known_tables(storage: optuna.storages.RDBStorage) -> bool:
    """Whether Optuna's tables are those that :func:`add_params` knows."""
    return storage.get_current_version() == _KNOWN_TABLES


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
