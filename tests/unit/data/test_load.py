from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from autogate.data import from_datasets, load_data
from autogate.errors import DataError
from autogate.records import Preprocessing

Collect = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def tensors(count: int, *, classes: int = 4, channels: int = 3, seed: int = 0) -> TensorDataset:
    pixels = torch.rand(count, channels, 12, 12, generator=torch.Generator().manual_seed(seed))
    return TensorDataset((pixels * 255).round() / 255, torch.arange(count) % classes)


class Pictures(Dataset[Any]):
    """PIL images with labels, and names for them."""

    classes = ("left", "right")

    def __init__(self, count: int) -> None:
        self.targets = [i % 2 for i in range(count)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, position: int) -> tuple[Image.Image, int]:
        return Image.new("RGB", (20, 20), (position, 0, 0)), self.targets[position]


def test_tensor_datasets(collect: Collect) -> None:
    train, test = tensors(80), tensors(20, seed=1)
    data = from_datasets(train, test, preprocessing=Preprocessing(12, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    assert (len(data.train), len(data.val), len(data.test), data.num_classes) == (72, 8, 20, 4)
    images, labels = collect(data.test)
    order = images.flatten(1).sum(1).argsort()
    expected = test.tensors[0].flatten(1).sum(1).argsort()
    torch.testing.assert_close(images[order], test.tensors[0][expected])
    assert torch.equal(labels[order], test.tensors[1][expected])


def test_pil_datasets_bring_their_names() -> None:
    data = from_datasets(Pictures(40), Pictures(10), val=Pictures(12))
    assert data.class_names == ("left", "right")
    assert (len(data.train), len(data.val), len(data.test)) == (40, 12, 10)
    assert data.preprocessing.input_size == 20


def test_loaders_and_grey_images(collect: Collect) -> None:
    train, test = DataLoader(tensors(40, channels=1), batch_size=7), DataLoader(tensors(8, channels=1))
    data = from_datasets(train, test, num_classes=5)
    assert data.num_classes == 5
    images, _ = collect(data.train)
    assert images.shape == (36, 3, 12, 12)


def test_loader_that_can_only_be_iterated() -> None:
    class Flow(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter(tensors(40))

    plain = from_datasets(Flow(), Flow())
    batched = from_datasets(DataLoader(Flow(), batch_size=8), DataLoader(Flow(), batch_size=8))
    assert len(plain.train) == len(batched.train) == 36


def test_random_transforms_leave_the_global_state_alone() -> None:
    class Noisy(Pictures):
        def __getitem__(self, position: int) -> Any:
            return torch.rand(3, 8, 8), position % 2

    before = torch.get_rng_state()
    first, again = (from_datasets(Noisy(20), Noisy(6)) for _ in range(2))
    assert first.fingerprint == again.fingerprint
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("white", "grey"),
    [
        (torch.ones(3, 8, 8, dtype=torch.bool), None),
        (torch.full((3, 8, 8), 65_535, dtype=torch.uint16), torch.full((3, 8, 8), 32_896, dtype=torch.uint16)),
        (torch.full((3, 8, 8), 255), torch.full((3, 8, 8), 128)),
        (torch.ones(1, 8, 8, dtype=torch.float64), torch.full((1, 8, 8), 128 / 255, dtype=torch.float16)),
        (Image.new("I;16", (8, 8), 65_535), Image.new("I;16", (8, 8), 32_896)),
        (Image.new("RGBA", (8, 8)), Image.new("F", (8, 8), 128 / 255)),
    ],
)
def test_white_is_white_in_every_element_type(white: Any, grey: Any, collect: Collect) -> None:
    plain = Preprocessing(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    for item, expected in ((white, 1.0), (grey, 128 / 255)):
        if item is not None:
            images, _ = collect(from_datasets(Odd((item, 0)), tensors(8), preprocessing=plain).train)
            torch.testing.assert_close(images, torch.full_like(images, expected))


def test_content_decides_the_fingerprint() -> None:
    prints = {from_datasets(tensors(40, seed=seed), tensors(8)).fingerprint for seed in (0, 0, 1)}
    assert len(prints) == 2


class Odd(Pictures):
    """Yields whatever it was given."""

    def __init__(self, item: Any) -> None:
        self.item = item
        self.count = 20

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, position: int) -> Any:
        if isinstance(self.item, Exception):
            raise self.item
        return self.item


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((torch.randn(3, 8, 8) * 3, 0), "outside .0, 1.; remove Normalize"),
        ((torch.zeros(8, 8), 0), r"is a tensor \(8, 8\)"),
        (("text", 0), "is str"),
        ((Image.new("RGB", (8, 8)), "cat"), "has the target 'cat', .* your own train_fn and score_fn"),
        ((Image.new("RGB", (8, 8)), 0.5), "has the target 0.5, .* your own train_fn and score_fn"),
        ((Image.new("RGB", (8, 8)), torch.tensor(2.0)), "has the target tensor.2.., .* your own train_fn"),
        ((Image.new("RGB", (8, 8)), torch.zeros(8, 8).long()), "has the target tensor.*, .* your own train_fn"),
        ((Image.new("RGB", (8, 8)), {"boxes": 1}), "has the target {'boxes': 1}, .* your own train_fn"),
        ((Image.new("RGB", (8, 8)), 0, 1), "must be a pair .image, class., not 3 values; .* your own train_fn"),
        ((Image.new("RGB", (8, 8)), -1), "has a label -1"),
        ((Image.new("RGB", (8, 8)), 9), "has a label 9; labels must be 0 to 3"),
        (torch.zeros(3, 8, 8), "must be a pair"),
        ((torch.full((3, 8, 8), 300), 0), "has values from 300 to 300; yield uint8, uint16 or floats"),
        ((torch.full((1, 8, 8), -1, dtype=torch.int16), 0), "has values from -1 to -1"),
        ((torch.full((3, 8, 8), float("nan")), 0), "has values that are no finite numbers"),
        ((Image.new("F", (8, 8), 200), 0), r"train\[0\] holds 32-bit floats from 200 to 200"),
        (OSError("broken\nfile"), r"cannot read train\[0\] \(OSError: broken\)"),
    ],
)
def test_datasets_that_yield_something_else(item: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        from_datasets(Odd(item), tensors(8), num_classes=4)
    assert "\n" not in str(caught.value)


def test_empty_and_single_class_datasets() -> None:
    with pytest.raises(DataError, match="train dataset is empty"):
        from_datasets(Subset(tensors(4), []), tensors(4))
    with pytest.raises(DataError, match="only one class"):
        from_datasets(tensors(8, classes=1), tensors(4, classes=1))
    with pytest.raises(DataError, match="3 class names were given for 4 classes"):
        from_datasets(tensors(40), tensors(4), class_names=("a", "b", "c"))


def test_torchvision_files_are_loaded_from_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a tiny CIFAR-10 in the original format and read it back."""
    monkeypatch.chdir(tmp_path)
    base = tmp_path / "data" / torchvision.datasets.CIFAR10.base_folder
    base.mkdir(parents=True)
    pixels = torch.randint(0, 256, (20, 3072), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batch = {"data": pixels.numpy(), "labels": [i % 10 for i in range(20)]}
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        (base / name).write_bytes(pickle.dumps(batch))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"c{i}" for i in range(10)]}))
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *a: True)
    data = load_data("cifar10")
    assert (len(data.train), len(data.val), len(data.test)) == (90, 10, 20)
    assert data.preprocessing.input_size == 32
    assert data.class_names[3] == "c3"
    assert data.name == "cifar10"


def test_torchvision_without_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cifar10", "mnist", "svhn", "gtsrb", "stl10", "flowers102"):
        with pytest.raises(DataError, match=f"the files of {name} are not in data/; pass --download"):
            load_data(name)


def test_torchvision_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", offline)
    with pytest.raises(DataError, match="cannot download cifar10 .*Name or service not known.*check the network"):
        load_data("cifar10", download=True)


def test_unknown_names() -> None:
    with pytest.raises(DataError, match="unknown data 'cifr10'; did you mean cifar10"):
        load_data("cifr10")
    with pytest.raises(DataError, match="use digits, a directory, or package.module:factory"):
        load_data("qqqq")


def test_a_directory_comes_before_a_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert folder.name == "digits"
    assert load_data("digits").num_classes == 3


def test_factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user_sets.py").write_text(
        "import torch\nfrom torch.utils.data import TensorDataset\nfrom autogate.data import load_data\n"
        "def part(n):\n    return TensorDataset(torch.rand(n, 3, 8, 8), torch.arange(n) % 2)\n"
        "def two():\n    return part(40), part(8)\n"
        "def three():\n    return part(40), part(6), part(8)\n"
        "def whole():\n    return load_data('digits')\n"
        "def wrong():\n    return 7\n"
    )
    two, three = load_data("user_sets:two"), load_data("user_sets:three")
    assert (len(two.train), len(two.val), len(two.test)) == (36, 4, 8)
    assert (len(three.train), len(three.val), len(three.test)) == (40, 6, 8)
    assert two.name == "user_sets:two"
    assert load_data("user_sets:whole").name == "digits"
    with pytest.raises(DataError, match=r"returned int; return ImageData, \(train, test\)"):
        load_data("user_sets:wrong")
