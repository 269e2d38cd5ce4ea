"""Networks joined of units that were exported once each, run where AutoGate and PyTorch are not."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import fx, nn

from autogate.latency.hardware import setting_of
from autogate.latency.model import cut_into_units
from autogate.policy import Gate, Policy
from autogate.runtimes import IsolatedNetwork, IsolatedProcess, onnx_forms, timed_by_unit
from autogate.runtimes.isolated import IsolatedUnits
from autogate.runtimes.onnx_units import OnnxUnits
from autogate.sites import Network, find_sites
from autogate.sites.results import difference
from autogate.surgery import canonical, script_decisions
from tests.support.networks import forms_of, images

pytestmark = pytest.mark.e2e  # other processes
NAMES = ("onnxruntime", "openvino")


class Block(nn.Module):
    def __init__(self, channels: int, middle: int, groups: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, middle, 3, padding=1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.conv2(torch.relu(self.bn1(self.conv1(x)))))


class Net(nn.Module):
    """No two units of it are alike, so that each keeps its own weights in a joined file."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.blocks = nn.Sequential(Block(16, 24), Block(16, 16, groups=16), Block(16, 40))
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    found = find_sites(Net().eval(), (3, 24, 24))
    cut_into_units(found)
    return found


def compact(network: Network, gates: dict[str, Gate]) -> fx.GraphModule:
    policy = canonical(Policy(gates), network.sites)
    assert policy.gates.keys() == gates.keys()
    form = forms_of(network, policy)[1]
    with torch.no_grad():  # a bias of zero would be left out of the file
        for weight in form.parameters():
            weight.add_(0.01)
    return form


CASES = {
    "dense": {},
    "drop": {"block:blocks.1": Gate("drop")},
    "magnitude": {"map:blocks.0.conv1": Gate("magnitude", {"ratio": 0.5})},
    "antidote": {"map:blocks.2.conv1": Gate("antidote", {"channel_ratio": 0.5, "column_ratio": 0.5})},
    "groups": {"map:blocks.2.conv1": Gate("antidote", {"channel_ratio": 0.5, "granularity": 4})},
    "mod": {"block:blocks.2": Gate("mod", {"c": 8})},
    "lcnet": {"block:blocks.0": Gate("lcnet")},
}


@pytest.mark.parametrize("case", CASES)
def test_a_joined_network_gives_what_the_network_gives(network: Network, case: str) -> None:
    form, x = compact(network, CASES[case]), images(network, 1)
    units = OnnxUnits()
    path = units.write(form, x)
    onnx.checker.check_model(str(path))
    with torch.no_grad():
        expected = form(x)
    for name in NAMES:
        found = IsolatedNetwork(IsolatedProcess(name, 1), path)(x)
        assert difference(found, expected, 1e-4) is None, name


def test_a_form_of_another_width_is_not_exported_again(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = onnx_forms._exported
    monkeypatch.setattr(onnx_forms, "_exported", lambda pieces: calls.append(len(pieces)) or original(pieces))
    units, x = OnnxUnits(), images(network, 1)
    units.write(compact(network, {"map:blocks.0.conv1": Gate("magnitude", {"ratio": 0.5})}), x)
    assert calls
    calls.clear()
    form = compact(network, {"map:blocks.0.conv1": Gate("magnitude", {"ratio": 0.75})})
    path = units.write(form, x)
    assert calls == []
    with torch.no_grad():
        expected = form(x)
    assert difference(IsolatedNetwork(IsolatedProcess("onnxruntime", 1), path)(x), expected, 1e-4) is None


@pytest.mark.parametrize("name", NAMES)
def test_every_unit_has_its_share_of_a_pass(network: Network, name: str) -> None:
    x = images(network, 1)
    setting = setting_of(torch.device("cpu"), batch_size=1, layout="contiguous", threads=1, runtime=name)
    timed = timed_by_unit(compact(network, CASES["dense"]), x, setting)
    assert isinstance(timed, IsolatedUnits)
    whole_ms, units_ms, _ = timed.time_ms(x)
    # What passes between nodes is in the whole alone; clocks that count nodes slow them down a little.
    assert 0.2 * whole_ms < sum(units_ms.values()) < 2 * whole_ms
    units = cut_into_units(network)
    assert units_ms.keys() == {unit.index for unit in units}
    assert all(ms > 0 for ms in units_ms.values())
    # 3x3 convolutions of 16 channels to 40, and of 16 channels one by one.
    assert [units[i].type.split("-")[0] for i in (5, 3)] == ["40x24", "16x24"]
    assert units_ms[5] > units_ms[3]


def test_a_scripted_decision_decides_whatever_the_data_say(network: Network, tmp_path: Path) -> None:
    x, nodes = images(network, 1), {}
    for decision in (0, 1):
        form = compact(network, CASES["lcnet"])
        script_decisions(form, {"block:blocks.0": decision})
        path = OnnxUnits().write(form, x)
        nodes[decision] = [node.op_type for node in onnx.load(str(path)).graph.node]
        found = IsolatedNetwork(IsolatedProcess("onnxruntime", 1), path)(x)
        with torch.no_grad():
            assert difference(found, form(x), 1e-4) is None
    # The branch is in the file either way, and taken where it runs.
    assert nodes[0] == nodes[1]
    assert "If" in nodes[0]
