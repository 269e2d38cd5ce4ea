"""Read weights files safely, and give weights one identity, whatever file they came in."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from autogate.errors import WeightsError
from autogate.system import why_unreadable

# Checkpoints often keep the weights under one of these, next to an optimiser or an epoch.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
# DataParallel and torch.compile put these before every name.
_PREFIXES = ("module.", "_orig_mod.")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors`` file or of a file written by ``torch.save``.

    Args:
        path: The file. Wrappers such as ``state_dict`` and the prefix ``module.`` are taken off.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        WeightsError: If the file is missing, corrupt, would run code, or holds no tensors.
    """
    if not path.is_file():
        found = "is a directory" if path.is_dir() else "does not exist"
        raise WeightsError(f"weights file {path} {found}; check the path")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    state = _tensors(content)
    if not state:
        raise WeightsError(f"{path} holds no tensors by name; save it with torch.save(model.state_dict(), path)")
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise WeightsError(f"{path} holds values that are not finite in {some(broken)}; use another checkpoint")
    return state


def some(names: list[str], limit: int = 3) -> str:
    """Return the first few names and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _read_safetensors(path: Path) -> Any:
    try:
        return safetensors.torch.load_file(path, device="cpu")
    except (safetensors.SafetensorError, OSError, ValueError) as problem:
        why = f" ({why_unreadable(problem)})" if isinstance(problem, OSError) else ""
        raise WeightsError(f"{path} is no safetensors file, or damaged{why}; copy it again") from problem


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # torch.load raises many types for damaged files
        unsafe = _unsafe_content(problem)
        if unsafe is None:
            # torch's message is left out: it advises to load unsafely, or speaks of its own file format.
            why = f" ({why_unreadable(problem)})" if isinstance(problem, OSError) else ""
            raise WeightsError(f"{path} is damaged or no file of weights{why}; copy it again") from problem
        advice = "save the weights alone, with torch.save(model.state_dict(), path) or as .safetensors"
        raise WeightsError(f"{path} was refused: {unsafe}, and loading it could run code; {advice}") from problem


def _unsafe_content(problem: Exception) -> str | None:
    text = str(problem)
    if "TorchScript" in text:
        return "it is a TorchScript archive"
    if not isinstance(problem, pickle.UnpicklingError) or "Unsupported operand" in text:
        return None
    named = re.search(r"GLOBAL ([\w.]+)", text)
    return f"it holds pickled Python objects ({named[1]})" if named else "it holds pickled Python objects"


def _tensors(content: Any) -> dict[str, Tensor]:
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        return {}
    state = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    for prefix in _PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 (64 hex digits) of a state dict's names, dtypes, shapes and bytes.

    The order of the entries, their device and their memory layout make no difference.

    Args:
        state: Tensors of any shape and dtype by name.
    """
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
