"""Read weights files safely, and give weights one identity, whatever file they came in."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from autogate.errors import WeightsError
from autogate.system import why_unreadable

# Settings beside the weights, and layers.
_HARMLESS = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
)
_HARMLESS_MODULES = ("omegaconf.", "torch.nn.modules.", "torchvision.models.")
# Nested deeper than this is no state of a network.
_DEEPEST = 3


def read_weights(path: Path) -> dict[str, dict[str, Tensor]]:
    """Read the tensors of a ``.safetensors`` file or of a file written by ``torch.save``.

    Args:
        path: The file.

    Returns:
        Tensors by name, on the CPU, by where they are in the file: keys joined by dots, empty for the file itself.

    Raises:
        WeightsError: If the file is missing, corrupt, would run code, or holds no tensors.
    """
    if not path.is_file():
        found = "is a directory" if path.is_dir() else "does not exist"
        raise WeightsError(f"weights file {path} {found}; check the path")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    states = dict(_states(content, ()))
    if not states:
        raise WeightsError(f"{path} holds no tensors by name; save it with torch.save(model.state_dict(), path)")
    return states


def check_finite(state: Mapping[str, Tensor], label: str) -> None:
    """Check that weights are numbers.

    Raises:
        WeightsError: If some are not finite.
    """
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise WeightsError(f"{label} holds values that are not finite in {some(broken)}; use another checkpoint")


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
        raise WeightsError(
            f"{path} was refused: {unsafe}, and loading it could run code; {_advice(path, 'TorchScript' in unsafe)}"
        ) from problem


def _advice(path: Path, scripted: bool) -> str:
    """Return how the weights of a refused file are saved alone: by a command, if that runs no code of the file."""
    classes = [] if scripted else _unsafe_names(path)
    if not scripted and (not classes or not all(map(_is_harmless, classes))):
        return "where it was made, save the weights alone, with torch.save(model.state_dict(), path)"
    given, to = json.dumps(str(path)), json.dumps(str(path.with_name(f"{path.stem}-weights.pth")))
    if scripted:
        load = f"import torch; c = torch.jit.load({given})"
    else:
        modules = ", ".join(sorted({"torch", *(name.rpartition(".")[0] for name in classes)}))
        load = (
            f"import {modules}; torch.serialization.add_safe_globals([{', '.join(classes)}]); "
            f'c = torch.load({given}, map_location="cpu", weights_only=True)'
        )
    program = (
        f'{load}; w = c.get("state_dict", c.get("model", c)) if isinstance(c, dict) else c; '
        f"torch.save(w if isinstance(w, dict) else w.state_dict(), {to})"
    )
    return f"save the weights alone, which runs none of it: python -c {shlex.quote(program)}"


def _unsafe_names(path: Path) -> list[str]:
    """Return the classes and functions that a file asks for beyond tensors; none if they cannot be listed."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # noqa: BLE001 - torch raises many types, for files in its older format too
        return []


def _is_harmless(name: str) -> bool:
    """Whether a class only holds what a file says of it, so that making one runs no code that the file chose."""
    return name in _HARMLESS or (name.startswith(_HARMLESS_MODULES) and name.rpartition(".")[2][0].isupper())


def _unsafe_content(problem: Exception) -> str | None:
    text = str(problem)
    if "TorchScript" in text:
        return "it is a TorchScript archive"
    if not isinstance(problem, pickle.UnpicklingError) or "Unsupported operand" in text:
        return None
    named = re.search(r"GLOBAL ([\w.]+)", text)
    return f"it holds pickled Python objects ({named[1]})" if named else "it holds pickled Python objects"


def _states(content: Any, keys: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the tensors by name that a checkpoint holds, with where they are."""
    if not isinstance(content, Mapping):
        return
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors:
        yield ".".join(keys), tensors
    for key, value in content.items():
        if isinstance(key, str) and len(keys) < _DEEPEST:
            yield from _states(value, (*keys, key))


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
