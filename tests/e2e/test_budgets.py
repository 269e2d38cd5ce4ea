"""Searches under budgets of memory and energy, beside that of latency."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from autogate import api
from autogate.errors import AutoGateError, DeviceError, MemoryInfeasibleError, StudyError
from autogate.nas.profiles import profiles
from autogate.resources import EnergyCounter, compare_energy
from autogate.resources import benchmark as bench
from tests.support.commands import Cli, runner
from tests.support.workplace import Workplace

BUDGET = "80%"


@pytest.fixture(scope="module")
def storage(workplace: Workplace) -> str:
    return workplace.storage("budgets")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure finalists briefly: nothing here is about speed."""
    monkeypatch.setattr(bench, "_MEASURE_S", 1.0)
    monkeypatch.setattr(bench, "_NEAR_MISS", 0.0)


@pytest.fixture(scope="module")
def small(workplace: Workplace, storage: str) -> api.Study:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "_MEASURE_S", 1.0)
        return api.search(
            latency_budget="900%", memory_budget=BUDGET, trials=8, study="small", storage=storage, **workplace.quick
        )


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], storage: str) -> Cli:
    """Return a function that runs ``autogate ARGUMENTS`` on the database of these studies."""
    monkeypatch.setenv("AUTOGATE_STORAGE", storage)
    return runner(monkeypatch, capsys)


def limit_of(document: dict[str, Any]) -> float:
    limit = document["memory_budget_bytes"]
    assert limit == pytest.approx(0.8 * document["dense"]["peak_memory_bytes"])
    return float(limit)


def test_what_takes_too_much_memory_is_never_trained(small: api.Study) -> None:
    document, trials = small.document(), small.trials
    limit = limit_of(document)
    for trial in trials:
        assert (trial.outcome == "rejected") == (trial.costs["peak_memory_bytes"] > limit)
        assert (trial.val_accuracy is None) == (trial.outcome == "rejected")
    rejected = [trial for trial in trials if trial.outcome == "rejected"]
    assert 1 <= len(rejected) < len(trials)
    # Dense would meet the latency budget; its memory rules it out.
    assert trials[0].policy.is_dense
    assert document["budget_binding"] is True
    assert "MiB over the budget" in rejected[0].reason
    states = optuna.load_study(study_name="small", storage=small.storage).get_trials(deepcopy=False)
    for state, trial in zip(states, trials, strict=True):
        excess_mib = (trial.costs["peak_memory_bytes"] - limit) / 2**20
        assert state.constraints["peak_memory_mib"] == pytest.approx(excess_mib)


def test_the_delivered_network_is_within_it(small: api.Study, workplace: Workplace) -> None:
    document = small.document()
    limit, dense_bytes = limit_of(document), document["dense"]["peak_memory_bytes"]
    shown = document["best"] or document["closest"]
    assert shown["peak_memory_bytes"] <= limit
    assert shown["dense_peak_memory_bytes"] == dense_bytes
    assert shown["energy"] is None
    assert all(point["peak_memory_bytes"] <= limit for point in document["front"])
    # What was observed before training is what the trained network takes.
    trial = next(t for t in small.trials if t.number == shown["trial"])
    assert trial.costs["peak_memory_bytes"] == shown["peak_memory_bytes"]

    out = workplace.root / "small"
    report = small.export(out, trial=shown["trial"]).to_json()
    assert report["result"]["peak_memory_bytes"] == shown["peak_memory_bytes"]
    assert report["dense"]["peak_memory_bytes"] == dense_bytes
    measured = api.measure(out, time_s=0.5).to_json()
    assert measured["peak_memory"] == {
        "dense_bytes": dense_bytes,
        "gated_bytes": shown["peak_memory_bytes"],
        "ratio": pytest.approx(shown["peak_memory_bytes"] / dense_bytes),
    }
    assert measured["energy"] is None
    larger = api.measure(out, time_s=0.5, batch_size=64).to_json()["peak_memory"]
    assert larger["dense_bytes"] > dense_bytes


def test_it_is_shown(small: api.Study, cli: Cli, workplace: Workplace) -> None:
    shown = small.document()["best"] or small.document()["closest"]
    assert "peak memory" in cli("show", "small", shown["trial"]).out
    assert "peak memory" in cli("show", "small").out
    assert "energy" not in cli("show", "small").out
    assert "memory 80%" in cli("studies").out
    small.export(workplace.root / "shown", trial=shown["trial"])
    printed = cli("measure", "shown", "--time", "1s").out
    assert "peak memory" in printed
    assert "energy" not in printed


def test_a_resumed_study_keeps_it(small: api.Study, workplace: Workplace) -> None:
    before = small.trials
    resumed = api.resume("small", trials=2, storage=small.storage)
    assert resumed.config.memory_budget == BUDGET
    limit = limit_of(resumed.document())
    added = resumed.trials[len(before) :]
    assert len(added) == 2
    assert all((t.outcome == "rejected") == (t.costs["peak_memory_bytes"] > limit) for t in added)
    with pytest.raises(StudyError, match="exists with another configuration: memory_budget is '80%' there and '70%'"):
        api.search(latency_budget="900%", memory_budget="70%", study="small", storage=small.storage, **workplace.quick)


