"""Write a finished policy in one or more formats, load each again, and compare it with the live model."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from autogate.errors import AutoGateError, DeviceError, ExportError
from autogate.exporters.exporter import (
    BASE_FILES,
    INPUTS_FILE,
    POLICY_FILE,
    REPORT_FILE,
    SCHEMA,
    WEIGHTS_FILE,
    Deliverable,
    Exporter,
    Loaded,
)
from autogate.exporters.load import load_export
from autogate.exporters.registry import EXPORTERS
from autogate.exporters.timing import time_beside_dense, untimed_reason
from autogate.exporters.verification import verify, verify_quantised
from autogate.models import stored_once
from autogate.records import Setting
from autogate.system import one_line

_TOLERANCE = 1e-4
_INPUT_BYTES = 4 * 2**20


def deliver(
    item: Deliverable,
    to: Path,
    exporters: Sequence[Exporter],
    *,
    dense: nn.Module | None = None,
    seconds: float = 3.0,
) -> dict[str, Any]:
    """Write ``item`` to the directory ``to``, verify it there, and return the report.

    Policy, weights and a few inputs are always written, the network in the formats of ``exporters`` besides. The
    directory is written whole or not at all.

    Args:
        item: What is to be written.
        to: The directory.
        exporters: The formats.
        dense: The compact dense network, beside which each format is timed; None to time none.
        seconds: Longest time for the passes of each.

    Raises:
        ExportError: If it cannot be written, or what was written does not do what the live model does.
    """
    compact = item.compact.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    item = replace(item, compact=compact)
    _refuse_foreign(to, exporters)
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{to.name}-", dir=to.parent))
    except OSError as error:
        raise ExportError(f"cannot write to {to.parent}: {error.strerror}; choose another directory") from None
    try:
        report = _write(item, draft, exporters)
        if dense is not None:
            for exporter in exporters:
                report["formats"][exporter.name] |= _timed(item, dense, exporter, draft, seconds)
        (draft / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
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


def _refuse_foreign(to: Path, exporters: Sequence[Exporter]) -> None:
    """Refuse to replace anything but an earlier export, in whatever formats there are."""
    ours = {*BASE_FILES, *(name for exporter in (*EXPORTERS.values(), *exporters) for name in exporter.files)}
    try:
        foreign = to.exists() and (not to.is_dir() or {path.name for path in to.iterdir()} - ours)
    except OSError as error:
        raise ExportError(f"cannot read {to}: {error.strerror}; choose another directory with --to") from None
    if foreign:
        raise ExportError(f"{to} holds something else than an export of autogate; choose another directory with --to")


def _let_others_read(folder: Path) -> None:
    """Give a private temporary directory the permissions of an ordinary one."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _write(item: Deliverable, draft: Path, exporters: Sequence[Exporter]) -> dict[str, Any]:
    """Write an export into a folder, verify it, and return the report."""
    report = _write_unverified(item, draft, exporters)
    formats, images = report["formats"], item.images
    rebuilt = load_export(draft, item.dense).gated
    worst = verify(item, "the network rebuilt from policy and weights", rebuilt, _TOLERANCE).max_difference
    for exporter in exporters:
        loaded, what = _load(exporter, draft), f"format {exporter.name}"
        if item.calibration is not None and exporter.quantises:
            found_quantised = verify_quantised(item, what, loaded)
            formats[exporter.name] |= {"accuracy": found_quantised.accuracy, "quantised": asdict(found_quantised)}
            continue
        found = verify(item, what, loaded, exporter.tolerance, rounds_alike=exporter.rounds_alike)
        formats[exporter.name] |= asdict(found)
        worst = max(worst, found.max_difference)
    report["verified"] = {"images": len(images), "max_difference": worst, "changed_predictions": 0}
    return report


def _timed(item: Deliverable, dense: nn.Module, exporter: Exporter, draft: Path, seconds: float) -> dict[str, Any]:
    """Return what a written format takes beside dense in the same one, or why that is not known."""
    searched = Setting.from_json(item.report["setting"])
    if (reason := untimed_reason(exporter, searched)) is not None:
        return {"measured": None, "untimed": reason}

    def write(twin: Deliverable, folder: Path) -> None:
        _write_unverified(twin, folder, [exporter])

    try:
        return {"measured": time_beside_dense(item, dense, exporter, draft, write, searched, seconds)}
    except (DeviceError, ExportError) as error:
        return {"measured": None, "untimed": one_line(error)}


def _write_unverified(item: Deliverable, draft: Path, exporters: Sequence[Exporter]) -> dict[str, Any]:
    (draft / POLICY_FILE).write_text(json.dumps(item.policy.to_json(), indent=2) + "\n", encoding="utf-8")
    safetensors.torch.save_file(stored_once(item.compact), str(draft / WEIGHTS_FILE))
    images = item.images
    kept = max(item.batch_size, min(len(images), _INPUT_BYTES // (images[0].numel() * 4)))
    safetensors.torch.save_file({"images": images[:kept].contiguous()}, str(draft / INPUTS_FILE))
    formats = {exporter.name: _write_format(exporter, item, draft) for exporter in exporters}
    report = {
        "schema": SCHEMA,
        **item.report,
        "model": item.model,
        "num_classes": item.num_classes,
        "preprocessing": item.preprocessing.to_json(),
        "formats": formats,
    }
    # Reloading needs the report; what the comparison finds is added afterwards.
    (draft / REPORT_FILE).write_text(json.dumps(report), encoding="utf-8")
    return report


def _write_format(exporter: Exporter, item: Deliverable, draft: Path) -> dict[str, Any]:
    """Write one format, and return its part of the report: its files, and what the exporter says."""
    before = {path.name for path in draft.iterdir()}
    try:
        facts = exporter.write(item, draft)
        json.dumps(facts)
    except (AutoGateError, OSError):
        raise
    except Exception as error:  # converters raise what they like
        raise ExportError(f"format {exporter.name} cannot be written: {one_line(error, with_type=True)}") from error
    written = {path.name for path in draft.iterdir()} - before
    if written != set(exporter.files):
        raise ExportError(
            f"format {exporter.name} wrote {', '.join(sorted(written)) or 'nothing'}, and says that it writes "
            f"{', '.join(exporter.files)}; correct its `files`"
        )
    size = sum(path.stat().st_size for name in written for path in _files_of(draft / name))
    return {"files": list(exporter.files), "bytes": size, **facts}


def _files_of(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def _load(exporter: Exporter, draft: Path) -> Loaded:
    try:
        return exporter.load(draft)
    except AutoGateError:
        raise
    except Exception as error:  # runtimes raise what they like
        reason = one_line(error, with_type=True)
        raise ExportError(f"format {exporter.name} was written and cannot be loaded: {reason}") from error
