"""A loss that is not finite says how the gates stood, by their sites."""

from __future__ import annotations

import pytest
import torch

from autogate.errors import TrainingError
from autogate.policy import Gate, Policy
from autogate.surgery import attach_gates, canonical, training_form
from autogate.training import gates_of, loss_of
from tests.support.networks import images, known_network, own_copy


def test_the_gates_are_named_by_their_sites() -> None:
    network = own_copy(known_network("resnet20"))
    policy = Policy({"block:layer1.1": Gate("mod", {"c": 4}), "map:layer2.0.conv1": Gate("magnitude")})
    form = training_form(network, attach_gates(network, canonical(policy, network.sites)))
    logits = form(images(network, 2)) * float("nan")
    with pytest.raises(
        TrainingError, match=r"became nan .*\(gates: .*block:layer1\.1 4 channels.*map:layer2\.0\.conv1 16 of 32"
    ):
        loss_of(logits, torch.tensor([0, 1]), gates_of(form), 0.0)
