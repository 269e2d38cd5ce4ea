"""Private interfaces of other libraries: each is there, in the versions that ``autogate.system.compat`` names.

If one fails after an update, change the function that the message names, and the versions in its docstring.
"""

from __future__ import annotations

import importlib
import inspect
from importlib import metadata
from pathlib import Path

import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution

from autogate.errors import StorageError
from autogate.store import Store, open_storage
from autogate.system import (
    allocation_sizes,
    has_known_optuna_tables,
    insert_optuna_params,
    occupy_gpu,
    optuna_schema,
    ray_entrypoint,
)

# Library, the private name that is used, the function that uses it, and the versions it was seen in.
PRIVATE = [
    ("ray", "ray._private.utils:get_entrypoint_name", "ray_entrypoint", "2.60"),
    ("torch-pruning", "torch_pruning.utils.op_counter:has_timm", "import_torch_pruning", "1.6"),
    ("torch", "torch.cuda:_sleep", "occupy_gpu", "2.11 to 2.14"),
    ("torch", "torch.onnx._internal.exporter._registration:ONNXRegistry", "onnx_registry_kept", "2.11 to 2.14"),
    ("torch", "torch.autograd.profiler:profile", "allocation_sizes", "2.11 to 2.14"),
    ("torch", "torch.utils._python_dispatch:TorchDispatchMode", "autogate/latency/model/operators.py", "2.11 to 2.14"),
    ("torch", "torch.utils._pytree:tree_leaves", "autogate/latency/model/operators.py", "2.11 to 2.14"),
    ("torch", "torch:_foreach_add_", "autogate/training/sliced_sgd.py", "2.11 to 2.14"),
    ("torch", "torch:_foreach_mul_", "autogate/training/sliced_sgd.py", "2.11 to 2.14"),
]


@pytest.mark.parametrize(("library", "private", "user", "seen"), PRIVATE, ids=lambda value: str(value).split(":")[-1])
def test_a_private_name_is_there(library: str, private: str, user: str, seen: str) -> None:
    module, _, name = private.partition(":")
    helpful = f"{library} {metadata.version(library)} has no {private}, seen in {seen}; change {user}"
    try:
        found = hasattr(importlib.import_module(module), name)
    except ImportError:
        found = False
    assert found, helpful


def test_ray_reports_the_given_text_and_nothing_after_it() -> None:
    from ray._private import utils

    before = utils.get_entrypoint_name
    with ray_entrypoint("autogate, study one"):
        assert utils.get_entrypoint_name() == "autogate, study one"
    assert utils.get_entrypoint_name is before
    # Ray looks the function up where it is replaced.
    worker = importlib.import_module("ray._private.worker")
    assert "get_entrypoint_name()" in inspect.getsource(worker), (
        f"ray {metadata.version('ray')} no longer calls get_entrypoint_name, seen in 2.60; change ray_entrypoint"
    )


def test_optuna_reads_parameters_that_were_inserted(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/one.db", create=True)
    storage = open_storage(store)
    assert has_known_optuna_tables(storage), (
        f"Optuna {metadata.version('optuna')} has other tables ({storage.get_current_version()}) than 3.2 to 5.0; "
        "change insert_optuna_params"
    )
    study = optuna.create_study(storage=storage, study_name="one")
    trial = study.ask()
    distributions = {"gate": CategoricalDistribution(("drop", "mod")), "rate": FloatDistribution(0.0, 1.0)}
    params = {"gate": "mod", "rate": 0.25}
    for _ in range(2):  # once more after an answer that was lost
        insert_optuna_params(store.engine, trial._trial_id, params, distributions)
        (read,) = optuna.load_study(storage=open_storage(store), study_name="one").trials
        assert read.params == params
        assert read.distributions == distributions


def test_optunas_tables_are_made_once_and_checked_at_every_opening(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/one.db", create=True)
    assert open_storage(store).get_current_version() == optuna_schema(), (
        f"Optuna {metadata.version('optuna')} keeps its migrations elsewhere than 4.0 to 5.0; change optuna_schema"
    )
    assert open_storage(store).get_current_version() == open_storage(store).get_head_version()
    with store.engine.begin() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = 'v9'")
    with pytest.raises(StorageError, match="Optuna cannot use .*updating optuna"):
        open_storage(store)


def test_allocations_and_releases_are_seen() -> None:
    sizes = allocation_sizes(lambda: float(torch.ones(1000).sum()))
    assert 4000 in sizes, f"torch {torch.__version__} reports no allocations, seen in 2.11 to 2.14: allocation_sizes"
    assert sum(sizes) == 0


@pytest.mark.gpu
def test_a_gpu_is_kept_busy() -> None:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    occupy_gpu(torch.device("cuda", 0), 5.0)
    end.record()
    torch.cuda.synchronize()
    assert start.elapsed_time(end) >= 5.0
