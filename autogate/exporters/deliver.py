"""Write a finished policy as a deliverable, reload it, and compare it with the live model."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from autogate.errors import ExportError
from autogate.exporters.files import (
    ALL_FILES,
    INPUTS_FILE,
    POLICY_FILE,
    PROGRAM_FILE,
    REPORT_FILE,
    SCHEMA,
    WEIGHTS_FILE,
)
from autogate.exporters.load import load_export
from autogate.exporters.program import program_of
from autogate.gates import get_family
from autogate.policy import Policy
from autogate.records import Preprocessing
from autogate.system import one_line

_TOLERANCE = 1e-4
_INPUT_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Deliverable:
    """What is to be exported.

    Attributes:
        compact: The compact network, on the CPU.
        policy: Its policy.
        model: The dense network's name, as it can be loaded again.
        num_classes: Outputs of the classifier.
        preprocessing: How an image becomes an input.
        batch_size: Images per call.
        images: Real preprocessed images, float32 ``[N, 3, S, S]``, to verify with.
        report: What is known about it: numbers with their identity.
        dense: The dense network, if it cannot be loaded by name.
    """

    compact: nn.Module
    policy: Policy
    model: str
    num_classes: int
    preprocessing: Preprocessing
    batch_size: int
    images: torch.Tensor
    report: Mapping[str, Any]
    dense: nn.Module | None = None


def unsupported_reason(policy: Policy, batch_size: int) -> str | None:
    """Return why ``policy`` cannot be exported as a program, or None if it can."""
    varying = next((f"{gate.family} at {site}" for site, gate in policy if get_family(gate.family).varies), None)
    if varying is None or batch_size == 1:
        return None
    return f"{varying} decides per image, which a program of batch {batch_size} cannot; search with --batch-size 1"


def deliver(item: Deliverable, to: Path) -> dict[str, Any]:
    """Write ``item`` to the directory ``to``, verify it there, and return the report.

    The directory is written whole or not at all.

    Raises:
        ExportError: If it cannot be written, or what was written does not do what the live model does.
    """
    compact = item.compact.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    images = item.images
    _refuse_foreign(to)
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{to.name}-", dir=to.parent))
    except OSError as error:
        raise ExportError(f"cannot write to {to.parent}: {error.strerror}; choose another directory") from None
    try:
        report = _write(item, compact, images, draft)
        _let_others_read(draft)
        if to.exists():
            shutil.rmtree(to)
        draft.rename(to)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or one_line(error, 150)
        raise ExportError(f"cannot write to {to}: {reason}; free space or choose another directory") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return report


def _refuse_foreign(to: Path) -> None:
    """Refuse to replace anything but an earlier export."""
    try:
        foreign = to.exists() and (not to.is_dir() or {path.name for path in to.iterdir()} - {*ALL_FILES})
    except OSError as error:
        raise ExportError(f"cannot read {to}: {error.strerror}; choose another directory with --to") from None
    if foreign:
        raise ExportError(f"{to} holds something else than an export of autogate; choose another directory with --to")


def _let_others_read(folder: Path) -> None:
    """Give a private temporary directory the permissions of an ordinary one."""
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)


def _write(item: Deliverable, compact: nn.Module, images: torch.Tensor, draft: Path) -> dict[str, Any]:
    (draft / POLICY_FILE).write_text(json.dumps(item.policy.to_json(), indent=2) + "\n", encoding="utf-8")
    state = {name: value.contiguous() for name, value in compact.state_dict().items()}
    safetensors.torch.save_file(state, str(draft / WEIGHTS_FILE))
    kept = max(item.batch_size, min(len(images), _INPUT_BYTES // (images[0].numel() * 4)))
    safetensors.torch.save_file({"images": images[:kept].contiguous()}, str(draft / INPUTS_FILE))
    dynamic = _write_program(compact, item, images, draft / PROGRAM_FILE)
    report = {
        "schema": SCHEMA,
        **item.report,
        "model": item.model,
        "num_classes": item.num_classes,
        "preprocessing": item.preprocessing.to_json(),
        "program_batch": "any" if dynamic else item.batch_size,
    }
    # Reloading needs the report, which then learns how that went.
    (draft / REPORT_FILE).write_text(json.dumps(report), encoding="utf-8")
    report["verified"] = _verify(item, compact, images, draft)
    (draft / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _write_program(compact: nn.Module, item: Deliverable, images: torch.Tensor, path: Path) -> bool:
    """Write the program; return whether it takes any batch size.

    Static policies leave an ordinary network, whose batch can stay free; gates that choose per image are
    exported for the batch size they were searched at.
    """
    any_batch = all(get_family(gate.family).is_static for _, gate in item.policy)
    path.write_bytes(program_of(compact, _batch(images, 0, 2 if any_batch else item.batch_size), any_batch))
    return any_batch


def _batch(images: torch.Tensor, start: int, size: int) -> torch.Tensor:
    """``size`` images from ``start`` on, going round if there are too few."""
    index = torch.arange(start, start + size) % len(images)
    return images[index]


def _verify(item: Deliverable, compact: nn.Module, images: torch.Tensor, draft: Path) -> dict[str, Any]:
    """Load back the program, and the network from policy and weights; compare both with the live one on every image."""
    rebuilt = load_export(draft, item.dense).gated
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.load(str(draft / PROGRAM_FILE)).module()
        differences, changed = [0.0], 0
        for start in range(0, len(images), item.batch_size):
            batch = _batch(images, start, item.batch_size)
            live = compact(batch)
            for loaded in (program(batch), rebuilt(batch)):
                differences.append(float((live - loaded).abs().max()))
                changed += int((live.argmax(1) != loaded.argmax(1)).sum())
    worst = max(differences, key=lambda difference: (math.isnan(difference), difference))
    if changed or not worst <= _TOLERANCE:  # nan is no agreement either
        raise ExportError(
            f"what was exported differs from the live model by {worst:.2g} and changes {changed} of {len(images)} "
            "predictions; please report this network"
        )
    return {"images": len(images), "max_difference": worst, "changed_predictions": changed}
