"""What is written can be loaded back, runs without AutoGate's modules, and answers as the live network does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autogate.errors import ExportError
from autogate.exporters import load_export
from autogate.exporters.deliver import Deliverable, deliver, unsupported_reason
from autogate.exporters.files import ALL_FILES, PROGRAM_FILE
from autogate.gates.gathered_conv import GatheredConv
from autogate.policy import Gate, Policy
from autogate.records import ExecutionPlan, Preprocessing, Setting
from autogate.surgery import canonical, compact_form
from tests.support.networks import assert_close, known_network, lively_gates
from tests.support.networks import images as noise

BLOCK, MAP = "block:layer2.1", "map:layer1.0.conv1"
POLICIES = {
    "dense": Policy(),
    "drop and magnitude": Policy({BLOCK: Gate("drop"), MAP: Gate("magnitude", {"ratio": 0.5})}),
    "antidote": Policy({MAP: Gate("antidote", {"channel_ratio": 0.5, "column_ratio": 0.5})}),
    "mod": Policy({BLOCK: Gate("mod", {"c": 8})}),
    "lcnet at a block": Policy({BLOCK: Gate("lcnet")}),
    "lcnet at a map": Policy({MAP: Gate("lcnet")}),
    "lcnet at both": Policy({BLOCK: Gate("lcnet"), MAP: Gate("lcnet")}),
    "lcnet inside lcnet": Policy({BLOCK: Gate("lcnet"), "map:layer2.1.conv1": Gate("lcnet")}),
}
SETTING = Setting("cpu", "a cpu", 1, "float32", "contiguous", 1, "eager", {"torch": torch.__version__})
STATIC = ("dense", "drop and magnitude")


def deliverable(
    policy: Policy, batch_size: int = 1, images: int = 24, plan: ExecutionPlan | None = None
) -> Deliverable:
    network = known_network("resnet20")
    policy = canonical(policy, network.sites)
    compact = compact_form(network, policy, lively_gates(network, policy), plan=plan)
    report = {"setting": SETTING.to_json(), "executors": plan or {}}
    return Deliverable(compact, policy, "resnet20", 10, Preprocessing(32), batch_size, noise(network, images), report)


@pytest.mark.parametrize(("ratios", "executor"), [("column_ratio", "halo"), ("channel_ratio", "unfolded")])
def test_planned_executors_are_delivered(ratios: str, executor: str, tmp_path: Path) -> None:
    policy = Policy({MAP: Gate("antidote", {ratios: 0.6})})
    item = deliverable(policy, plan={MAP: executor})
    # Loading back compares the program, and the network rebuilt with its executors, with the live one.
    assert deliver(item, tmp_path / "out")["verified"]["changed_predictions"] == 0
    rebuilt = [module for module in load_export(tmp_path / "out").gated.modules() if isinstance(module, GatheredConv)]
    assert [module.executor for module in rebuilt] == [executor]
    default = deliverable(policy).compact
    with torch.no_grad():
        assert_close(item.compact(item.images[:1]), default(item.images[:1]))


@pytest.mark.parametrize("name", POLICIES, ids=str)
def test_programs_answer_as_the_live_network(name: str, tmp_path: Path) -> None:
    item = deliverable(POLICIES[name])
    report = deliver(item, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(ALL_FILES)
    assert report["verified"]["images"] == 24
    assert report["verified"]["changed_predictions"] == 0
    assert report["verified"]["max_difference"] <= 1e-4
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8")) == report
    program = torch.export.load(str(tmp_path / "out" / PROGRAM_FILE)).module()
    x = item.images[:3]
    with torch.no_grad():
        expected = torch.cat([item.compact(part) for part in x.split(1)])
        if name in STATIC:
            assert report["program_batch"] == "any"
            found = program(x)
        else:
            assert report["program_batch"] == 1
            found = torch.cat([program(part) for part in x.split(1)])
    assert torch.allclose(found, expected, atol=1e-4)


def test_gates_that_decide_per_image_are_refused_in_batches() -> None:
    for name, policy in POLICIES.items():
        assert unsupported_reason(policy, 1) is None
        reason = unsupported_reason(policy, 8)
        assert (reason is not None) == name.startswith("lcnet")
    assert "lcnet at block:layer2.1 decides per image" in unsupported_reason(POLICIES["lcnet at a block"], 8)


def test_batches_of_a_fixed_size(tmp_path: Path) -> None:
    report = deliver(deliverable(POLICIES["mod"], batch_size=8, images=20), tmp_path / "out")
    assert report["program_batch"] == 8
    assert report["verified"]["images"] == 20


def test_what_answers_differently_is_not_delivered(tmp_path: Path) -> None:
    item = deliverable(POLICIES["dense"])
    # The images have no answer that equals itself.
    with pytest.raises(ExportError, match="differs from the live model by nan"):
        deliver(replace(item, images=torch.full_like(item.images, float("nan"))), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["drop and magnitude", "lcnet at both"])
def test_weights_that_do_not_come_back_are_noticed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.torch

    save = safetensors.torch.save_file

    def scratch(tensors: dict[str, torch.Tensor], path: str) -> None:
        save({key: value * 1.01 if value.ndim == 2 else value for key, value in tensors.items()}, path)

    monkeypatch.setattr(safetensors.torch, "save_file", scratch)
    with pytest.raises(ExportError, match="differs from the live model"):
        deliver(deliverable(POLICIES[name]), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
