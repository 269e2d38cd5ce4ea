"""Networks that cannot be rebuilt are refused in one line, before anything else is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from autogate.errors import ModelError
from autogate.models import load_model
from autogate.sites import find_sites


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())


def weight_norm() -> nn.Module:
    net = plain()
    parametrizations.weight_norm(net[2])
    return net


def pruned() -> nn.Module:
    net = plain()
    prune.l1_unstructured(net[0], "weight", 0.5)
    return net


class Silent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = plain()

    def forward(self, x: torch.Tensor) -> tuple[None, str]:
        self.body(x)
        return None, "nothing"


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: 5, "a network must be a torch.nn.Module, not int"),
        (lambda: nn.Conv2d, "a network must be a torch.nn.Module, not type"),
        (lambda: plain().double(), r"0.weight is torch.float64; pass model.float\(\)"),
        (lambda: plain().to("meta"), "0.weight is on the meta device; load weights first"),
        (weight_norm, "the weight of 2 is computed in every pass"),
        (pruned, "the weight of 0 is computed in every pass"),
        (Silent, "the network returns no tensor; return one, or a tuple, list or dictionary of tensors"),
        (lambda: nn.DataParallel(plain()), "DataParallel wraps a network; pass its .module"),
    ],
)
def test_networks(make: Callable[[], Any], complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        find_sites(make(), (3, 8, 8))


@pytest.mark.parametrize("shape", [32, None, (3, 8), (3, -1, 4), (3, 8.0, 8.0)])
def test_input_shapes(shape: Any) -> None:
    with pytest.raises(ModelError, match=r"an input shape is \(channels, height, width\)"):
        find_sites(plain(), shape)


def test_every_module_keeps_its_mode() -> None:
    model = load_model("resnet20").module.train()
    frozen = model.get_submodule("layer1.0.bn1").eval()
    find_sites(model, (3, 32, 32))
    assert not frozen.training
    assert sum(not module.training for module in model.modules()) == 1
