"""Networks of every gate family as files of ONNX and OpenVINO, run where AutoGate and PyTorch are not."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch

from autogate.errors import ExportError
from autogate.exporters import Deliverable, find_exporters
from autogate.exporters.deliver import deliver
from autogate.exporters.exporter import BASE_FILES, INPUTS_FILE
from autogate.latency.hardware import setting_of
from autogate.policy import DENSE, Gate, Policy
from autogate.surgery import compact_form
from tests.support.networks import assert_close, known_network
from tests.unit.exporters.test_deliver import BLOCK, MAP, POLICIES, deliverable

pytestmark = pytest.mark.e2e  # other processes
CPU = setting_of(torch.device("cpu"), batch_size=1, layout="contiguous", threads=1)
RUN = {
    "onnx": "import onnxruntime\n"
    "options = onnxruntime.SessionOptions()\n"
    "options.intra_op_num_threads = 1\n"
    "session = onnxruntime.InferenceSession('model.onnx', options)\n"
    "run = lambda x: session.run(None, {'images': x})[0]",
    "openvino": "import openvino\n"
    "settings = {'INFERENCE_PRECISION_HINT': 'f32', 'INFERENCE_NUM_THREADS': 1}\n"
    "model = openvino.Core().compile_model('model.xml', 'CPU', settings)\n"
    "run = lambda x: model(x)[0]",
}
FOREIGN = """
import sys, numpy as np
{load}
x = np.load("x.npy")
np.save("y.npy", np.concatenate([run(part) for part in np.split(x, len(x) // {batch})]))
print([name for name in ("torch", "autogate") if name in sys.modules])
"""
CASES = {
    **{name: POLICIES[name] for name in ("dense", "antidote", "mod", "lcnet at a block", "lcnet inside lcnet")},
    "static": Policy({BLOCK: Gate("drop"), MAP: Gate("dce", {"ratio": 0.5}), "map:layer1.1.conv1": Gate("gss")}),
    "groups of channels": Policy({MAP: Gate("antidote", {"channel_ratio": 0.5, "granularity": 4})}),
    "columns": Policy({MAP: Gate("antidote", {"channel_ratio": 0.0, "column_ratio": 0.5})}),
}


@pytest.mark.parametrize("name", CASES)
def test_files_answer_as_the_live_network_in_a_foreign_process(name: str, tmp_path: Path) -> None:
    # As a file, a network has the executors that its device likes best.
    plan = {MAP: "transposed"} if name == "groups of channels" else None
    item = deliverable(CASES[name], images=6, plan=plan)
    forms = [form for form in RUN if find_exporters([form])[0].unsupported_reason(item.policy, 1) is None]
    assert forms == (["onnx"] if name == "lcnet inside lcnet" else ["onnx", "openvino"])
    to = tmp_path / "out"
    report = deliver(item, to, find_exporters(forms))
    assert report["verified"]["changed_predictions"] == 0
    kept = safetensors.torch.load_file(str(to / INPUTS_FILE))["images"]
    np.save(to / "x.npy", kept.numpy())
    with torch.no_grad():
        expected = torch.cat([item.compact(part) for part in kept.split(1)])
    for form in forms:
        batch = 3 if name in ("dense", "static") else 1
        assert report["formats"][form]["batch"] == ("any" if batch == 3 else 1)
        code = FOREIGN.format(load=RUN[form], batch=batch)
        done = subprocess.run([sys.executable, "-I", "-c", code], cwd=to, capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"
        found = torch.from_numpy(np.load(to / "y.npy"))
        loaded = find_exporters([form])[0].load(to)
        assert_close(found, torch.cat([torch.as_tensor(loaded(part)) for part in kept.split(batch)]))
        if batch == 3:  # gates that choose may, of two channels equal but for rounding, take another one than eager
            assert_close(found, expected)


def test_an_onnx_file_says_what_it_is_and_names_its_nodes(tmp_path: Path) -> None:
    item = deliverable(POLICIES["drop and magnitude"], images=2)
    deliver(item, tmp_path / "out", find_exporters(["onnx"]))
    model = onnx.load(str(tmp_path / "out" / "model.onnx"))
    onnx.checker.check_model(model)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["autogate.policy_digest"] == item.policy.digest
    assert Policy.from_json(json.loads(facts["autogate.policy"])).digest == item.policy.digest
    assert json.loads(facts["autogate.preprocessing"])["input_size"] == 32
    assert facts["autogate.num_classes"] == "10"
    assert [value.name for value in model.graph.input] == ["images"]
    assert [value.name for value in model.graph.output] == ["logits"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert "layer1.0.conv1/Conv" in names
    assert not any(name.startswith(BLOCK.removeprefix("block:")) for name in names)


def test_gates_that_a_format_cannot_express_are_refused_before_anything_is_written() -> None:
    onnx_file, ir = find_exporters(["onnx"])[0], find_exporters(["openvino"])[0]
    per_image = deliverable(POLICIES["lcnet at a block"]).policy
    assert "decides per image, which a file of batch 8 cannot" in str(onnx_file.unsupported_reason(per_image, 8))
    assert "decides per image, which a file of batch 8 cannot" in str(ir.unsupported_reason(per_image, 8))
    assert ir.unsupported_reason(per_image, 1) is None
    channels = deliverable(POLICIES["lcnet at a map"]).policy
    assert "another number of channels for each image" in str(ir.unsupported_reason(channels, 1))


def test_a_package_of_inductor_answers_as_the_live_network(tmp_path: Path) -> None:
    item = deliverable(CASES["groups of channels"], images=4)
    report = deliver(item, tmp_path / "out", find_exporters(["aoti"]))
    assert report["verified"]["changed_predictions"] == 0
    assert report["formats"]["aoti"]["files"] == ["model.aoti.pt2"]
    varying = deliverable(POLICIES["lcnet at a block"]).policy
    reason = find_exporters(["aoti"])[0].unsupported_reason(varying, 1)
    assert "decides while the network runs, which Inductor does not compile" in str(reason)


def test_all_formats_lie_in_one_export(tmp_path: Path) -> None:
    report = deliver(
        deliverable(POLICIES["mod"], images=3), tmp_path / "out", find_exporters(["pt2", "onnx", "openvino"])
    )
    files = [file for one in report["formats"].values() for file in one["files"]]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*BASE_FILES, *files])


def test_a_file_that_answers_differently_is_not_delivered(tmp_path: Path) -> None:
    item = deliverable(POLICIES["dense"], images=3)
    exporter = find_exporters(["onnx"])[0]
    write = type(exporter).write

    class Wrong(type(exporter)):  # type: ignore[misc]
        def write(self, item: Deliverable, folder: Path) -> object:
            with torch.no_grad():
                *_, bias = item.compact.parameters()
                bias.add_(0.5)
                facts = write(self, item, folder)
                bias.sub_(0.5)
            return facts

    with pytest.raises(ExportError, match=r"differs from the live model by .* \(format onnx\)"):
        deliver(item, tmp_path / "out", [Wrong()])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("runtime", "form"), [("eager", "pt2"), ("cuda_graph", "pt2"), ("onnxruntime", "onnx"), ("openvino", "openvino")]
)
def test_auto_is_the_format_of_the_runtime_that_was_searched_for(runtime: str, form: str) -> None:
    assert [exporter.name for exporter in find_exporters(["auto"], runtime)] == [form]
    # Whatever is named beside it comes once.
    assert [exporter.name for exporter in find_exporters(f"pt2, auto,{form}", runtime)] == list(
        dict.fromkeys(["pt2", form])
    )


def test_files_in_eight_bits_are_judged_beside_the_live_network(tmp_path: Path) -> None:
    plain = deliverable(CASES["static"], images=20)
    labels = plain.compact(plain.images).argmax(1)
    labels[:5] = (labels[:5] + 1) % 10
    item = replace(plain, labels=labels, calibration=plain.images)
    report = deliver(item, tmp_path / "out", find_exporters(["pt2", "onnx", "openvino"]))
    assert report["formats"]["pt2"]["max_difference"] <= 1e-4
    for form in ("onnx", "openvino"):
        found = report["formats"][form]["quantised"]
        assert found["float_accuracy"] == 0.75
        assert abs(found["accuracy"] - 0.75) <= found["changed_predictions"] / 20 <= 0.25
        quantised = torch.as_tensor(find_exporters([form])[0].load(tmp_path / "out")(item.images))
        with torch.no_grad():
            assert not torch.equal(quantised, item.compact(item.images))
    whole = deliver(plain, tmp_path / "whole", find_exporters(["onnx", "openvino"]))
    assert all("quantised" not in one for one in whole["formats"].values())
    sizes = [(tmp_path / where / "model.onnx").stat().st_size for where in ("out", "whole")]
    assert sizes[0] < 0.6 * sizes[1]


@pytest.mark.parametrize("name", ["static", "mod"])
def test_each_format_is_timed_as_a_file_beside_dense_in_the_same_format(name: str, tmp_path: Path) -> None:
    item, network = deliverable(CASES[name], images=4), known_network("resnet20")
    item = replace(item, labels=torch.tensor([0, 1, 2, 3]), report={**item.report, "setting": CPU.to_json()})
    dense = compact_form(network, DENSE, {})
    forms = ("pt2", "onnx", "openvino")
    report = deliver(item, tmp_path / "out", find_exporters(forms), dense=dense, seconds=0.5)
    assert report == json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    with torch.no_grad():
        right = float((item.compact(item.images).argmax(1) == item.labels).float().mean())
    for form in forms:
        found = report["formats"][form]
        assert found["bytes"] == sum((tmp_path / "out" / file).stat().st_size for file in found["files"])
        assert found["accuracy"] == right
        measured = found["measured"]
        assert measured["setting"]["runtime"] == find_exporters([form])[0].runtimes[0]
        assert 0 < measured["gated"]["p50"] <= measured["gated"]["pass_p90"] <= measured["gated"]["pass_p99"]
        low, high = measured["ratio_interval"]
        assert measured["gated_is"] == ("faster" if high < 1 else "slower" if low > 1 else "as fast")
    # Half of the network's work, or more, is gone.
    assert name == "mod" or report["formats"]["onnx"]["measured"]["ratio"] < 1


def test_what_is_searched_for_elsewhere_is_not_timed_here(tmp_path: Path) -> None:
    item = deliverable(CASES["static"], images=2)
    item = replace(item, report={**item.report, "setting": replace(CPU, device="cuda:0").to_json()})
    dense = compact_form(known_network("resnet20"), DENSE, {})
    [found] = deliver(item, tmp_path / "out", find_exporters(["onnx"]), dense=dense)["formats"].values()
    assert found["measured"] is None
    assert "measure it there with `autogate measure`" in found["untimed"]
