"""Find the classifier of a network."""

from __future__ import annotations

from torch import nn


def find_head(module: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d] | None:
    """Return name and module of the classifier, or None if there is none.

    That is the last ``nn.Linear`` in module order, or the last 1x1 convolution of a network without any.
    """
    linear: tuple[str, nn.Linear] | None = None
    conv: tuple[str, nn.Conv2d] | None = None
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear):
            linear = name, part
        elif isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1):
            conv = name, part
    return linear or conv


def head_classes(module: nn.Module) -> int | None:
    """Return the number of outputs of the classifier, or None if there is no classifier."""
    head = find_head(module)
    return None if head is None else int(head[1].weight.shape[0])
