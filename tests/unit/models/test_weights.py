from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from urllib.error import URLError

import pytest
import safetensors.torch
import torch
from torch import Tensor

from autogate.errors import WeightsError
from autogate.models import load_model, state_sha256
from autogate.models import torchvision_models as _torchvision
from autogate.records import Preprocessing


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Weights of a ResNet-20 that no seed of a test gives."""
    return dict(load_model("resnet20", seed=99).module.state_dict())


def save(state: object, path: Path) -> str:
    torch.save(state, path)
    return str(path)


def fails(path: str, message: str, **options: object) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        load_model("resnet20", weights=path, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_common_checkpoint_forms_load(
    tmp_path: Path, state: dict[str, Tensor], wrapper: str | None, prefix: str
) -> None:
    content: object = OrderedDict((prefix + key, value) for key, value in state.items())
    if wrapper:
        content = {wrapper: content, "epoch": 3, "best": 0.9}
    loaded = load_model("resnet20", weights=save(content, tmp_path / "w.pth"))
    assert loaded.weights_sha256 == state_sha256(state)


def test_safetensors_and_torch_files_have_one_identity(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({key: value.contiguous() for key, value in state.items()}, path)
    assert load_model("resnet20", weights=str(path)).weights_sha256 == state_sha256(state)


def test_half_precision_and_missing_counters_load(tmp_path: Path, state: dict[str, Tensor]) -> None:
    old = {key: value.half() for key, value in state.items() if "num_batches_tracked" not in key}
    module = load_model("resnet20", weights=save(old, tmp_path / "w.pth")).module
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    torch.testing.assert_close(module.get_parameter("conv1.weight"), state["conv1.weight"], rtol=1e-3, atol=1e-3)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    fails(str(tmp_path / "none.pth"), "does not exist")
    fails(str(tmp_path), "is a directory")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 broken zip"])
def test_garbage_is_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    fails(str(path), "w.* is (damaged|no safetensors file)")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_truncated_files(tmp_path: Path, state: dict[str, Tensor], suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        safetensors.torch.save_file(state, path)
    path.write_bytes(path.read_bytes()[:-2000])
    fails(str(path), "is (damaged|no safetensors file)")


def test_pickled_network_is_refused(tmp_path: Path) -> None:
    path = save(load_model("resnet20").module, tmp_path / "w.pth")
    fails(path, r"was refused: it holds pickled Python objects \(.*CifarResNet\).*state_dict")


def test_pickle_that_runs_code_does_not_run_it(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (tmp_path / "pwned",))

    path = save({"state_dict": Attack()}, tmp_path / "w.pth")
    fails(path, "was refused")
    assert not (tmp_path / "pwned").exists()


def test_file_without_tensors(tmp_path: Path) -> None:
    fails(save({"epoch": 3}, tmp_path / "w.pth"), "holds no tensors")
    fails(save([1, 2], tmp_path / "w.pth"), "holds no tensors")


def test_values_that_are_not_finite(tmp_path: Path, state: dict[str, Tensor]) -> None:
    broken = {**state, "bn1.weight": torch.full_like(state["bn1.weight"], float("nan"))}
    fails(save(broken, tmp_path / "w.pth"), "not finite in bn1.weight")


def test_mismatch_names_the_entries(tmp_path: Path, state: dict[str, Tensor]) -> None:
    renamed = {("stem" + key if key == "conv1.weight" else key): value for key, value in state.items()}
    fails(save(renamed, tmp_path / "w.pth"), "missing: conv1.weight; unexpected: stemconv1.weight")
    reshaped = {**state, "conv1.weight": torch.zeros(8, 3, 3, 3)}
    shapes = r"another shape: conv1.weight \(8, 3, 3, 3\) instead of \(16, 3, 3, 3\)"
    fails(save(reshaped, tmp_path / "w.pth"), shapes)


def test_weights_of_a_deeper_network(tmp_path: Path) -> None:
    deeper = load_model("resnet32").module.state_dict()
    fails(save(deeper, tmp_path / "w.pth"), "is for another network; unexpected: .* and 69 more")


def test_head_decides_the_classes(tmp_path: Path) -> None:
    path = save(load_model("resnet20", num_classes=7).module.state_dict(), tmp_path / "w.pth")
    assert load_model("resnet20", weights=path).num_classes == 7
    assert load_model("resnet20", weights=path, num_classes=7).num_classes == 7
    fails(path, "head for 7 classes, not 5; .*--new-head", num_classes=5)


def test_new_head_keeps_everything_else(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = save(state, tmp_path / "w.pth")
    loaded = load_model("resnet20", weights=path, num_classes=5, new_head=True)
    got = loaded.module.state_dict()
    assert got["linear.weight"].shape == (5, 64)
    assert all(torch.equal(got[key], value) for key, value in state.items() if not key.startswith("linear"))
    again = load_model("resnet20", weights=path, num_classes=5, new_head=True)
    assert again.weights_sha256 == loaded.weights_sha256


def test_new_head_of_the_same_size_is_fresh(tmp_path: Path, state: dict[str, Tensor]) -> None:
    loaded = load_model("resnet20", weights=save(state, tmp_path / "w.pth"), new_head=True)
    assert not torch.equal(loaded.module.state_dict()["linear.weight"], state["linear.weight"])


def test_unknown_and_absent_published_weights() -> None:
    fails("DEFAULT", "no published weights for 'resnet20'")
    with pytest.raises(WeightsError, match="'resnet18' has no weights 'IMAGENET1K_V9'; use one of DEFAULT"):
        load_model("resnet18", weights="IMAGENET1K_V9")


def test_download_without_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(WeightsError, match="cannot download the weights of resnet18 .* pass the file's path") as caught:
        load_model("resnet18", weights="DEFAULT")
    assert "\n" not in str(caught.value)


def test_published_weights_bring_their_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    state = load_model("resnet18", seed=5).module.state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *a, **k: state)
    loaded = load_model("resnet18", weights="IMAGENET1K_V1")
    assert loaded.preprocessing == Preprocessing(224)
    assert loaded.num_classes == 1000
    assert loaded.weights_sha256 == state_sha256(state)
    assert load_model("resnet18", weights="DEFAULT", num_classes=3, new_head=True).num_classes == 3


def test_googlenet_weights_with_auxiliary_heads_equal_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    full = torchvision.models.googlenet(weights=None, aux_logits=True, transform_input=True, init_weights=False)
    state = full.eval().state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *a, **k: state)
    loaded = load_model("googlenet", weights="DEFAULT")
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def normalise(mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
        return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]

    assert loaded.preprocessing is not None
    imagenet = Preprocessing(224)
    with torch.inference_mode():
        expected = full(normalise(imagenet.mean, imagenet.std))
        got = loaded.module(normalise(loaded.preprocessing.mean, loaded.preprocessing.std))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_old_densenet_names() -> None:
    source = _torchvision.TorchvisionSource("densenet121")
    old = "features.denseblock1.denselayer2.norm.1.weight"
    assert list(source.adapt({old: torch.zeros(1)})) == [old.replace("norm.1", "norm1")]


def test_published_file_is_recognised_by_name_and_hash(tmp_path: Path) -> None:
    source = _torchvision.TorchvisionSource("resnet18")
    path = tmp_path / "resnet18-f37072fd.pth"
    path.write_bytes(b"something else of that name")
    assert source.recognise(path) is None


@pytest.mark.parametrize("name", ["mnasnet0_5", pytest.param("vit_b_32", marks=pytest.mark.e2e)])
def test_networks_with_versioned_modules_load_safetensors(tmp_path: Path, name: str) -> None:
    state = load_model(name, num_classes=2).module.state_dict()
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(state, path)
    assert load_model(name, weights=str(path)).weights_sha256 == state_sha256(state)
