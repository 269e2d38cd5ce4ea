"""Whole searches of tasks other than classification, and of networks with several outputs or other inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

import autogate
from autogate import api
from autogate.errors import DataError
from autogate.latency.profile import write_profile
from autogate.policy import Gate
from autogate.sites import difference, find_sites, tensors_of
from tests.support import heads
from tests.support.profiles import profile_of

SPACE = "schema: autogate.space/1\nsites:\n  block:\n    - family: drop\n"
SHAPE = (2, 12, 8)


class Items(Dataset[Any]):
    """Random inputs, each with what ``target`` makes of it."""

    def __init__(self, count: int, target: Callable[[Tensor], tuple[Any, ...]], seed: int) -> None:
        self.inputs = torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed))
        self.target = target

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, position: int) -> tuple[Any, ...]:
        return self.inputs[position], *self.target(self.inputs[position])


def mask(net: heads.Body, first: Tensor, last: Tensor) -> Any:
    return {"out": nn.functional.interpolate(net.conv(last), scale_factor=2.0), "low": net.conv(first)}


def number(net: heads.Body, first: Tensor, last: Tensor) -> Any:
    return 1000 * net.classifier(heads.pooled(last))


def maps(net: heads.Body, first: Tensor, last: Tensor) -> Any:
    return [first, last]


def count(x: Tensor) -> tuple[int]:
    return (int(100 * x.sum().abs()),)


TASKS = {
    "segmentation": (mask, lambda x: ((x[0] > 0).long(),)),
    "regression": (number, lambda x: (x.mean(),)),
    "detection": (maps, lambda x: ({"boxes": x[:, :1], "labels": ["cat"]},)),
    "inputs alone": (maps, lambda x: ()),
    "counts": (lambda net, first, last: {"count": number(net, first, last).relu(), "maps": last}, count),
    "three values": (number, lambda x: (x.mean(), 1.0)),
}


def search(root: Path, model: nn.Module, data: Any, shape: tuple[int, int, int], **more: Any) -> api.Study:
    """Search for a made-up device, on which nothing is measured."""
    network = find_sites(model, shape)
    blocks = [(name, Gate("drop")) for name, site in network.sites.items() if site.kind == "block"]
    write_profile(profile_of(network, blocks, model=f"python:{type(model).__name__}"), root / "made-up.jsonl")
    (root / "drop.yaml").write_text(SPACE, encoding="utf-8")
    place = {
        "profile": str(root / "made-up.jsonl"),
        "threads": 2,
        "layout": "contiguous",
        "space": str(root / "drop.yaml"),
    }
    budget = {"latency_budget": "90%", "trials": 3, "finalists": 1, "study": "own"}
    return api.search(model, data, storage=f"sqlite:///{root / 'studies.db'}", **{**place, **budget, **more})


def own_functions() -> dict[str, Any]:
    def train_fn(network: nn.Module, fidelity: str) -> None:
        assert network.training

    def score_fn(network: nn.Module, part: str) -> float:
        return -1000.0 - sum(parameter.numel() for parameter in network.parameters()) / 1e6

    return {"train_fn": train_fn, "score_fn": score_fn}


@pytest.mark.parametrize("task", TASKS)
def test_targets_of_any_kind(task: str, tmp_path: Path) -> None:
    end, target = TASKS[task]
    model = heads.Body(end, channels=SHAPE[0], classes=2).eval()
    data = Items(40, target, seed=0), Items(10, target, seed=1)
    study = search(tmp_path, model, data, SHAPE, **own_functions())
    best = study.best_trial
    assert best.test_accuracy < -1000
    out = tmp_path / "out"
    report = study.export(out, model=model, data=data).to_json()
    assert report["num_classes"] is None
    assert report["preprocessing"] == {"input_size": [12, 8], "mean": [0.0, 0.0], "std": [1.0, 1.0]}
    delivered, trained = autogate.load(out, model=model), study.load_best_model(model=model, data=data)
    x = torch.stack([data[1][0][0], data[1][1][0]])
    with torch.no_grad():
        assert difference(delivered(x), trained(x), 1e-5) is None
        assert tensors_of(delivered(x)).keys() == tensors_of(model(x)).keys()
    program = torch.export.load(str(out / "model.pt2")).module()
    assert difference(program(x), delivered(x), 1e-4) is None
    assert api.measure(out, time_s=0.2, model=model, layout="contiguous").to_json()["label"] == "measured"
    again = api.resume("own", storage=study.storage, trials=1, model=model, data=data, **own_functions())
    assert again.document()["trials"]["total"] == 4
    assert api.predict("own", "best", storage=study.storage, model=model, data=data).ratio < 1


@pytest.mark.parametrize("task", ["segmentation", "regression", "detection", "inputs alone", "three values"])
@pytest.mark.parametrize("functions", [(), ("train_fn",), ("score_fn",)])
def test_without_both_functions_they_are_refused_in_one_line(
    task: str, functions: tuple[str, ...], tmp_path: Path
) -> None:
    end, target = TASKS[task]
    model = heads.Body(end, channels=SHAPE[0], classes=2)
    data = Items(40, target, seed=0), Items(10, target, seed=1)
    given = {name: function for name, function in own_functions().items() if name in functions}
    with pytest.raises(
        DataError, match="another task than classification needs your own train_fn and score_fn"
    ) as raised:
        search(tmp_path, model, data, SHAPE, **given)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("end", "channels", "size", "output"),
    [
        (heads.one_by_one, 1, (8, 8), None),
        (heads.scores_and_side, 5, (8, 12), "1"),
        (heads.side_before_in_training, 3, (12, 8), "out"),
    ],
)
def test_classes_from_other_networks_and_images(
    end: Callable[..., Any], channels: int, size: tuple[int, int], output: str | None, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(90, channels, *size, generator=generator)
    data = TensorDataset(pixels, torch.arange(90) % 10)
    model = heads.Body(end, channels=channels)
    study = search(
        tmp_path, model, (data, data), (channels, *size), score_output=output, epochs=1, memory_limit_bytes=2000
    )
    assert 0 <= study.best_trial.test_accuracy <= 1
    out = tmp_path / "out"
    report = study.export(out, model=model, data=(data, data)).to_json()
    assert len(report["preprocessing"]["mean"]) == channels
    assert tensors_of(autogate.load(out, model=model)(torch.rand(2, channels, *size)))
