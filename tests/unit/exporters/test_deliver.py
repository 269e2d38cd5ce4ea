"""What is written can be loaded back, runs without AutoGate's modules, and answers as the live network does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autogate.errors import ExportError
from autogate.exporters import EXPORTERS, Deliverable, Exporter, Loaded, find_exporters, load_export
from autogate.exporters.deliver import deliver
from autogate.exporters.exporter import BASE_FILES
from autogate.exporters.pt2 import PROGRAM_FILE
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
    "lcnet at groups of a map": Policy({MAP: Gate("lcnet", {"granularity": 4})}),
    "lcnet at both": Policy({BLOCK: Gate("lcnet"), MAP: Gate("lcnet")}),
    "lcnet inside lcnet": Policy({BLOCK: Gate("lcnet"), "map:layer2.1.conv1": Gate("lcnet")}),
}
SETTING = Setting("cpu", "a cpu", 1, "float32", "contiguous", 1, "eager", {"torch": torch.__version__})
STATIC = ("dense", "drop and magnitude")
PT2 = find_exporters(["pt2"])


def deliverable(
    policy: Policy, batch_size: int = 1, images: int = 24, plan: ExecutionPlan | None = None
) -> Deliverable:
    network = known_network("resnet20")
    policy = canonical(policy, network.sites)
    compact = compact_form(network, policy, lively_gates(network, policy), plan=plan)
    report = {"setting": SETTING.to_json(), "executors": plan or {}}
    return Deliverable(compact, policy, "resnet20", 10, Preprocessing(32), batch_size, noise(network, images), report)


@pytest.mark.e2e
@pytest.mark.parametrize(("ratios", "executor"), [("column_ratio", "halo"), ("channel_ratio", "transposed")])
def test_planned_executors_are_delivered(ratios: str, executor: str, tmp_path: Path) -> None:
    policy = Policy({MAP: Gate("antidote", {ratios: 0.6})})
    item = deliverable(policy, plan={MAP: executor})
    # Loading back compares the program, and the network rebuilt with its executors, with the live one.
    assert deliver(item, tmp_path / "out", PT2)["verified"]["changed_predictions"] == 0
    rebuilt = [module for module in load_export(tmp_path / "out").gated.modules() if isinstance(module, GatheredConv)]
    assert [module.executor for module in rebuilt] == [executor]
    default = deliverable(policy).compact
    with torch.no_grad():
        assert_close(item.compact(item.images[:1]), default(item.images[:1]))


SLOW = ("lcnet at a block", "lcnet at a map", "lcnet at groups of a map", "lcnet at both")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.e2e if n in SLOW else ()) for n in POLICIES])
def test_programs_answer_as_the_live_network(name: str, tmp_path: Path) -> None:
    item = deliverable(POLICIES[name])
    report = deliver(item, tmp_path / "out", PT2)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*BASE_FILES, PROGRAM_FILE])
    assert report["verified"]["images"] == 24
    assert report["verified"]["changed_predictions"] == 0
    assert report["verified"]["max_difference"] <= 1e-4
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8")) == report
    program = torch.export.load(str(tmp_path / "out" / PROGRAM_FILE)).module()
    x = item.images[:3]
    with torch.no_grad():
        expected = torch.cat([item.compact(part) for part in x.split(1)])
        if name in STATIC:
            assert report["formats"]["pt2"]["batch"] == "any"
            found = program(x)
        else:
            assert report["formats"]["pt2"]["batch"] == 1
            found = torch.cat([program(part) for part in x.split(1)])
    assert torch.allclose(found, expected, atol=1e-4)


def test_gates_that_decide_per_image_are_refused_in_batches() -> None:
    for name, policy in POLICIES.items():
        assert PT2[0].unsupported_reason(policy, 1) is None
        reason = PT2[0].unsupported_reason(policy, 8)
        assert (reason is not None) == name.startswith("lcnet")
    assert "lcnet at block:layer2.1 decides per image" in str(
        PT2[0].unsupported_reason(POLICIES["lcnet at a block"], 8)
    )


def test_batches_of_a_fixed_size(tmp_path: Path) -> None:
    report = deliver(deliverable(POLICIES["mod"], batch_size=8, images=20), tmp_path / "out", PT2)
    assert report["formats"]["pt2"]["batch"] == 8
    assert report["verified"]["images"] == 20


def test_what_answers_differently_is_not_delivered(tmp_path: Path) -> None:
    item = deliverable(POLICIES["dense"])
    # The images have no answer that equals itself.
    with pytest.raises(ExportError, match="differs from the live model by nan"):
        deliver(replace(item, images=torch.full_like(item.images, float("nan"))), tmp_path / "out", PT2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["drop and magnitude", "lcnet at both"])
def test_weights_that_do_not_come_back_are_noticed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.torch

    save = safetensors.torch.save_file

    def scratch(tensors: dict[str, torch.Tensor], path: str) -> None:
        save({key: value * 1.01 if value.ndim == 2 else value for key, value in tensors.items()}, path)

    monkeypatch.setattr(safetensors.torch, "save_file", scratch)
    with pytest.raises(ExportError, match="differs from the live model"):
        deliver(deliverable(POLICIES[name]), tmp_path / "out", PT2)
    assert list(tmp_path.iterdir()) == []


class Texts(Exporter):
    """A format that a test makes up: the weights of the classifier as text, and the network beside it in memory."""

    name = "texts"
    files = ("texts",)
    scale = 1.0

    def write(self, item: Deliverable, folder: Path) -> Mapping[str, Any]:
        (folder / "texts").mkdir()
        (folder / "texts" / "policy.txt").write_text(str(item.policy), encoding="utf-8")
        self.network = item.compact
        return {"lines": 1}

    def load(self, folder: Path) -> Loaded:
        assert (folder / "texts" / "policy.txt").exists()
        return lambda x: self.network(x) * self.scale


@pytest.mark.e2e
def test_several_formats_are_written_verified_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item, to = deliverable(POLICIES["dense"]), tmp_path / "out"
    report = deliver(item, to, [*PT2, Texts()])
    found = report["formats"]["texts"]
    assert found.pop("bytes") == sum(file.stat().st_size for file in (tmp_path / "out" / "texts").iterdir())
    expected = {"files": ["texts"], "lines": 1, "max_difference": 0.0, "decided_otherwise": 0, "accuracy": None}
    assert found == expected
    assert report["formats"]["pt2"]["max_difference"] <= report["verified"]["max_difference"] <= 1e-4
    assert (to / "texts").stat().st_mode & 0o777 == 0o755
    assert (to / "texts" / "policy.txt").stat().st_mode & 0o777 == 0o644
    # A format that nobody knows here is not ours to remove.
    with pytest.raises(ExportError, match="holds something else than an export of autogate"):
        deliver(item, to, PT2)
    monkeypatch.setitem(EXPORTERS._items, "texts", Texts())
    deliver(item, to, ())
    assert sorted(path.name for path in to.iterdir()) == sorted(BASE_FILES)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"scale": 1.5}, r"differs from the live model by .* \(format texts\)"),
        ({"files": ("text",)}, "format texts wrote texts, and says that it writes text; correct its `files`"),
        ({"write": lambda *_: {}}, "format texts wrote nothing, and says that it writes texts"),
        ({"write": lambda *_: 1 / 0}, "format texts cannot be written: ZeroDivisionError: division by zero"),
        ({"load": lambda *_: 1 / 0}, "format texts was written and cannot be loaded: ZeroDivisionError"),
        ({"load": lambda *_: lambda x: x.no_such}, "format texts was loaded and cannot run: AttributeError"),
    ],
)
def test_a_format_that_fails_is_named_in_a_line(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    broken = type("Broken", (Texts,), changes)()
    with pytest.raises(ExportError, match=complaint) as raised:
        deliver(deliverable(POLICIES["dense"], images=2), tmp_path / "out", [broken])
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_formats_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_exporters("pt2, pt2") == PT2
    with pytest.raises(ExportError, match=r"unknown export format 'pt3'; did you mean pt2\? \(known: pt2"):
        find_exporters(["pt3"])
    clashing = type("Clashing", (Texts,), {"files": ("report.json",)})()
    monkeypatch.setitem(EXPORTERS._items, "texts", clashing)
    with pytest.raises(ExportError, match="report.json would be written twice, by format texts"):
        find_exporters(["texts"])
    monkeypatch.setattr(type(clashing), "packages", {"no_such_module": "no-such-package"})
    with pytest.raises(ExportError, match="format texts needs no-such-package; install with `pip install no-such-pac"):
        find_exporters(["texts"])


class Elsewhere(Texts):
    """The same in a runtime that rounds otherwise: of one image, a gate chooses something else."""

    rounds_alike = False
    images = 1

    def load(self, folder: Path) -> Loaded:
        left = [self.images]

        def run(x: torch.Tensor) -> torch.Tensor:
            left[0] -= 1
            return self.network(x) + (1.0 if left[0] >= 0 else 0.0)

        return run


def test_gates_may_choose_between_equals_otherwise_where_a_runtime_rounds_otherwise(tmp_path: Path) -> None:
    item = deliverable(POLICIES["antidote"], images=60)
    report = deliver(item, tmp_path / "out", [Elsewhere()])
    assert report["formats"]["texts"]["decided_otherwise"] == 1
    assert report["verified"]["max_difference"] < 1e-4
    several = type("Several", (Elsewhere,), {"images": 2})()
    for changed, exporter in ((item, several), (deliverable(POLICIES["drop and magnitude"], images=60), Elsewhere())):
        with pytest.raises(ExportError, match=r"differs from the live model by .* \(format texts\)"):
            deliver(changed, tmp_path / "another", [exporter])
