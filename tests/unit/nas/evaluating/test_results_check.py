"""What a network returns is compared with the classes of the data before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from autogate.errors import ModelError
from autogate.goals import SearchConfig, config_names, make_config
from autogate.nas.evaluating import Task, load_task
from autogate.space import load_space
from autogate.studies import Reporter
from autogate.training import class_scores, score
from tests.support import heads
from tests.support.data import few_digits


def task(model: nn.Module, **settings: Any) -> Task:
    names = {**config_names(model, few_digits(8)), "space": load_space("drop").to_json(), "pareto": True}
    config: SearchConfig = make_config(**{**names, **settings})
    return load_task(config, Reporter(), model, few_digits(8))


@pytest.mark.parametrize(
    ("end", "output"),
    [
        (heads.scores, None),
        (heads.one_by_one, None),
        (heads.scores_and_side, "0"),
        (heads.scores_and_side, "1"),
        (heads.named, "out"),
        (heads.side_in_training, None),
        (heads.side_before_in_training, None),
        (heads.side_before_in_training, "out"),
    ],
)
def test_scores_are_found(end: Callable[..., Any], output: str | None) -> None:
    loaded = task(heads.Body(end), score_output=output)
    model, val = loaded.network.model, loaded.data.val
    accuracy, _ = score(model, val, device=torch.device("cpu"), output=output)
    images, labels = next(iter(val.batches(len(val))))
    with torch.no_grad():
        right = class_scores(model.eval()(images), output).argmax(1) == labels
    assert accuracy == pytest.approx(float(right.float().mean()))
    assert 0 <= accuracy <= 1


@pytest.mark.parametrize(
    ("end", "output", "complaint"),
    [
        (heads.features, None, "Body has 8 outputs, but the data has 10 classes; "),
        (
            heads.squeezed,
            None,
            r"Body returns \[10\] for one image, not \[1, 10\]: one score for each .*squeeze",
        ),
        (heads.dense_map, None, r"Body returns \[1, 10, 4, 4\] for one image, not \[1, 10\]"),
        (heads.fixed_batch, None, r"Body fails on a batch of 2: .*; it must take any number of images"),
        (
            heads.scores_and_side,
            None,
            r"several tensors: 0 \[1, 10\], 1 \[1, 10\]; name that of the scores with",
        ),
        (heads.named, "scores", r"nothing called 'scores': out \[1, 10\], maps.0 \[1, 8, 4, 4\], maps.1 "),
        (heads.named, "maps.0", r"Body returns \[1, 8, 4, 4\] for one image"),
        (heads.scores, "out", "returns a single tensor, and nothing called 'out'; leave --output out"),
    ],
)
def test_everything_else_is_refused_in_one_line(end: Callable[..., Any], output: str | None, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint) as raised:
        task(heads.Body(end), score_output=output)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("classes", [2, 9, 11, 100])
def test_another_number_of_classes_is_refused(classes: int) -> None:
    with pytest.raises(ModelError, match=f"Body has {classes} outputs, but the data has 10 classes"):
        task(heads.Body(heads.scores, classes=classes))
