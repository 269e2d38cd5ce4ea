"""Networks that run in a process of their own, in ONNX Runtime and in OpenVINO."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

from autogate.errors import DeviceError
from autogate.latency.hardware import exclusive_inference, setting_of
from autogate.latency.timing import compare, prepare, prepare_input
from autogate.policy import Gate
from autogate.runtimes import (
    IsolatedNetwork,
    IsolatedProcess,
    TimedRunnable,
    check_profiled,
    check_runtime,
    get_runtime,
    runnable,
    write_onnx,
)
from autogate.sites.results import difference, tensors_of
from tests.support.networks import known_network

pytestmark = pytest.mark.e2e  # other processes
NAMES = ("onnxruntime", "openvino")
CPU = setting_of(torch.device("cpu"), batch_size=2, layout="contiguous", threads=1)


class Net(nn.Module):
    """A few layers; ``wide`` times as much work in the middle."""

    def __init__(self, wide: int = 1) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(8, 8 * wide, 3, padding=1), nn.ReLU(), nn.Conv2d(8 * wide, 8, 3))
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))


def noise(batch: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@contextmanager
def running(name: str, threads: int = 1) -> Iterator[tuple[IsolatedProcess, psutil.Process]]:
    before = set(psutil.Process().children())
    process = IsolatedProcess(name, threads)
    [child] = set(psutil.Process().children()) - before
    yield process, child


@pytest.mark.parametrize("name", NAMES)
def test_a_network_gives_what_it_gives_in_pytorch_and_is_timed_where_it_runs(name: str) -> None:
    small, large, x = Net().eval(), Net(24).eval(), noise()
    with exclusive_inference(CPU):
        networks = [runnable(module, x, replace(CPU, runtime=name)) for module in (small, large)]
    times_ms = []
    for module, network in zip((small, large), networks, strict=True):
        assert isinstance(network, TimedRunnable)
        for seed in range(3):
            with torch.no_grad():
                expected = module(noise(seed=seed))
            assert difference(network(noise(seed=seed)), expected, 1e-4) is None
        times_ms.append(min(network.time_ms(x) for _ in range(15)))
    assert 0 < times_ms[0] < times_ms[1]


@pytest.mark.parametrize("name", NAMES)
def test_dense_and_gated_are_timed_in_one_process(name: str) -> None:
    before = set(psutil.Process().children())
    found = compare(
        Net(16).eval(), Net(2).eval(), [noise()], replace(CPU, runtime=name), varies=False, stat="p50", seconds=0.5
    )
    assert found.setting.runtime == name
    assert found.ratio < 0.9
    gc.collect()
    assert set(psutil.Process().children()) == before


def test_a_process_holds_neither_autogate_nor_pytorch_and_sleeps_between_passes(tmp_path: Path) -> None:
    write_onnx(Net().eval(), noise(), tmp_path / "net.onnx")
    with running("onnxruntime") as (process, child):
        network = IsolatedNetwork(process, tmp_path / "net.onnx")
        network.time_ms(noise())
        mapped = {Path(found.path).name for found in child.memory_maps()}
        assert any(part.startswith("onnxruntime") for part in mapped)
        assert not any("torch" in part for part in mapped)
        before = sum(child.cpu_times()[:2])
        assert child.cpu_percent(0.3) < 50
        assert sum(child.cpu_times()[:2]) - before < 0.15


class Several(Net):
    def forward(self, x: torch.Tensor) -> object:
        middle = self.body(self.stem(x)).mean((2, 3))
        return {"out": self.head(middle), "aux": (middle, middle.amax(1))}


@pytest.mark.parametrize("name", NAMES)
def test_all_that_a_network_returns_comes_back_by_place(name: str) -> None:
    module, x = Several().eval(), noise()
    with exclusive_inference(CPU):
        found = runnable(module, x, replace(CPU, runtime=name))(x)
    with torch.no_grad():
        assert difference(found, module(x), 1e-4) is None
    assert list(tensors_of(found)) == ["out", "aux.0", "aux.1"]


def test_inputs_are_sent_once_and_forgotten_with_their_tensor(tmp_path: Path) -> None:
    write_onnx(Net().eval(), noise(), tmp_path / "net.onnx")
    with running("onnxruntime") as (process, _):
        network = IsolatedNetwork(process, tmp_path / "net.onnx")
        x = noise()
        assert process.input_of(x) == process.input_of(x)
        # Tensors that may take each other's place in memory.
        answers = [network(noise(seed=seed)) for seed in range(20)]
        assert not any(torch.equal(one, other) for one, other in zip(answers, answers[1:], strict=False))
        assert len(list(Path(process.folder.name).iterdir())) == 1  # what it printed


def test_a_process_ends_at_once_when_nobody_refers_to_it_whatever_it_was_sent(tmp_path: Path) -> None:
    write_onnx(Net().eval(), noise(), tmp_path / "net.onnx")
    before, x = set(psutil.Process().children()), noise()
    gc.collect()
    gc.disable()
    try:
        network = IsolatedNetwork(IsolatedProcess("onnxruntime", 1), tmp_path / "net.onnx")
        network(x)
        assert len(set(psutil.Process().children()) - before) == 1
        del network
        assert set(psutil.Process().children()) == before
    finally:
        gc.enable()


@pytest.mark.parametrize("name", NAMES)
def test_what_fails_there_is_told_in_a_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no network")
    with running(name) as (process, child):
        with pytest.raises(DeviceError) as raised:
            process.load(tmp_path / "net.onnx")
        assert "\n" not in str(raised.value)
        # It goes on after a failure, and says so when it is gone.
        write_onnx(Net().eval(), noise(), tmp_path / "net.onnx")
        network = IsolatedNetwork(process, tmp_path / "net.onnx")
        child.kill()
        child.wait()
        with pytest.raises(DeviceError, match=f"the process of runtime {name} ended"):
            network.time_ms(noise())


def test_settings_that_a_runtime_does_not_know_are_refused() -> None:
    cpu = torch.device("cpu")
    for name in NAMES:
        check_runtime(name, cpu)
        with pytest.raises(DeviceError, match=f"runtime {name} runs on the CPU here, not on cuda:0"):
            check_runtime(name, torch.device("cuda", 0))
        with pytest.raises(
            DeviceError, match=f"runtime '{name}' has no layout 'channels_last'; use contiguous or auto"
        ):
            setting_of(cpu, batch_size=1, layout="channels_last", runtime=name)
        check_profiled(name)
        assert list(get_runtime(name).versions()) == [name]
    with pytest.raises(
        DeviceError,
        match="runtime 'onnxruntime' cannot run dtype 'bfloat16'; it runs (float32, int8|int8, float32|float32)",
    ):
        setting_of(cpu, batch_size=1, layout="contiguous", dtype="bfloat16", runtime="onnxruntime")


def test_gates_that_a_runtime_cannot_run() -> None:
    sites = known_network("resnet20").sites
    of_a_map = Gate("lcnet"), sites["map:layer1.0.conv1"], 1
    of_a_block = Gate("lcnet"), sites["block:layer2.1"], 1
    assert "OpenVINO's convolutions have a fixed one" in str(get_runtime("openvino").no_saving_reason(*of_a_map))
    assert get_runtime("openvino").no_saving_reason(*of_a_block) is None
    assert get_runtime("onnxruntime").no_saving_reason(*of_a_map) is None


def test_the_program_prints_nothing_but_answers() -> None:
    child = Path(sys.modules["autogate.runtimes.isolated"].__file__ or "").with_name("isolated_child.py")
    asked = '{"load": "absent.onnx"}\n{"time": 3, "input": 1}\nno json\n'
    done = subprocess.run(
        [sys.executable, "-I", str(child), "onnxruntime", "1"], input=asked, capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [list(answer) for answer in answers] == [["error"]] * 3


def test_openvino_computes_in_the_element_type_that_is_asked_for_or_not_at_all() -> None:
    asks = "import openvino; print(*openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'))"
    able = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True).stdout.split()
    module, x = Net(8).eval(), noise()
    with torch.no_grad():
        expected = module(x)
    for dtype, capability in (("float32", "FP32"), ("bfloat16", "BF16"), ("float16", "FP16")):
        setting = replace(CPU, runtime="openvino", dtype=dtype)
        if capability not in able:
            with pytest.raises(DeviceError, match=r"OpenVINO computes in \w+ on this CPU, and not in (bf16|f16)"):
                runnable(prepare(module, setting), prepare_input(x, setting), setting)
            continue
        found = runnable(prepare(module, setting), prepare_input(x, setting), setting)(x)
        apart = float((found - expected).abs().max() / expected.abs().max())
        assert (apart < 1e-5) == (dtype == "float32")
        assert apart < 0.05
