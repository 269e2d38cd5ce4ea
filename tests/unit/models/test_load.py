from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from autogate.errors import ModelError
from autogate.models import default_input_size, load_model, state_sha256


def test_modules_are_ready_to_run() -> None:
    module = load_model("resnet20").module
    assert not module.training
    assert {p.dtype for p in module.parameters()} == {torch.float32}


def test_seed_decides_the_weights_and_global_state_survives() -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    first, again, other = (load_model("resnet20", seed=seed).module for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert state_sha256(first.state_dict()) == state_sha256(again.state_dict())
    assert state_sha256(first.state_dict()) != state_sha256(other.state_dict())


def test_hash_sees_content_not_layout_or_order() -> None:
    a, b = torch.arange(12.0).reshape(1, 3, 2, 2), torch.tensor(3)
    same = state_sha256({"b": b, "a": a.to(memory_format=torch.channels_last)})
    assert state_sha256({"a": a, "b": b}) == same
    assert state_sha256({"a": a + 1, "b": b}) != same
    assert state_sha256({"a": a.reshape(1, 3, 4), "b": b}) != same
    assert state_sha256({"c": a, "b": b}) != same
    assert len(state_sha256({})) == 64


@pytest.mark.parametrize(
    ("name", "hint"),
    [("resnet21", "resnet20"), ("mobilnet_v2", "mobilenet_v2"), ("ResNet-20", "resnet20")],
)
def test_unknown_model_suggests_close_names(name: str, hint: str) -> None:
    with pytest.raises(ModelError, match=f"unknown model '{name}'; did you mean .*{hint}"):
        load_model(name)


def test_unknown_model_without_close_names_lists_the_forms() -> None:
    with pytest.raises(ModelError, match="package.module:factory"):
        load_model("zzzz")


def test_torchvision_networks_take_the_class_count() -> None:
    loaded = load_model("mobilenet_v2", num_classes=5)
    assert loaded.num_classes == 5
    assert loaded.module(torch.zeros(1, 3, 64, 64)).shape == (1, 5)
    assert load_model("squeezenet1_1", num_classes=6).num_classes == 6


def test_googlenet_has_no_auxiliary_heads() -> None:
    module = load_model("googlenet", num_classes=4).module.train()
    assert module(torch.zeros(2, 3, 64, 64)).shape == (2, 4)
    assert not [name for name in module.state_dict() if name.startswith("aux")]


def test_detection_networks_are_unknown() -> None:
    with pytest.raises(ModelError, match="unknown model"):
        load_model("fasterrcnn_resnet50_fpn")


def test_timm_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"pip install 'autogate\[timm\]'"):
        load_model("timm:resnet18")


def test_timm_networks() -> None:
    pytest.importorskip("timm")
    loaded = load_model("timm:resnet18", num_classes=3)
    assert loaded.num_classes == 3
    assert default_input_size("timm:resnet18") == 224
    with pytest.raises(ModelError, match="did you mean timm:"):
        load_model("timm:resnet19")


def test_default_input_sizes() -> None:
    sizes = [default_input_size(name) for name in ("resnet20", "resnet18", "inception_v3", "a.b:c")]
    assert sizes == [32, 224, 299, 32]


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a user's module into the current directory and return its name."""
    name = f"user_nets_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(
        "from torch import nn\n"
        "def flexible(num_classes=4):\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, num_classes))\n"
        "def fixed():\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, 4))\n"
        "def broken(num_classes=4):\n    raise ValueError('first line\\nsecond line')\n"
        "def wrong():\n    return 'text'\n"
    )
    monkeypatch.chdir(tmp_path)
    return name


def test_factory_from_the_current_directory(user_module: str) -> None:
    path = list(sys.path)
    loaded = load_model(f"{user_module}:flexible", num_classes=9)
    assert isinstance(loaded.module, nn.Module)
    assert loaded.num_classes == 9
    assert load_model(f"{user_module}:flexible").num_classes == 4
    assert load_model(f"{user_module}:fixed", num_classes=4).num_classes == 4
    assert sys.path == path


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("flexibel", "no callable 'flexibel'; did you mean flexible"),
        ("broken", "failed when called: ValueError: first line; fix the factory"),
        ("wrong", "returned str; it must return a torch.nn.Module"),
        ("fixed", "has 4 outputs, not 9"),
    ],
)
def test_factory_errors_are_one_clear_line(user_module: str, factory: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load_model(f"{user_module}:{factory}", num_classes=9)
    assert "\n" not in str(caught.value)


def test_factory_module_that_is_missing() -> None:
    with pytest.raises(ModelError, match="cannot import 'no_such_module'"):
        load_model("no_such_module:net")


def test_weights_of_timm_keep_their_names(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    state = timm.create_model("regnetx_002", num_classes=5).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    loaded = load_model("timm:regnetx_002", weights=str(tmp_path / "w.safetensors")).module
    assert state_sha256(loaded.state_dict()) == state_sha256(state)
