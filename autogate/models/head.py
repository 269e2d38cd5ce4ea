"""Find the classifier of a network: the layer that writes its result."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from autogate.models.inputs import possible_channels
from autogate.models.weightless import without_data

# Tried one after the other, for networks that take only one size.
_USUAL_SIZES = (32, 224, 64, 96, 128, 256, 299, 384, 28)

Head = nn.Linear | nn.Conv2d


def find_head(module: nn.Module, input_size: int | None = None) -> tuple[str, Head] | None:
    """Return name and module of the classifier, or None if there is none.

    The network is run once, without numbers. Of a network that takes none of the usual inputs, the last linear layer
    in module order is returned, or the last 1x1 convolution.

    Args:
        module: The network.
        input_size: Height and width of its input, in pixels, if that is known.
    """
    sizes = dict.fromkeys(size for size in (input_size, *_USUAL_SIZES) if size is not None)
    for make in (without_data, _with_data):
        for channels, size in product(possible_channels(module), sizes):
            try:
                name = _writer(make, module, (2, channels, size, size))
            except Exception:  # noqa: BLE001, S112 - of any network, for an input it does not take
                continue
            return None if name is None else (name, module.get_submodule(name))  # type: ignore[return-value]
    return _last_in_order(module)


def head_classes(module: nn.Module, input_size: int | None = None) -> int | None:
    """Return the number of outputs of the classifier, or None if there is no classifier."""
    head = find_head(module, input_size)
    return None if head is None else int(head[1].weight.shape[0])


def _with_data(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).eval()


def _writer(make: Callable[[nn.Module], nn.Module], module: nn.Module, shape: tuple[int, ...]) -> str | None:
    """Return the path of the layer from which the fewest operations lead to the result."""
    twin = make(module)
    device = next((parameter.device for parameter in twin.parameters()), torch.device("cpu"))
    written: dict[Any, str] = {}

    def note(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            written[output.grad_fn] = path

        return hook

    for path, part in twin.named_modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            part.register_forward_hook(note(path))
    with torch.enable_grad(), device:
        result = _first_tensor(twin(torch.zeros(shape, requires_grad=True)))
    todo = deque([] if result is None else [result.grad_fn])
    seen = set(todo)
    while todo:
        step = todo.popleft()
        if step in written:
            return written[step]
        for before, _ in getattr(step, "next_functions", ()):
            if before is not None and before not in seen:
                seen.add(before)
                todo.append(before)
    return None


def _first_tensor(result: Any) -> Tensor | None:
    """Return the result, or the first of several."""
    if isinstance(result, Tensor):
        return result
    parts = result.values() if isinstance(result, dict) else result if isinstance(result, tuple | list) else ()
    return next((tensor for part in parts if (tensor := _first_tensor(part)) is not None), None)


def _last_in_order(module: nn.Module) -> tuple[str, Head] | None:
    linear: tuple[str, Head] | None = None
    conv: tuple[str, Head] | None = None
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear):
            linear = name, part
        elif isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1):
            conv = name, part
    return linear or conv
