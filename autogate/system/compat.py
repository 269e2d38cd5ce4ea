"""The private interfaces of other libraries that AutoGate uses, all in one place.

Each function names the version its private interface was seen in; ``tests/unit/system/test_compat.py`` fails with a
line that names the function if a newer version no longer has it. Libraries are imported when a function is called.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna
    import torch
    from optuna.distributions import BaseDistribution
    from sqlalchemy import Engine

# At the highest clock of the GPUs there are, about 2 GHz.
_CYCLES_PER_MS = 2_000_000
# Alembic's name for Optuna's tables; they did not change from Optuna 3.2 to 5.0.
_OPTUNA_TABLES = "v3.2.0.a"
_MEMORY_EVENT = "[memory]"


@contextmanager
def ray_entrypoint(text: str) -> Iterator[None]:
    """Let ``ray.init`` report ``text`` as this process's command line, which may hold a password.

    Replaces ``ray._private.utils.get_entrypoint_name``, seen in Ray 2.60.
    """
    import ray

    utils = ray._private.utils
    original = utils.get_entrypoint_name
    utils.get_entrypoint_name = lambda: text
    try:
        yield
    finally:
        utils.get_entrypoint_name = original


@contextmanager
def onnx_registry_kept() -> Iterator[None]:
    """Let ``torch.onnx.export`` use its table of operators again instead of making it anew, 0.3 s each time.

    Replaces ``torch.onnx._internal.exporter._registration.ONNXRegistry.from_torchlib``, seen in PyTorch 2.11 to 2.14;
    does nothing where it is not there.
    """
    try:
        registry: Any = importlib.import_module("torch.onnx._internal.exporter._registration").ONNXRegistry
        original = vars(registry)["from_torchlib"]
    except (ImportError, AttributeError, KeyError):
        yield
        return
    registry.from_torchlib = staticmethod(_kept_registry(original.__get__(None, registry)))
    try:
        yield
    finally:
        registry.from_torchlib = original


@functools.cache
def _kept_registry(make: Callable[..., Any]) -> Callable[..., Any]:
    return functools.cache(make)


@functools.cache
def optuna_schema() -> str | None:
    """Return the version of the tables that the installed Optuna makes and reads; None if that cannot be seen.

    Reads the migrations in ``optuna.storages._rdb.alembic``, seen in Optuna 4.0 to 5.0.
    """
    import optuna
    from alembic.script import ScriptDirectory

    folder = Path(optuna.storages.__file__).parent / "_rdb" / "alembic"
    return ScriptDirectory(str(folder)).get_current_head() if folder.is_dir() else None


def has_known_optuna_tables(storage: optuna.storages.RDBStorage) -> bool:
    """Whether Optuna's tables are those that :func:`insert_optuna_params` knows."""
    return storage.get_current_version() == _OPTUNA_TABLES


def insert_optuna_params(
    engine: Engine, trial: int, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
) -> None:
    """Store all parameters of an Optuna trial in one statement; Optuna itself needs one or two for each.

    Writes rows of Optuna's table ``trial_params``, seen in Optuna 3.2 to 5.0.

    Args:
        engine: A database with Optuna's tables, for which :func:`has_known_optuna_tables` holds.
        trial: Optuna's id of the trial; parameters it already has are replaced.
        params: Values by name.
        distributions: The distribution of each parameter.
    """
    import sqlalchemy
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
    with engine.begin() as connection:
        connection.execute(sqlalchemy.delete(table).where(table.c.trial_id == trial))
        if rows:
            connection.execute(sqlalchemy.insert(table), rows)


def import_torch_pruning() -> Any:
    """Import Torch-Pruning without timm, which takes longer than itself.

    Torch-Pruning imports timm, if there is one, to count operations, which AutoGate does itself; seen in 1.6.
    """
    hidden = "timm" not in sys.modules
    if hidden:
        sys.modules["timm"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("torch_pruning")
    finally:
        if hidden:
            del sys.modules["timm"]


def occupy_gpu(device: torch.device, ms: float) -> None:
    """Start a kernel that keeps a GPU busy for at least ``ms`` milliseconds; return at once.

    Calls ``torch.cuda._sleep``, seen in torch 2.11 to 2.14.
    """
    import torch

    with torch.cuda.device(device):
        torch.cuda._sleep(int(ms * _CYCLES_PER_MS))  # type: ignore[no-untyped-call]


def allocation_sizes(run: Callable[[], object]) -> list[int]:
    """Run a function on the CPU and return the bytes that each allocation took (> 0) or freed (< 0), in order of time.

    Reads ``kineto_results`` of torch's profiler, seen in torch 2.11 to 2.14.
    """
    import torch

    # Else the profiler's library reports on standard error that it starts, stops, and finds no GPU.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as trace:
        run()
    assert trace.profiler is not None and trace.profiler.kineto_results is not None  # noqa: S101, PT018 - it ran
    changes = [event for event in trace.profiler.kineto_results.events() if event.name() == _MEMORY_EVENT]
    return [event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns())]
