"""How a study meets a Ray cluster: what the cluster shows of it, and what is said where it cannot be had."""

from __future__ import annotations

import socket
import time

import pytest
import torch

from autogate.errors import StorageError, StudyError
from autogate.goals import SearchConfig
from autogate.nas.executors import check_executor
from autogate.nas.executors.ray_address import check_address
from autogate.records import EvaluationKey
from autogate.training import TrainingBackend

pytest.importorskip("ray")


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_without_a_cluster_is_refused_at_once(scheme: str, closed_port: int) -> None:
    from autogate.nas.executors.ray_cluster import connect

    address = f"{scheme}127.0.0.1:{closed_port}"
    config = SearchConfig(space={}, latency_budget="60%", backend="ray", ray_address=address)
    start_s = time.monotonic()
    for join in (
        lambda: check_executor(config, torch.device("cpu"), TrainingBackend()),
        lambda: connect(address, "first"),
    ):
        with pytest.raises(StorageError, match=f"no Ray cluster answers at {address} .*set --ray-address to") as raised:
            join()
        assert "\n" not in str(raised.value)
    assert time.monotonic() - start_s < 20


def test_the_address_of_the_environment_is_looked_at_too(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port}")
    for address in (None, "auto"):
        with pytest.raises(StorageError, match="set RAY_ADDRESS to"):
            check_address(address)
    check_address("local")


@pytest.mark.parametrize("address", [None, "auto", "local", "no address", "host:port", "elsewhere://127.0.0.1:1"])
def test_what_ray_finds_or_refuses_is_left_to_it(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    check_address(address)


def test_an_address_that_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        check_address(f"127.0.0.1:{listening.getsockname()[1]}")


def test_a_host_that_does_not_exist() -> None:
    with pytest.raises(StorageError, match=r"answers at no-such-host\.invalid:6379 \("):
        check_address("no-such-host.invalid:6379")


ELSEWHERE = "elsewhere/another-machine/another-boot"


def test_a_file_is_not_opened_on_another_host() -> None:
    from autogate.nas.workers import Where, train_one

    where = Where("sqlite:////nowhere/studies.db", "first", "cpu", 1, (), "/nowhere", ELSEWHERE)
    with pytest.raises(StudyError, match="'first' is run by host elsewhere, and a SQLite file cannot be shared"):
        train_one(EvaluationKey("policy", "task", "recipe", "short", 0), where)
