from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from autogate.models import list_models, load_model


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet20", 269_722),
        ("resnet32", 464_154),
        ("resnet44", 658_586),
        ("resnet56", 853_018),
        ("resnet110", 1_727_962),
        ("densenet40", 1_019_722),
        ("vgg16_bn_cifar", 14_724_042),
    ],
)
def test_parameter_count_is_the_published_one(name: str, parameters: int) -> None:
    loaded = load_model(name)
    assert sum(p.numel() for p in loaded.module.parameters()) == parameters
    assert loaded.num_classes == 10
    assert loaded.weights is None
    assert loaded.weights_sha256 is None


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("size", [32, 64])
def test_forward_and_trace_agree(name: str, size: int) -> None:
    module = load_model(name, num_classes=7).module
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = module(images)
        traced = torch.fx.symbolic_trace(module)(images)
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()
    torch.testing.assert_close(traced, logits, rtol=0, atol=0)


def test_option_a_shortcut_subsamples_and_pads() -> None:
    shortcut = load_model("resnet20").module.get_submodule("layer2.0.shortcut")
    images = torch.randn(1, 16, 8, 8)
    out = shortcut(images)
    assert out.shape == (1, 32, 4, 4)
    assert torch.equal(out[:, 8:24], images[:, :, ::2, ::2])
    assert not out[:, :8].any()
    assert not out[:, 24:].any()


@pytest.mark.parametrize("depth", [20, 56])
def test_public_weights_load_and_change_the_output(depth: int, shared_weights: Callable[[str], Path]) -> None:
    path = shared_weights(f"resnet{depth}-cifar10jpeg.safetensors")
    loaded = load_model(f"resnet{depth}", weights=str(path))
    assert loaded.weights == str(path)
    assert loaded.weights_sha256
    assert loaded.num_classes == 10
    # Trained batch-norm statistics, not the zeros of a fresh network.
    assert loaded.module.get_submodule("bn1").running_mean.abs().sum() > 0
