"""Networks with layers under two names and tied weights are stored, loaded, rebuilt and delivered."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from autogate.exporters import Deliverable, load_export
from autogate.exporters.deliver import deliver
from autogate.gates import FAMILIES
from autogate.models.fit import fit_weights
from autogate.policy import Gate, Policy
from autogate.records import Preprocessing, Setting
from autogate.sites import find_sites
from autogate.surgery import canonical, pack, unpack
from tests.support.networks import assert_close, forms_of, images, network_of
from tests.unit.sites.test_exact_layer import Net

SETTING = Setting("cpu", "a cpu", 1, "float32", "contiguous", 1, "eager", {"torch": torch.__version__})


def tied_convolutions() -> nn.Module:
    module = Net()
    module.conv4.weight = module.conv1.weight
    return module


def shared_memory() -> nn.Module:
    module = Net()
    module.conv3.weight = nn.Parameter(module.conv2.weight.data)
    return module


def part_of_another() -> nn.Module:
    module = Net()
    module.bn2.weight.data = module.stem.weight.data.view(-1)[:8]
    return module


def layer_under_two_names() -> nn.Module:
    module = Net()
    module.other_name = nn.ModuleList([module.conv1, module.bn3])
    return module


def normalisation_for_two() -> nn.Module:
    bn = nn.BatchNorm2d(8)
    return Net(bn1=bn, bn4=bn)


KINDS = [tied_convolutions, shared_memory, part_of_another, layer_under_two_names, normalisation_for_two]


def changed(module: nn.Module) -> nn.Module:
    twin = copy.deepcopy(module)
    for parameter in twin.parameters():
        parameter.data += 0.1
    return twin


@pytest.mark.parametrize("make", KINDS)
def test_what_is_stored_comes_back_under_every_name(make: Callable[[], nn.Module]) -> None:
    module = make()
    twin = changed(module)
    content = pack(module, {})
    unpack(content, twin, {})
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in twin.state_dict().items())


@pytest.mark.parametrize("make", [tied_convolutions, layer_under_two_names, normalisation_for_two])
def test_a_file_that_holds_each_tensor_once_is_a_file_of_weights(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    module = make()
    twin = changed(module)
    safetensors.torch.save_model(module, str(tmp_path / "w.safetensors"))
    fit_weights(twin, safetensors.torch.load_file(tmp_path / "w.safetensors"), label="w")
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert_close(twin.eval()(x), module.eval()(x))


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("family", ["drop", "magnitude", "antidote"])
def test_gates_and_exports(make: Callable[[], nn.Module], family: str, tmp_path: Path) -> None:
    network = find_sites(make().eval(), (3, 16, 16))
    fitting = [name for name, site in network.sites.items() if FAMILIES[family].fits(site)]
    genes = {"antidote": {"channel_ratio": 0.5}}.get(family, {})
    policy = canonical(Policy(dict.fromkeys(fitting, Gate(family, genes))), network.sites)
    masked, compact = forms_of(network, policy)
    x: Tensor = images(network, 4)
    with torch.no_grad():
        assert_close(compact(x), masked(x))
    report = {"setting": SETTING.to_json()}
    item = Deliverable(compact, policy, "own", 4, Preprocessing(16), 1, x, report, network.model)
    assert deliver(item, tmp_path / "out", [])["verified"]["changed_predictions"] == 0
    with torch.no_grad():
        assert_close(load_export(tmp_path / "out", network.model).gated(x), compact(x))


def test_layers_with_the_same_weights_are_no_places_for_gates_and_say_so() -> None:
    network = network_of(tied_convolutions(), 16)
    assert "map:conv1" not in network.sites
    assert "conv1 has the same weights as conv4" in network.refused.values()
