"""What is written of a network does not hang on how its weights lie in memory."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

from autogate.policy import Policy
from autogate.runtimes import write_onnx
from tests.support.networks import forms_of, images, known_network


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2"])
def test_weights_in_channels_last_are_written_as_others(name: str, tmp_path: Path) -> None:
    network = known_network(name)
    form, x = forms_of(network, Policy())[1], images(network, 2)
    operators = []
    for layout in (torch.contiguous_format, torch.channels_last):
        path = tmp_path / f"{len(operators)}.onnx"
        form = form.to(memory_format=layout)
        before = [weight.stride() for weight in form.parameters()]
        write_onnx(form, x, path, any_batch=True)
        operators.append([node.op_type for node in onnx.load(str(path)).graph.node])
        assert [weight.stride() for weight in form.parameters()] == before
    assert operators[0] == operators[1]
    assert "Gather" not in operators[0]
