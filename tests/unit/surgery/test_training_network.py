"""Gates are where their network is."""

from __future__ import annotations

import pytest
import torch

from autogate.policy import Gate, Policy
from autogate.surgery import attach_gates, canonical, training_form
from tests.support.networks import known_network, own_copy


@pytest.mark.parametrize("device", ["meta", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_gates_are_made_on_the_device_of_their_network(device: str) -> None:
    network = own_copy(known_network("resnet20"))
    gates = {
        "block:layer1.1": Gate("mod", {"c": 4}),
        "block:layer2.1": Gate("lcnet"),
        "block:layer3.1": Gate("mod", {"c": 4, "selector": "random"}),
        "map:layer1.0.conv1": Gate("dce"),
        "map:layer2.0.conv1": Gate("magnitude"),
    }
    network.model.to(device)
    form = training_form(network, attach_gates(network, canonical(Policy(gates), network.sites, strict=True)))
    tensors = [*form.named_parameters(), *form.named_buffers()]
    assert any(name.startswith("gates.") for name, _ in tensors)
    assert [name for name, tensor in tensors if tensor.device.type != device] == []
    assert form(torch.rand(2, 3, 32, 32, device=device)).device.type == device
