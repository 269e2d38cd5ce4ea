from __future__ import annotations

import torch
from torch import nn

from autogate.gates.drop import DropGate
from autogate.policy import Gate, Policy
from autogate.surgery import attach_gates, canonical, training_form
from tests.support.family_suite import FamilySuite
from tests.support.networks import forms_of, images, known_network, own_copy


class TestDrop(FamilySuite):
    family = "drop"
    sites = {"resnet20": 7, "resnet50": 12, "vgg16_bn": 9, "mobilenet_v2": 10, "densenet40": 0}
    refused = [("block:layer1.1", {"ratio": 0.5}, "unknown gene 'ratio'; known genes: none")]
    unfit = ("resnet20", "map:layer1.1.conv1", "drop stands at block sites only")

    def test_the_block_is_gone(self) -> None:
        network = known_network("resnet20")
        _, compact = forms_of(network, Policy({"block:layer2.1": Gate("drop")}))
        called = {str(node.target) for node in compact.graph.nodes if node.op == "call_module"}
        assert not {name for name in called if name.startswith("layer2.1.")}
        assert {"layer2.0.conv1", "layer2.2.conv1"} <= called
        assert not any(name.startswith("layer2.1.") for name in compact.state_dict())
        # What is left adds one tensor less.
        joins = [node for node in compact.graph.nodes if node.op == "call_function" and len(node.all_input_nodes) == 2]
        assert len(joins) == 8

    def test_dropping_everything_leaves_a_network(self) -> None:
        network = known_network("resnet20")
        blocks = {name: Gate("drop") for name, site in network.sites.items() if site.kind == "block"}
        _, compact = forms_of(network, canonical(Policy(blocks), network.sites))
        convs = [module for module in compact.modules() if isinstance(module, nn.Conv2d)]
        assert len(convs) == 1 + 2 + 2
        assert compact(images(network, 2)).isfinite().all()

    def test_the_result_is_the_block_s_input(self) -> None:
        network = known_network("resnet20")
        _, compact = forms_of(network, Policy({"block:layer1.1": Gate("drop")}))
        model = own_copy(network).model
        model.layer1[1] = nn.Identity()
        x = images(network, 3)
        with torch.no_grad():
            torch.testing.assert_close(compact(x), model(x), rtol=1e-4, atol=1e-5)

    def test_stochastic_depth_in_training(self) -> None:
        network = own_copy(known_network("resnet20"))
        policy = Policy({"block:layer1.1": Gate("drop")}, {"targeted_dropout.drop": 0.5})
        gates = attach_gates(network, policy)
        gate = gates["block:layer1.1"]
        assert isinstance(gate, DropGate)
        assert not gate.shut
        value, context = torch.ones(2, 1, 1, 1), torch.zeros(2, 1, 1, 1)
        torch.manual_seed(0)
        gate.train()
        opened = [bool(gate(value, context).any()) for _ in range(200)]
        assert 70 < sum(opened) < 130
        gate.eval()
        assert not any(bool(gate(value, context).any()) for _ in range(20))
        form = training_form(network, gates).eval()
        always = training_form(network, attach_gates(network, Policy(policy.gates))).eval()
        x = images(network, 2)
        with torch.no_grad():
            torch.testing.assert_close(form(x), always(x))
