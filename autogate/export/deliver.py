"""Write a finished policy as a deliverable, reload it, and compare it with the live model."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from autogate.errors import ExportError
from autogate.gates import get_family
from autogate.policy import Policy
from autogate.records import Preprocessing
from autogate.sites import Network

SCHEMA = "autogate.export/1"
POLICY_FILE, WEIGHTS_FILE, PROGRAM_FILE, REPORT_FILE, INPUTS_FILE = (
    "policy.json", "model.safetensors", "model.pt2", "report.json", "inputs.safetensors",
)  # fmt: skip
_TOLERANCE = 1e-4
_VERIFY_IMAGES = 500
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
    """

    compact: nn.Module
    policy: Policy
    model: str
    num_classes: int
    preprocessing: Preprocessing
    batch_size: int
    images: torch.Tensor
    report: Mapping[str, Any]


def refusal(policy: Policy, network: Network, batch_size: int) -> str | None:
    """Return why ``policy`` cannot be exported as a program, or None if it can."""
    for site, gate in policy:
        if not get_family(gate.family).varies:
            continue
        if batch_size > 1:
            return (
                f"{gate.family} at {site} decides per image, which a program of batch {batch_size} cannot; use batch 1"
            )
        if network.sites[site].kind == "map":
            return f"{gate.family} at {site} chooses a varying number of channels, which torch.export cannot express"
    return None


def deliver(item: Deliverable, to: Path) -> dict[str, Any]:
    """Write ``item`` to the directory ``to``, verify it there, and return the report.

    The directory is written whole or not at all.

    Raises:
        ExportError: If it cannot be written, or what was written does not do what the live model does.
    """
    compact = item.compact.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    images = item.images[:_VERIFY_IMAGES]
    if to.exists() and not (to.is_dir() and (not any(to.iterdir()) or (to / POLICY_FILE).exists())):
        raise ExportError(f"{to} exists and is not an export of autogate; choose another directory with --to")
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
    except OSError as error:
        raise ExportError(f"cannot write to {to}: {error.strerror}; free space or choose another directory") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return report


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
    dynamic = _export_program(compact, item, images, draft / PROGRAM_FILE)
    report = {
        "schema": SCHEMA,
        **item.report,
        "model": item.model,
        "num_classes": item.num_classes,
        "preprocessing": item.preprocessing.to_json(),
        "program_batch": "any" if dynamic else item.batch_size,
    }
    report["verified"] = _verify(compact, images, draft, item.batch_size)
    (draft / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _export_program(compact: nn.Module, item: Deliverable, images: torch.Tensor, path: Path) -> bool:
    """Write the program; return whether it takes any batch size.

    Static policies leave an ordinary network, whose batch can stay free; gates that choose per image are
    exported for the batch size they were searched at.
    """
    dynamic = all(gate.family in ("drop", "magnitude") for _, gate in item.policy)
    example = _batch(images, 0, 2 if dynamic else item.batch_size)
    shapes = ({0: torch.export.Dim("batch", min=1)},) if dynamic else None
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(compact, (example,), dynamic_shapes=shapes, strict=False)
            torch.export.save(program, str(path))
    except OSError:
        raise
    except Exception as error:  # torch.export raises many kinds; all mean that this network cannot be exported
        raise ExportError(f"torch.export refuses this network: {' '.join(str(error).split())[:200]}") from error
    return dynamic


def _batch(images: torch.Tensor, start: int, size: int) -> torch.Tensor:
    """``size`` images from ``start`` on, going round if there are too few."""
    index = torch.arange(start, start + size) % len(images)
    return images[index]


def _verify(compact: nn.Module, images: torch.Tensor, draft: Path, batch_size: int) -> dict[str, Any]:
    """Load the program just written and compare it with the live model on every image."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.load(str(draft / PROGRAM_FILE)).module()
        worst, changed = 0.0, 0
        for start in range(0, len(images), batch_size):
            batch = _batch(images, start, batch_size)
            live, loaded = compact(batch), program(batch)
            worst = max(worst, float((live - loaded).abs().max()))
            changed += int((live.argmax(1) != loaded.argmax(1)).sum())
    if worst > _TOLERANCE or changed:
        raise ExportError(
            f"the exported program differs from the live model by {worst:.2g} and changes {changed} of {len(images)} "
            "predictions; please report this network"
        )
    return {"images": len(images), "max_difference": worst, "changed_predictions": changed}
