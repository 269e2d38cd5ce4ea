"""Searches without a budget, for another device, and with the caller's own functions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from torch import nn

import autogate
from autogate import api
from autogate.errors import ExportError, ProfileError, StudyError
from autogate.latency.profile import read_profile, write_profile
from autogate.models import load_model
from autogate.store import Store
from autogate.training import loop
from tests.support.workplace import PLACE, Workplace


def run(workplace: Workplace, profile: str, **more: Any) -> api.Study:
    settings = {**workplace.quick, "profile": profile, "trials": 4, **more}
    return api.search(storage=workplace.storage("goals"), **settings)


def test_another_device_stays_predicted_until_it_measures(workplace: Workplace, foreign: str) -> None:
    study = run(workplace, foreign, latency_budget="70%", study="elsewhere")
    document = study.document()
    assert document["device"] == "a device elsewhere"
    assert document["label"] == "predicted"
    best = document["best"]
    assert best["measured_ms"] is None
    assert best["ratio_interval"] is None
    assert best["meets_budget"]
    assert best["predicted_ms"]["upper"] <= document["budget_ms"]
    assert best["test_accuracy"] is not None
    assert document["dense"]["measured_ms"] is None
    assert document["trials"]["total"] == 4
    assert all(point["measured_ms"] is None for point in document["front"])
    # The file may go: the study keeps the profile.
    lent = workplace.foreign("lent.jsonl")
    other = run(workplace, lent, latency_budget="70%", study="lent", trials=1)
    (workplace.root / "lent.jsonl").unlink()
    assert api.resume("lent", trials=1, storage=other.storage).document()["label"] == "predicted"
    # It can be taken to the device, and measured there.
    out = workplace.root / "elsewhere"
    report = study.export(out).to_json()
    assert report["label"] == "predicted"
    assert report["setting"]["device_name"] == "a device elsewhere"
    measured = api.measure(out, time_s=0.5).to_json()
    assert measured["label"] == "measured"
    assert measured["setting"]["device_name"] != "a device elsewhere"


def test_a_profile_made_in_another_setting_is_refused(workplace: Workplace, foreign: str) -> None:
    with pytest.raises(ProfileError, match="batch_size 32, not 8"):
        run(workplace, foreign, latency_budget="70%", study="mismatch", batch_size=8)


def test_both_at_once(workplace: Workplace, foreign: str) -> None:
    study = run(workplace, foreign, pareto=True, study="both", trials=6, finalists=2)
    document = study.document()
    assert document["budget_ms"] is None
    assert document["trials"]["rejected"] == 0
    assert document["trials"]["total"] == 6
    # Without a budget dense is trained like any other.
    assert study.trials[0].outcome == "complete"
    assert study.trials[0].policy.is_dense
    # The finalists are points of the front.
    front = {point["trial"] for point in document["front"]}
    finalists = study.store.finalists("both")
    assert finalists
    assert {f.trial for f in finalists if not f.policy.is_dense} <= front


def test_the_fastest_within_a_drop(workplace: Workplace, foreign: str) -> None:
    study = run(workplace, foreign, max_drop="90%", study="drop")
    document = study.document()
    assert document["budget_ms"] is None
    assert document["trials"]["rejected"] == 0
    found = optuna.load_study(study_name="drop", storage=study.storage)
    assert [direction.name for direction in found.directions] == ["MINIMIZE"]
    # Almost any accuracy will do, so the fastest of all candidates wins.
    fastest = min(study.trials, key=lambda t: t.predicted["p95"])
    assert document["best"]["policy_digest"] == fastest.policy.digest


def test_dense_is_the_answer_where_a_budget_does_not_bind_and_nothing_is_as_good(
    workplace: Workplace, foreign: str
) -> None:
    def score_fn(form: nn.Module, part: str) -> float:
        whole = sum(isinstance(module, nn.Conv2d) for module in form.modules()) == 14
        return 0.9 if whole else 0.2

    study = run(workplace, foreign, latency_budget="900%", study="loose", score_fn=score_fn)
    document = study.document()
    assert document["budget_binding"] is False
    assert document["best"]["policy"]["gates"] == {}
    assert document["best"]["ratio"] == pytest.approx(1.0)


def test_own_model_data_and_functions(workplace: Workplace, foreign: str) -> None:
    """Python users bring a module, datasets, a training and a score of their own."""
    module = load_model("e2enet:build").module
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(120, 3, 32, 32, generator=generator)
    dataset = torch.utils.data.TensorDataset(pixels, torch.arange(120) % 10)
    trained: list[str] = []
    scored: list[str] = []
    before = {name: value.clone() for name, value in module.state_dict().items()}

    def train_fn(form: nn.Module, fidelity: str) -> None:
        assert form.training
        assert float(autogate.gate_loss(form, 0.5)) == 0.0
        trained.append(fidelity)

    def score_fn(form: nn.Module, part: str) -> float:
        assert not form.training
        scored.append(part)
        return 5.0 + len(trained)

    brought = {"model": module, "data": (dataset, dataset)}
    functions = {"train_fn": train_fn, "score_fn": score_fn}
    study = api.search(
        **brought,
        **functions,
        latency_budget="70%",
        study="own",
        storage=workplace.storage("own"),
        trials=3,
        finalists=1,
        profile=foreign,
        space="drop.yaml",
        **PLACE,
    )
    complete = [t for t in study.trials if t.outcome == "complete"]
    assert trained == ["short"] * len(complete) + ["full"]
    assert [t.val_accuracy for t in complete] == [6.0 + i for i in range(len(complete))]
    assert study.document()["dense"]["val_accuracy"] == 5.0
    # Test images are touched for the finalist and for dense, at the very end.
    assert scored.count("test") == 2
    assert scored[-2:] == ["test", "test"]
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())

    with pytest.raises(StudyError, match="started from Python with its own model and data; pass model=… and data=…"):
        api.resume("own", storage=study.storage)
    again = api.resume("own", storage=study.storage, trials=1, **brought, **functions)
    assert again.document()["trials"]["total"] == 4

    with pytest.raises(StudyError, match="was started with train_fn .*train_fn, score_fn .*score_fn; continue it from"):
        api.resume("own", storage=study.storage, trials=1, **brought)
    with pytest.raises(StudyError, match="pass model=… and data=…"):
        study.export(workplace.root / "brought")
    out = workplace.root / "brought"
    study.export(out, **brought)
    with pytest.raises(ExportError, match="given as a module"):
        api.measure(out, time_s=0.2)
    assert api.measure(out, time_s=0.2, model=module).to_json()["label"] == "measured"
    assert api.predict("own", "best", storage=study.storage, **brought).to_json()["ratio"] < 1


def test_a_failing_function_of_the_caller_ends_in_one_line(workplace: Workplace, foreign: str) -> None:
    def train_fn(form: nn.Module, fidelity: str) -> None:
        raise RuntimeError("no more disk quota")

    with pytest.raises(autogate.AutoGateError, match="5 trials failed in a row.*train_fn failed: RuntimeError"):
        run(workplace, foreign, pareto=True, study="failing", train_fn=train_fn, trials=8)
    counts = api.show_study("failing", storage=workplace.storage("goals")).to_json()["trials"]
    # It ends with the first five failures in a row.
    outcomes = "".join(trial.outcome[0] for trial in Store(workplace.storage("goals")).trials("failing"))
    assert outcomes.index("fffff") == len(outcomes) - 5
    assert counts["failed"] == outcomes.count("f")
    assert counts["complete"] == 0


def test_gates_trained_by_hand_are_the_ones_that_are_compacted(workplace: Workplace) -> None:
    module = load_model("e2enet:build").module.eval()
    site = "block:stage1.1"
    policy = autogate.Policy({site: autogate.Gate("mod", {"c": 4})})
    shape = (3, 32, 32)
    applied = autogate.apply_policy(module, policy, shape)
    with torch.no_grad():
        for parameter in applied.get_submodule("gates").parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = applied.eval()(x)
        assert torch.allclose(autogate.compact_model(module, policy, shape, applied=applied)(x), expected, atol=1e-5)
        assert not torch.allclose(autogate.compact_model(module, policy, shape)(x), expected, atol=1e-5)
    with pytest.raises(autogate.AutoGateError, match="has other gates"):
        autogate.compact_model(module, policy, shape, applied=autogate.apply_policy(module, autogate.Policy(), shape))


def test_documents_are_json(workplace: Workplace, foreign: str) -> None:
    study = run(workplace, foreign, latency_budget="70%", study="elsewhere")
    assert json.loads(json.dumps(study.document(), allow_nan=False)) == study.document()


def test_a_loss_that_is_not_finite_fails_its_trial_and_no_other(
    workplace: Workplace, foreign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings: list[float] = []

    def loss_of(logits: torch.Tensor, labels: torch.Tensor, gates: dict[str, Any], epochs: float) -> torch.Tensor:
        if epochs == 0:
            trainings.append(epochs)
        return original(logits * float("nan") if len(trainings) == 2 else logits, labels, gates, epochs)

    original = loop.loss_of
    monkeypatch.setattr(loop, "loss_of", loss_of)
    study = run(workplace, foreign, pareto=True, study="nan", trials=8)
    outcomes = [trial.outcome for trial in study.trials]
    assert outcomes.count("failed") == 1
    assert outcomes.count("complete") >= 2
    failed = next(trial for trial in study.trials if trial.outcome == "failed")
    assert "the loss became nan in epoch 1; try a lower --lr" in str(failed.reason)


def test_a_finished_study_is_judged_for_another_device(workplace: Workplace, foreign: str) -> None:
    study = run(workplace, foreign, pareto=True, study="moved", trials=6)
    taken = read_profile(Path(foreign))
    # Elsewhere, convolutions of the second stage take three times as long.
    slow = [replace(s, ms=3 * s.ms) if s.key.startswith("32x") else s for s in taken.units]
    keys = {s.key: s.ms for s in slow}
    networks = [replace(n, ms=sum(keys.get(key, 0.0) for key in n.keys)) for n in taken.networks]
    setting = replace(taken.setting, device_name="a third device")
    path = workplace.root / "third.jsonl"
    write_profile(replace(taken, setting=setting, units=tuple(slow), networks=tuple(networks)), path)
    own = api.pareto("moved", storage=study.storage).to_json()
    there = api.pareto("moved", profile=str(path), latency_budget="90%", storage=study.storage).to_json()
    assert (there["device"], there["label"]) == ("a third device", "predicted")
    assert there["dense_predicted_ms"] > 1.3 * own["dense_predicted_ms"]
    assert there["budget_ms"] == pytest.approx(0.9 * there["dense_predicted_ms"])
    # The accuracies are the study's, the latencies the device's.
    accuracies = {t.number: t.val_accuracy for t in study.trials}
    assert all(point["val_accuracy"] == accuracies[point["trial"]] for point in there["front"])
    ours = {point["trial"]: point["predicted_ms"]["p50"] for point in own["front"]}
    assert any(point["predicted_ms"]["p50"] != ours.get(point["trial"]) for point in there["front"])
    assert len(study.trials) == 6

    unknown = [replace(s, key=s.key.replace("drop", "drip")) for s in taken.units]
    write_profile(replace(taken, units=tuple(unknown), networks=taken.networks[:1] * 10), path)
    gated = [t for t in study.trials if t.val_accuracy is not None and not t.policy.is_dense]
    assert api.pareto("moved", profile=str(path), storage=study.storage).to_json()["not_profiled"] == len(gated)
