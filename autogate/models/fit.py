"""Fit a state dict to a network."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from autogate.errors import WeightsError
from autogate.models.aliases import filled
from autogate.models.weights import some
from autogate.system import one_line


def fit_weights(module: nn.Module, state: Mapping[str, Tensor], *, label: str, leave_out: str | None = None) -> None:
    """Load a state dict into a network, in place.

    Args:
        module: The network.
        state: Tensors by name, of any floating dtype.
        label: What the weights are called in an error.
        leave_out: Name of a submodule that keeps its weights.

    Raises:
        WeightsError: If names or shapes do not match.
    """
    expected = module.state_dict()
    given = {key: value for key, value in filled(state, module).items() if not _belongs(key, leave_out)}
    shapes = [
        f"{key} {tuple(value.shape)} instead of {tuple(expected[key].shape)}"
        for key, value in given.items()
        if key in expected and expected[key].shape != value.shape
    ]
    if shapes:
        raise _mismatch(label, [f"of another shape: {some(shapes)}"])
    entries: Any = OrderedDict(given)
    # The version of the whole network: torchvision's MNASNet does not load without, and safetensors has none.
    # Parts keep none, so that they accept the older names they know.
    entries._metadata = {"": getattr(expected, "_metadata", {}).get("", {})}
    try:
        # Not strict, because the modules may know older names; what is left over is judged below.
        result = module.load_state_dict(entries, strict=False)
    except (RuntimeError, ValueError) as problem:
        raise WeightsError(f"{label} does not fit this network ({one_line(problem)})") from problem
    missing = [
        key
        for key in result.missing_keys
        # Old checkpoints lack this counter; nothing in eval mode reads it.
        if not key.endswith("num_batches_tracked") and not _belongs(key, leave_out)
    ]
    parts = []
    if missing:
        parts.append(f"missing: {some(missing)}")
    if result.unexpected_keys:
        parts.append(f"unexpected: {some(list(result.unexpected_keys))}")
    if parts:
        raise _mismatch(label, parts)


def _belongs(key: str, submodule: str | None) -> bool:
    return submodule is not None and key.startswith(f"{submodule}.")


def _mismatch(label: str, parts: list[str]) -> WeightsError:
    return WeightsError(f"{label} is for another network; {'; '.join(parts)}; check the model name")
