from __future__ import annotations

import torch
from torch import nn

from autogate.gates import DenseParts, Holder
from autogate.gates.family import kept_count
from autogate.gates.slices import filter_norms
from autogate.policy import Gate, Policy
from autogate.surgery import attach_gates, training_form
from tests.support.family_suite import SliceSuite
from tests.support.networks import forms_of, images, known_network, own_copy

SITE = "map:layer2.0.conv1"


class TestMagnitude(SliceSuite):
    family = "magnitude"

    def test_every_weight_at_the_map_shrinks(self) -> None:
        network = known_network("resnet20")
        _, compact = forms_of(network, Policy({SITE: Gate("magnitude", {"ratio": 0.5})}))
        assert compact.get_submodule("layer2.0.conv1").weight.shape == (16, 16, 3, 3)
        assert compact.get_submodule("layer2.0.conv2").weight.shape == (32, 16, 3, 3)
        assert compact.get_submodule("layer2.1.conv1").weight.shape == (32, 32, 3, 3)

    def test_depthwise_convolutions_shrink_with_their_map(self) -> None:
        network = known_network("mobilenet_v2")
        _, compact = forms_of(network, Policy({"map:features.3.conv.0.0": Gate("magnitude", {"ratio": 0.5})}))
        depthwise = compact.get_submodule("features.3.conv.1.0")
        assert isinstance(depthwise, nn.Conv2d)
        assert depthwise.weight.shape == (72, 1, 3, 3)
        assert depthwise.groups == 72

    def test_the_smallest_filters_go(self) -> None:
        network = own_copy(known_network("resnet20"))
        conv, norm = network.model.layer2[0].conv1, network.model.layer2[0].bn1
        with torch.no_grad():
            conv.weight.normal_()
            norm.weight.fill_(1.0)
            norm.running_var.fill_(1.0)
            conv.weight[3] *= 1e-3
            norm.weight[5] = -1e-3  # a scale counts by its size
            norm.running_var[7] = 1e6
        gates = attach_gates(network, Policy({SITE: Gate("magnitude", {"ratio": 0.1})}))
        kept = gates[SITE].kept.tolist()
        assert kept == [channel for channel in range(32) if channel not in (3, 5, 7)]
        x = images(network, 2)
        form = training_form(network, gates).eval()
        seen = []
        network.model.layer2[0].conv2.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        with torch.no_grad():
            form(x)
        assert seen[0][:, [3, 5, 7]].abs().sum() == 0
        assert seen[0][:, kept].abs().sum() > 0

    def test_norms_are_those_of_the_folded_filters(self) -> None:
        conv, norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8).eval()
        norm.weight.data.normal_()
        norm.running_var.uniform_(0.5, 2.0)
        folded = nn.utils.fusion.fuse_conv_bn_eval(conv.eval(), norm)
        expected = folded.weight.detach().flatten(1).norm(dim=1)
        every = torch.arange(8)
        dense = DenseParts((Holder(conv, norm, False, every, every),))
        torch.testing.assert_close(filter_norms(dense), expected)
        # Two layers that write the same channels count together.
        dense = DenseParts(tuple(Holder(conv, norm, False, every, every) for _ in range(2)))
        torch.testing.assert_close(filter_norms(dense), 2**0.5 * expected)

    def test_kept_counts(self) -> None:
        assert [kept_count(16, ratio) for ratio in (0.0, 0.05, 0.125, 0.3, 0.5, 0.97)] == [16, 16, 14, 12, 8, 1]
        assert kept_count(100, 0.29) == 71  # 0.29 * 100 is 28.999999999999996 in binary

    def test_targeted_dropout_hits_only_what_evaluation_drops(self) -> None:
        network = own_copy(known_network("resnet20"))
        policy = Policy({SITE: Gate("magnitude", {"ratio": 0.5})}, {"targeted_dropout.magnitude": 0.5})
        gate = attach_gates(network, policy)[SITE].train()
        torch.manual_seed(0)
        value = torch.ones(200, 32, 1, 1)
        shown = gate(value, value).mean(dim=(0, 2, 3))
        assert (shown[gate.kept] == 1).all()
        removed = shown[[channel for channel in range(32) if channel not in gate.kept.tolist()]]
        assert ((removed > 0.3) & (removed < 0.7)).all()
