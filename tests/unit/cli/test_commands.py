"""What the quick commands print, and their exit codes."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import autogate
from autogate.gates import FAMILIES
from autogate.goals import make_config
from autogate.latency.profile import read_profile
from autogate.nas.profiles import find_profile, keep_profile
from autogate.policy import Gate, Policy
from autogate.records import TrialRecord
from autogate.space import SpaceSpec, load_space
from autogate.store import Store
from tests.support.commands import Cli
from tests.support.profiles import some_target

PLACE = ("--layout", "contiguous", "--threads", "1")


def test_help(cli: Cli) -> None:
    result = cli("--help")
    assert result.code == 0
    for command in (
        "search",
        "resume",
        "profile",
        "predict",
        "explain",
        "sensitivity",
        "pareto",
        "show",
        "measure",
        "export",
        "studies",
        "sites",
        "spaces",
        "doctor",
    ):
        assert command in result.out
        assert cli(command, "--help").code == 0
    alone = cli()
    assert "Usage" in alone.out + alone.err
    assert "Traceback" not in alone.err


def test_the_options_of_a_search_are_in_groups(cli: Cli) -> None:
    printed = cli("search", "--help").out
    headings = [line for line in printed.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Goal:", "Network:", "Data:", "Target:", "Search:", "Training:", "Study:", "Options:"]
    goal = printed.partition("Goal:")[2].partition("Network:")[0]
    assert "--latency-budget" in goal
    assert "--model" not in goal


def test_sites(cli: Cli) -> None:
    result = cli("sites")
    assert result.code == 0
    assert "16 sites of resnet20" in result.out
    assert "block:layer1.1" in result.out
    rows = json.loads(cli("sites", "--format", "json").out)
    assert len([row for row in rows if not row["reason"]]) == 16
    assert "no site: without some of its channels" in result.out.replace("\n", " ")
    assert rows[0]["families"] == ["drop", "mod", "lcnet"]


def test_spaces(cli: Cli) -> None:
    assert "unified" in cli("spaces").out
    assert set(cli("spaces", "--format", "json").json) == {"unified", "mod_alternate", *FAMILIES}


def test_warnings_are_written_to_standard_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("autogate")
    before = list(logger.handlers)

    def warned() -> dict[str, SpaceSpec]:
        logger.info("loaded")
        logger.warning("a package cannot be used")
        return {}

    monkeypatch.setattr(autogate, "list_spaces", warned, raising=False)
    assert cli("spaces").err == "a package cannot be used\n"
    assert logger.handlers == before


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "memory does not suffice; lower --batch-size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 3072 bytes"), "memory does not suffice"),
        (MemoryError(), "memory does not suffice"),
        (OSError(28, "No space left on device", "out"), "cannot go on: No space left on device: out"),
    ],
)
def test_what_the_machine_lacks(cli: Cli, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr(autogate, "list_spaces", fails, raising=False)
    refused = cli("spaces")
    assert (refused.code, refused.out) == (2, "")
    (line,) = refused.err.splitlines()
    assert line.startswith(f"autogate: {said}")


def test_doctor(cli: Cli) -> None:
    found = cli("doctor", "--format", "json").json
    assert found["packages"]["torch"]
    assert "no study database" in found["studies"]
    assert cli("doctor").code == 0
    assert list(Path().iterdir()) == []


def test_an_unfinished_study(cli: Cli) -> None:
    store = Store("sqlite:///studies/autogate.db", create=True)
    store.create_study("first", make_config(space=load_space("drop").to_json(), latency_budget="60%"))
    store.update_facts("first", lambda facts: replace(facts, target=some_target(dense_latency_ms=10.0)))
    predicted = {"mean": 5.0, "p50": 5.0, "p95": 5.0, "max": 5.0, "upper": 5.5}
    policy = Policy({"block:layer1.1": Gate("drop")})
    store.add_trial("first", TrialRecord(0, "complete", policy, 0.875, predicted, {"macs_paper": 1.0}, None, 1.0))
    store.add_trial("first", TrialRecord(1, "failed", policy, None, predicted, None, "nan", 1.0))
    shown = cli("show", "first")
    assert shown.code == 0
    assert "87.50%" in shown.out
    assert "1 trained, 0 rejected before training, 0 reused, 0 stopped early, 1 failed" in shown.out
    document = cli("show", "first", "--format", "json").json
    assert document["schema"] == "autogate.search/1"
    assert document["best"] is None
    assert document["trials"] == {"total": 1, "complete": 1, "rejected": 0, "reused": 0, "stopped": 0, "failed": 1}
    assert [point["trial"] for point in document["front"]] == [0]
    lines = json.loads(cli("studies", "--format", "json").out)
    assert lines == [
        {
            "study": "first",
            "model": "resnet20",
            "data": "digits",
            "goal": "60%",
            "batch_size": 1,
            "trials": 1,
            "trained": 1,
            "wanted": 40,
            "finalists": 0,
        }
    ]
    assert cli("pareto", "first", "--latency-budget", "6ms", "--format", "json").json["best_predicted"]["trial"] == 0
    assert cli("pareto", "first", "--latency-budget", "5.2ms", "--format", "json").json["best_predicted"] is None


def test_other_storage_by_variable(cli: Cli, monkeypatch: pytest.MonkeyPatch, storage: str) -> None:
    Store(storage, create=True)
    assert cli("studies").code == 2
    monkeypatch.setenv("AUTOGATE_STORAGE", storage)
    assert cli("studies", "--format", "json").out.strip() == "[]"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_profiles_of_the_database_are_called_by_their_digest(cli: Cli) -> None:
    cpu, gpu = (
        keep_profile(Store("sqlite:///kept.db", create=True), read_profile(find_profile(name)))
        for name in (
            "intel-xeon-2-cores-resnet20-b1-float32-1-thread-eager-torch2.15",
            "nvidia-h100-80gb-hbm3-resnet18-b1-float32-cuda_graph-torch2.11",
        )
    )
    explained = cli("explain", cpu, "--space", "drop", "--storage", "sqlite:///kept.db", "--format", "json")
    assert explained.code == 0, explained.err
    assert (explained.json["model"], explained.json["batch_size"]) == ("resnet20", 1)
    # Another machine's, so that it is found and not measured.
    validate = ("profile", "validate", gpu)
    found = cli(*validate, "--storage", "sqlite:///kept.db")
    assert (found.code, f"{gpu} was profiled on 'NVIDIA H100 80GB HBM3'" in found.err) == (2, True)
    absent = cli(*validate)
    assert (absent.code, f"cannot read profile {gpu}: it is no file" in absent.err) == (2, True)
