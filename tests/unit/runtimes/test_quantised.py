"""Networks in eight bits: quantised by a library, run in both runtimes of files, judged as they compute."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from autogate.errors import DeviceError
from autogate.latency.hardware import setting_of
from autogate.policy import Gate, Policy
from autogate.records import Setting
from autogate.runtimes import INT8, DeployedNetwork, get_runtime, quantise, runnable, write_onnx
from autogate.surgery import canonical
from tests.support.networks import forms_of, images, known_network

NAMES = ("onnxruntime", "openvino")
NETWORK = known_network("resnet20")


def setting(runtime: str, dtype: str = INT8, batch_size: int = 1) -> Setting:
    return setting_of(
        torch.device("cpu"), batch_size=batch_size, dtype=dtype, layout="contiguous", threads=1, runtime=runtime
    )


def compact(policy: Policy) -> nn.Module:
    return forms_of(NETWORK, canonical(policy, NETWORK.sites))[1]


def test_only_runtimes_that_quantise_take_int8() -> None:
    for name in NAMES:
        assert setting(name).dtype == INT8
        assert get_runtime(name).of_dtype("float32") is get_runtime(name)
        assert get_runtime(name).of_dtype(INT8) is get_runtime(name).of_dtype(INT8)
    with pytest.raises(
        DeviceError, match="runtime 'eager' cannot run dtype 'int8'; it runs bfloat16, float16, float32"
    ):
        setting("eager")
    with pytest.raises(DeviceError, match="unknown dtype 'int4'; known: float32, float16, bfloat16, int8"):
        setting("onnxruntime", "int4")


def test_nothing_is_quantised_without_images(tmp_path: Path) -> None:
    write_onnx(compact(Policy()), images(NETWORK, 2), tmp_path / "model.onnx")
    with pytest.raises(DeviceError, match="cannot be quantised without images"):
        quantise(tmp_path / "model.onnx", tmp_path / "int8.onnx", images(NETWORK, 2)[:0])
    assert not (tmp_path / "int8.onnx").exists()


def test_every_convolution_reads_integers(tmp_path: Path) -> None:
    plain, quantised = tmp_path / "model.onnx", tmp_path / "int8.onnx"
    write_onnx(compact(Policy()), images(NETWORK, 2), plain, any_batch=True)
    quantise(plain, quantised, images(NETWORK, 8))
    assert quantised.stat().st_size < 0.5 * plain.stat().st_size
    graph = onnx.load(str(quantised)).graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(layers) == 20
    assert {made_by[name] for node in layers for name in node.input} == {"DequantizeLinear"}


@pytest.mark.e2e  # other processes
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("policy", "batch_size", "apart"),
    [
        (Policy(), None, 0.1),
        (Policy({"map:layer1.0.conv1": Gate("magnitude", {"ratio": 0.5}), "block:layer2.1": Gate("drop")}), None, 0.1),
        # It may choose other positions by what is rounded.
        (Policy({"block:layer2.1": Gate("mod", {"c": 8})}), 4, 0.2),
    ],
)
def test_a_quantised_network_gives_about_what_the_network_gives(
    name: str, policy: Policy, batch_size: int | None, apart: float
) -> None:
    form, x = compact(policy).to(memory_format=torch.channels_last), images(NETWORK, 64)
    quantised = DeployedNetwork(form, name, INT8, 1, x, batch_size)
    with torch.no_grad():
        expected = form(x)
    # Batches of any size, also those that the file does not take.
    for count in (64, 7, 1):
        found = quantised(x[:count].contiguous(memory_format=torch.channels_last))
        assert found.shape == expected[:count].shape
        assert not torch.equal(found, expected[:count])
        assert (found - expected[:count]).norm() < apart * expected[:count].norm()


@pytest.mark.e2e  # other processes
@pytest.mark.parametrize("name", NAMES)
def test_what_is_timed_is_the_quantised_network(name: str) -> None:
    form, x = compact(Policy()), images(NETWORK, 1)
    floats, integers = (runnable(form, x, setting(name, dtype)) for dtype in ("float32", INT8))
    assert not torch.equal(torch.as_tensor(floats(x)), torch.as_tensor(integers(x)))
