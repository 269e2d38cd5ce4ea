"""Check what a network returns before anything is trained or measured: for one image and for two."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from autogate.errors import ModelError
from autogate.sites import Network, modes_kept
from autogate.system import one_line
from autogate.training import score_tensor


def check_scores(network: Network, classes: int, output: str | None) -> None:
    """Check that a network returns a score for each class.

    Args:
        network: The network; it stays as it is.
        classes: Number of classes.
        output: Place of the scores among what it returns, as in :func:`autogate.training.score_tensor`.

    Raises:
        ModelError: If it returns something else than ``[N, classes]`` or ``[N, classes, 1, 1]``.
    """
    name = type(network.model).__name__
    for count, result in check_batches(network).items():
        shape = list(score_tensor(result, output).shape)
        if shape[:2] == [count, classes] and set(shape[2:]) <= {1}:
            continue
        if len(shape) > 1 and shape[0] == count and set(shape[2:]) <= {1}:
            raise ModelError(
                f"{name} has {shape[1]} outputs, but the data has {classes} classes; give it an output for each class, "
                "or pass a score_fn and a train_fn of your own"
            )
        images = "one image" if count == 1 else f"{count} images"
        raise ModelError(
            f"{name} returns {shape} for {images}, not [{count}, {classes}]: one score for each class; avoid squeeze() "
            "and reshaping to fixed numbers, which lose the batch"
        )


def check_batches(network: Network) -> dict[int, Any]:
    """Return what a network returns in evaluation for random batches of one image and of two, by their size.

    Raises:
        ModelError: If it fails on either.
    """
    model = network.model
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    x = torch.rand(2, *network.input_shape, generator=torch.Generator().manual_seed(0)).to(device)
    return {count: _run(model, x[:count]) for count in (1, 2)}


def _run(model: nn.Module, x: torch.Tensor) -> Any:
    with modes_kept(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
        model.eval()
        try:
            return model(x)
        except Exception as error:  # any failure of the user's forward pass
            raise ModelError(
                f"{type(model).__name__} fails on a batch of {len(x)}: {one_line(error)}; it must take any number of "
                "images"
            ) from error
