"""The classifier is the layer that writes the result, wherever it is defined."""

from __future__ import annotations

import random

import pytest
from torch import Tensor, nn

from autogate.models import head_classes, load_model
from autogate.models.head import find_head


class Net(nn.Module):
    """A network whose layers can be defined in any order."""

    def __init__(self, order: list[str], channels: int = 3) -> None:
        super().__init__()
        layers = {
            "stem": nn.Conv2d(channels, 8, 3, padding=1),
            "squeeze": nn.Linear(8, 2),
            "excite": nn.Linear(2, 8),
            "classifier": nn.Conv2d(8, 10, 1),
            "unused": nn.Linear(8, 32),
            "auxiliary": nn.Linear(8, 5),
        }
        for name in order:
            self.add_module(name, layers[name])

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x * self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()[:, :, None, None]
        scores = self.classifier(x).mean((2, 3))
        self.auxiliary(x.mean((2, 3)))
        return scores.log_softmax(1)


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_definition_plays_no_part(seed: int) -> None:
    order = ["stem", "squeeze", "excite", "classifier", "unused", "auxiliary"]
    random.Random(seed).shuffle(order)
    module = Net(order)
    head = find_head(module)
    assert head is not None
    assert head[0] == "classifier"
    assert head[1] is module.classifier
    assert head_classes(Net(order, channels=1), 28) == 10


def test_frozen_networks_and_several_outputs() -> None:
    class Two(Net):
        def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
            return {"scores": super().forward(x)}

    order = ["stem", "squeeze", "excite", "classifier", "unused", "auxiliary"]
    assert head_classes(Two(order).requires_grad_(False)) == 10


def test_a_network_that_takes_one_size_is_run_at_that_size() -> None:
    def at(size: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * size * size, 6))

    assert find_head(at(40), 40)[0] == "2"  # type: ignore[index]
    assert find_head(at(64))[0] == "2"  # type: ignore[index]
    # No usual size fits, and the size is not known: the last linear layer in order.
    assert find_head(at(37))[0] == "2"  # type: ignore[index]


def test_a_network_that_cannot_do_without_numbers() -> None:
    class Deciding(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x if x.mean() < 1 else -x)

    assert head_classes(Deciding(["classifier", "stem", "squeeze", "excite", "unused", "auxiliary"])) == 10


@pytest.mark.parametrize(("name", "classes"), [("squeezenet1_1", 6), ("resnet18", 4), ("resnet20", 3)])
def test_known_networks(name: str, classes: int) -> None:
    assert load_model(name, num_classes=classes).num_classes == classes
