from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from autogate.gates import Overwriting
from autogate.policy import DENSE, Gate, Policy
from autogate.surgery import attach_gates, canonical, compact_form, gate_path, training_form
from tests.support.networks import (
    FAST,
    SIZES,
    assert_close,
    forms_of,
    images,
    known_network,
    lively,
    network_of,
    own_copy,
)

NETWORKS = [pytest.param(name, marks=() if name in FAST else pytest.mark.e2e) for name in SIZES]


def calls(form: fx.GraphModule) -> list[str]:
    return [
        str(getattr(node.target, "__name__", node.target)) for node in form.graph.nodes if node.op.startswith("call")
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_dense_policy_is_the_dense_network(name: str) -> None:
    network = known_network(name)
    form = compact_form(network, DENSE, {})
    assert not form.training
    assert not any(parameter.requires_grad for parameter in form.parameters())
    for batch in (1, 3):
        x = images(network, batch)
        with torch.no_grad():
            assert_close(form(x), network.model(x))


def test_normalisation_is_folded() -> None:
    form = compact_form(known_network("resnet20"), DENSE, {})
    assert not [module for module in form.modules() if isinstance(module, nn.BatchNorm2d)]
    # 19 convolutions and a linear layer are left, with a bias each.
    layers = [module for module in form.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    assert len(layers) == 20
    assert all(layer.bias is not None for layer in layers)


class Small(nn.Module):
    """One inner map, with settings that folding must respect."""

    def __init__(self, *, conv_bias: bool, affine: bool, eps: float = 1e-5, track: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=conv_bias)
        self.bn1 = nn.BatchNorm2d(8, affine=affine, eps=eps, track_running_stats=track)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=conv_bias)
        self.bn2 = nn.BatchNorm2d(8, affine=affine, eps=eps, track_running_stats=track)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return self.head(self.bn2(self.conv2(x)).relu().mean((2, 3)))


@pytest.mark.parametrize("conv_bias", [True, False])
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_folding_keeps_biases_and_eps(conv_bias: bool, eps: float) -> None:
    network = network_of(Small(conv_bias=conv_bias, affine=True, eps=eps), 16)
    policy = Policy({"map:conv1": Gate("magnitude", {"ratio": 0.5})})
    masked, compact = forms_of(network, policy)
    x = images(network, 2)
    with torch.no_grad():
        assert_close(compact_form(network, DENSE, {})(x), network.model(x))
        assert_close(compact(x), masked(x))
    assert compact.get_submodule("conv1").weight.shape[0] == 4


def test_normalisation_without_weights() -> None:
    module = Small(conv_bias=False, affine=False)
    module.bn1.running_mean.normal_()
    network = network_of_plain(module)
    x = images(network, 2)
    policy = canonical(Policy({"map:conv1": Gate("antidote", {"channel_ratio": 0.5})}), network.sites)
    gates = attach_gates(network, policy)
    with torch.no_grad():
        assert_close(compact_form(network, DENSE, {})(x), network.model(x))
        assert_close(compact_form(network, policy, gates)(x), training_form(network, gates).eval()(x))


def test_normalisation_without_weights_and_channels_removed() -> None:
    network = network_of_plain(Small(conv_bias=False, affine=False))
    policy = canonical(Policy({"map:conv1": Gate("magnitude", {"ratio": 0.5})}), network.sites)
    gates = attach_gates(network, policy)
    x = images(network, 2)
    with torch.no_grad():
        assert_close(compact_form(network, policy, gates)(x), training_form(network, gates).eval()(x))


def network_of_plain(module: nn.Module):  # type: ignore[no-untyped-def]
    from autogate.sites import find_sites

    return find_sites(module.eval(), (3, 16, 16))


def test_normalisation_that_reads_its_batch_is_kept() -> None:
    network = network_of_plain(Small(conv_bias=False, affine=True, track=False))
    form = compact_form(network, DENSE, {})
    x = images(network, 4)
    with torch.no_grad():
        assert_close(form(x), network.model(x))
    assert len([module for module in form.modules() if isinstance(module, nn.BatchNorm2d)]) == 2


def test_repeated_activations_go() -> None:
    network = known_network("resnet20")
    dense = calls(compact_form(network, DENSE, {}))
    assert len([name for name in dense if "relu" in name]) == 19
    # Without its branch a dropped block would activate its input a second time.
    _, compact = forms_of(network, Policy({"block:layer1.1": Gate("drop")}))
    assert len([name for name in calls(compact) if "relu" in name]) == 17


@pytest.mark.parametrize("family", ["lcnet", "mod"])
def test_nothing_is_left_of_a_dropped_block_behind_a_gated_one(family: str) -> None:
    network = known_network("resnet20")
    gates = {"block:layer1.1": Gate(family), "block:layer1.2": Gate("drop")}
    training, compact = forms_of(network, canonical(Policy(gates), network.sites))
    gated = next(node for node in compact.graph.nodes if str(node.target) == gate_path("block:layer1.1"))
    assert "layer2.0.conv1" in {str(user.target) for user in gated.users}
    x = images(network, 3)
    with torch.no_grad():
        assert_close(compact(x), training(x))


def test_different_activations_stay() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu6(F.relu(self.conv1(10 * x)))
            x = F.relu(F.max_pool2d(F.relu(x), 2))
            return F.leaky_relu(F.leaky_relu(self.conv2(x), 0.1), 0.1).mean((2, 3))

    network = network_of(lively(Twice()), 16)
    form = compact_form(network, DENSE, {})
    x = images(network, 2)
    with torch.no_grad():
        assert_close(form(x), network.model(x))
    assert calls(form).count("relu6") == 1
    assert calls(form).count("leaky_relu") == 2


def test_weights_are_copies() -> None:
    network = own_copy(known_network("resnet20"))
    gates = {
        "block:layer1.1": Gate("lcnet"),
        "block:layer2.1": Gate("mod"),
        "map:layer1.0.conv1": Gate("magnitude", {"ratio": 0.5}),
        "map:layer2.0.conv1": Gate("antidote", {"channel_ratio": 0.5}),
        "map:layer3.0.conv1": Gate("lcnet"),
    }
    policy = canonical(Policy(gates), network.sites, strict=True)
    attached = attach_gates(network, policy)
    before = {name: value.clone() for name, value in network.model.state_dict().items()}
    own = {name: value.clone() for site in attached for name, value in attached[site].state_dict().items()}
    compact = compact_form(network, policy, attached)
    x = images(network, 1)
    with torch.no_grad():
        dense, gated = network.model(x), compact(x)
        for tensor in [*compact.parameters(), *compact.buffers()]:
            if tensor.is_floating_point():
                tensor.fill_(0.5)
    assert all(torch.equal(network.model.state_dict()[name], value) for name, value in before.items())
    after = {name: value for site in attached for name, value in attached[site].state_dict().items()}
    assert all(torch.equal(after[name], value) for name, value in own.items())
    with torch.no_grad():
        assert torch.equal(network.model(x), dense)
        for parameter in network.model.parameters():
            parameter.zero_()
        second = compact_form(own_copy(known_network("resnet20")), policy, attached)
        assert_close(second(x), gated)


def test_the_training_form_shares_weights_and_names() -> None:
    network = own_copy(known_network("resnet20"))
    policy = canonical(Policy({"block:layer1.1": Gate("mod"), "map:layer2.0.conv1": Gate("lcnet")}), network.sites)
    gates = attach_gates(network, policy)
    form = training_form(network, gates)
    own = dict(network.model.named_parameters())
    for name, parameter in form.named_parameters():
        if name.startswith("gates."):
            continue
        assert parameter is own[name]
    for site, gate in gates.items():
        assert form.get_submodule(gate_path(site)) is gate
    # The branch that MoD replaces is not computed, so it is not there.
    assert not any(name.startswith("layer1.1.") for name, _ in form.named_parameters())


def test_nothing_is_left_in_training_mode() -> None:
    network = own_copy(known_network("resnet20"))
    network.model.train()
    policy = canonical(Policy({"block:layer1.1": Gate("mod")}), network.sites)
    gates = attach_gates(network, policy)
    gates["block:layer1.1"].train()
    compact = compact_form(network, policy, gates)
    assert not any(module.training for module in compact.modules())
    assert network.model.training
    assert gates["block:layer1.1"].training


def test_half_precision_and_channels_last() -> None:
    network = known_network("resnet20")
    policy = canonical(
        Policy({"block:layer1.1": Gate("drop"), "map:layer2.0.conv1": Gate("antidote", {"channel_ratio": 0.5})}),
        network.sites,
    )
    _, compact = forms_of(network, policy)
    x = images(network, 2)
    with torch.no_grad():
        expected = compact(x)
        compact = compact.to(memory_format=torch.channels_last)
        assert_close(compact(x.contiguous(memory_format=torch.channels_last)), expected)
        low = compact.bfloat16()(x.bfloat16())
    assert low.dtype == torch.bfloat16
    assert low.isfinite().all()


def test_pre_activation_and_odd_networks() -> None:
    class Odd(nn.Module):
        """A pre-activation unit, a unit inside a unit, and a unit whose sum is not activated."""

        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, padding=1)
            self.bns = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(6))
            self.convs = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(6))
            self.head = nn.Linear(8, 4)

        def part(self, i: int, x: Tensor) -> Tensor:
            return self.convs[i](F.relu(self.bns[i](x)))

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = x + self.part(1, self.part(0, x))
            x = x + self.part(2, x)
            inner = self.part(3, x)
            inner = inner + self.part(4, inner)
            x = x + self.part(5, inner)
            return self.head(x.mean((2, 3)))

    network = network_of(Odd(), 16)
    blocks = [name for name, site in network.sites.items() if site.kind == "block"]
    assert len(blocks) == 4
    x = images(network, 3)
    tried = 0
    for name, site in network.sites.items():
        for gate in (
            Gate("drop"),
            Gate("mod", {"c": 4}),
            Gate("lcnet", {"tau": 0.9}),
            Gate("magnitude"),
            Gate("antidote", {"channel_ratio": 0.5, "column_ratio": 0.3}),
        ):
            from autogate.gates import get_family

            if not get_family(gate.family).fits(site):
                continue
            policy = canonical(Policy({name: gate}), network.sites, strict=True)
            masked, compact = forms_of(network, policy)
            with torch.no_grad():
                for batch in (1, 3):
                    assert_close(compact(x[:batch]), masked(x[:batch]))
            tried += 1
    assert tried >= 12


def test_a_gate_never_overwrites_what_others_read() -> None:
    class Twice(nn.Module):
        """The input of the first residual unit is read once more, behind a module that hands it on."""

        def __init__(self) -> None:
            super().__init__()
            self.stem, self.same = nn.Conv2d(3, 8, 3, padding=1), nn.Identity()
            self.first, self.second = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
            self.head = nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            stem = self.stem(x)
            x = self.same(stem)
            x = x + self.first(x)
            x = x + self.second(x)
            return self.head((x * stem).mean((2, 3)))

    network = network_of(Twice(), 8)
    policy = canonical(Policy(dict.fromkeys(("block:first", "block:second"), Gate("mod", {"c": 4}))), network.sites)
    form, compact = forms_of(network, policy)
    assert [m.overwrites for m in compact.modules() if isinstance(m, Overwriting)] == [False, False]
    x = images(network, 2)
    with torch.no_grad():
        assert_close(compact(x), form(x))
