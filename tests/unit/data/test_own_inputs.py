"""Inputs of a caller's own task: as they are, whatever the targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from autogate.data import from_own_task, is_own_task
from autogate.data.own_inputs import has_classes
from autogate.errors import DataError

INPUTS = torch.randn(20, 2, 6, 4, generator=torch.Generator().manual_seed(0)) * 100
TARGETS = [
    torch.zeros(6, 4).long(),
    torch.tensor(3.5),
    2.0,
    np.float32(1),
    -1,
    torch.tensor([1, 0, 1]),
    {"boxes": []},
    "cat",
    None,
    (1, 2),
]


@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_targets_are_not_looked_at(target: Any) -> None:
    items = [(value, target) for value in INPUTS]
    assert not has_classes(items)
    data = from_own_task(items, items)
    assert data.num_classes is None
    assert data.preprocessing.input_shape == (2, 6, 4)
    assert len(data.train) == 18
    assert len(data.val) == 2
    shown = torch.cat([batch for batch, _ in data.test.batches(7)])
    # Each input is there once, and no value was changed.
    assert {tuple(x.flatten().tolist()) for x in shown} == {tuple(x.flatten().tolist()) for x in INPUTS}


@pytest.mark.parametrize("target", [0, 3, True, np.int64(2), torch.tensor(5), torch.tensor([5]), np.uint8(0)])
def test_classes_are_recognised(target: Any) -> None:
    items = [(INPUTS[0], target), (INPUTS[1], 7)]
    assert has_classes(items)
    # What can be taken as it is needs no classes; images need them.
    assert is_own_task(DataLoader(items))  # type: ignore[arg-type]
    assert from_own_task(items * 4, items).num_classes == 8
    assert from_own_task(items, items).num_classes is None, "these are more numbers than items"
    images = [(Image.new("RGB", (4, 6)), number) for _, number in items]
    assert not is_own_task(images)
    assert is_own_task([(image, "mask") for image, _ in images])
    assert not has_classes([(value, number, 1) for value, number in items])
    assert not has_classes([*items, (INPUTS[2], -4)])
    assert not has_classes([(INPUTS[0], target)] * 5), "a target that is the same everywhere is a dummy"


def test_the_content_and_the_seed_make_the_fingerprint() -> None:
    data = TensorDataset(INPUTS)
    other = TensorDataset(INPUTS + 1)
    prints = [from_own_task(train, data, seed=seed).fingerprint for train in (data, other) for seed in (0, 1)]
    assert len(set(prints)) == 4
    assert from_own_task(data, data).fingerprint == prints[0]


@pytest.mark.parametrize(
    ("items", "complaint"),
    [
        ([], "the train dataset is empty; add inputs"),
        (
            [(torch.zeros(6, 4),)] * 3,
            r"train\[0\] begins with torch.float32 \[6, 4\]; with train_fn and score_fn",
        ),
        ([(torch.zeros(3, 6, 4).byte(), "x")] * 3, r"train\[0\] begins with torch.uint8 \[3, 6, 4\]"),
        ([("text", "x")] * 3, r"train\[0\] begins with str"),
        ([(INPUTS[0], "x")], "custom has too few training inputs to take a validation split from"),
        (5, "train is a int, which cannot be indexed; pass a dataset"),
    ],
)
def test_what_is_no_input_is_refused(items: Any, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        from_own_task(items, TensorDataset(INPUTS))


def test_inputs_have_one_shape() -> None:
    wide = TensorDataset(torch.zeros(4, 2, 6, 5))
    with pytest.raises(DataError, match=r"inputs of test are \[2, 6, 5\] and those of train \[2, 6, 4\]; give one"):
        from_own_task(TensorDataset(INPUTS), wide)
    mixed: Any = [INPUTS[0], INPUTS[1], torch.zeros(2, 6, 5)]
    with pytest.raises(DataError, match="differ in shape; bring them to one"):
        list(from_own_task(mixed, mixed, val=mixed).train.batches(3))
