"""A network without its numbers: it costs nothing to run, and shows shapes and how tensors lead to one another."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn


def without_data(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose parameters and buffers are on the meta device."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach().to("meta")
    return copy.deepcopy(model, memo).eval()
