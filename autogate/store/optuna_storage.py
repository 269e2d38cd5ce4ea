"""Optuna's part of a study database, with Optuna's errors made clear."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from autogate.errors import StorageError
from autogate.store.database import clear_errors, engine_options
from autogate.store.store import Store

if TYPE_CHECKING:
    import optuna


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


@contextmanager
def optuna_errors(store: Store) -> Iterator[None]:
    """Turn what Optuna's storage raises into one clear error."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with clear_errors(store.engine.url):
            yield
    except (optuna.exceptions.StorageInternalError, RuntimeError) as error:
        raise StorageError(f"Optuna cannot use {store.shown_url}: {store.reason(error)}") from None
