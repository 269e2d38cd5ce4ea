from __future__ import annotations

import pytest
from torch import nn

from autogate.sites import layer_text

OLDER = {
    "BatchNorm2d(4, eps=1e-05, momentum=0.1, affine=False, track_running_stats=True)": nn.BatchNorm2d(4, affine=False),
    "BatchNorm2d(4, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)": nn.BatchNorm2d(4),
    "GroupNorm(2, 4, eps=1e-05, affine=True)": nn.GroupNorm(2, 4),
    "LayerNorm((4,), eps=1e-05, elementwise_affine=True)": nn.LayerNorm(4),
}


@pytest.mark.parametrize("older", OLDER)
def test_older_versions_of_pytorch_describe_normalisations_otherwise(
    older: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = OLDER[older]
    now = layer_text(layer)
    monkeypatch.setattr(type(layer), "__repr__", lambda layer: older)
    assert layer_text(layer) == now


def test_other_layers_are_described_as_pytorch_does() -> None:
    layer = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    assert layer_text(layer) == repr(layer)