def test_another_memory_budget_trains_nothing(small: api.Study, cli: Cli) -> None:
    peaks = sorted(t.costs["peak_memory_bytes"] for t in small.trials if t.outcome == "complete")
    own = api.pareto("small", storage=small.storage).to_json()
    assert own["memory_budget_bytes"] == limit_of(small.document())
    assert own["best_predicted"]["peak_memory_bytes"] <= own["memory_budget_bytes"]
    assert own["best_measured"] is None or own["best_measured"]["meets_budget"]
    tight = api.pareto("small", memory_budget=f"{peaks[0] / 1000}KB", storage=small.storage).to_json()
    assert tight["best_predicted"]["peak_memory_bytes"] == peaks[0]
    none = api.pareto("small", memory_budget="1KiB", storage=small.storage).to_json()
    assert none["best_predicted"] is none["best_measured"] is None
    printed = cli("pareto", "small", "--memory-budget", "1KiB")
    assert printed.code == 0, printed.err
    assert "memory budget 0.000977 MiB" in printed.out
    with pytest.raises(StudyError, match="energy of study 'small' was not measured.*leave --energy-budget out"):
        api.pareto("small", energy_budget="70%", storage=small.storage)


def test_out_of_reach_it_is_refused_before_training(workplace: Workplace, cli: Cli, tmp_path: Path) -> None:
    options = [f"--{key.replace('_', '-')}={value}" for key, value in workplace.quick.items()]
    asked = ("search", "--pareto", "--study", "never", "--format", "json", *options)
    refused = cli(*asked, "--memory-budget", "10%")
    assert refused.code == 3
    assert refused.json["smallest_peak_memory_bytes"] > refused.json["memory_budget_bytes"]
    assert "the smallest peak memory reachable is" in refused.err.splitlines()[-1]
    # The same from a file of options; a dry run says it without an error.
    config = tmp_path / "config.yaml"
    config.write_text("memory-budget: 10%\n", encoding="utf-8")
    assert cli(*asked, "--config", config).code == 3
    dry = cli(*asked, "--config", config, "--dry-run").json
    assert not dry["reachable"]
    assert dry["smallest_peak_memory_bytes"] == refused.json["smallest_peak_memory_bytes"]
    assert "never" not in cli("studies").out
    with pytest.raises(MemoryInfeasibleError):
        api.search(pareto=True, memory_budget="1KB", storage=workplace.storage("refused"), **workplace.quick)


def test_elsewhere_neither_can_be_measured(workplace: Workplace, foreign: str) -> None:
    for budget in ({"memory_budget": "50%"}, {"energy_budget": "1J"}):
        flag = f"--{next(iter(budget)).replace('_', '-')}"
        with pytest.raises(DeviceError, match=f"{flag} cannot be measured on the device of a profile"):
            api.search(pareto=True, profile=foreign, storage=workplace.storage("none"), **budget, **workplace.quick)
    study = api.search(pareto=True, profile=foreign, trials=1, storage=workplace.storage("else"), **workplace.quick)
    assert all(point["peak_memory_bytes"] is None for point in study.document()["front"])
    with pytest.raises(AutoGateError, match="was not observed; leave --memory-budget out"):
        api.pareto(study.name, memory_budget="50%", storage=study.storage)


class SteadyPower:
    """Stands in for the management library: 100 W whenever this process computes."""

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: object) -> int:  # noqa: N802 - the library's own name
        return round(time.process_time() * 100_000)


@pytest.fixture
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine count energy."""

    @contextmanager
    def counter(device: torch.device) -> Iterator[EnergyCounter]:
        yield EnergyCounter(None, SteadyPower())

    monkeypatch.setattr(profiles, "counts_energy", lambda device: True)
    monkeypatch.setattr(bench, "energy_counter", counter)
    monkeypatch.setattr(bench, "compare_energy", partial(compare_energy, windows=3, window_s=0.1))


@pytest.mark.usefixtures("_counted")
def test_energy_is_judged_where_it_is_measured(workplace: Workplace, cli: Cli) -> None:
    asked = {**workplace.quick, "latency_budget": "900%", "trials": 4, "storage": workplace.storage("energy")}
    study = api.search(energy_budget="300%", study="enough", **asked)
    document = study.document()
    shown = document["best"] or document["closest"]
    energy = shown["energy"]
    # At constant power, energy is time; other load makes the one or the other longer.
    joules = 0.1 * shown["dense_measured_ms"]["p50"] / document["batch_size"]
    assert joules / 3 < energy["dense_joules_per_image"] < joules * 3
    assert shown["ratio"] / 3 < energy["ratio"] < shown["ratio"] * 3
    assert document["energy_budget"] == "300%"
    assert document["budget_binding"] is True
    assert any(point["energy"] for point in document["front"])
    table = cli("show", "enough", "--storage", study.storage).out
    assert "measured energy" in table
    assert "300% energy per image" in table
    out = workplace.root / "counted"
    assert study.export(out, trial=shown["trial"]).to_json()["result"]["energy"] == energy
    assert api.pareto("enough", energy_budget="1uJ", storage=study.storage).to_json()["best_measured"] is None


@pytest.mark.usefixtures("_counted")
def test_what_takes_too_much_energy_is_not_trained_further(workplace: Workplace, cli: Cli) -> None:
    asked = {**workplace.quick, "latency_budget": "900%", "trials": 4, "storage": workplace.storage("tight")}
    study = api.search(energy_budget="1uJ", study="tight", **asked)
    document = study.document()
    assert document["trials"]["complete"] >= 2
    assert document["best"] is None
    # Of all that are over the budget, only the closest is finished, so that there is something to show.
    assert len(study.store.finalists("tight")) == 1
    assert not document["closest"]["meets_budget"]
    assert cli("resume", "tight", "--storage", study.storage).code == 3
