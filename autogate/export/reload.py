"""Rebuild the networks of an export: the gated one, and the dense one to measure beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from autogate.errors import ExportError
from autogate.export.deliver import INPUTS_FILE, POLICY_FILE, REPORT_FILE, SCHEMA, WEIGHTS_FILE
from autogate.models import load_model
from autogate.policy import DENSE, Policy
from autogate.sites import find_sites
from autogate.surgery import attach_gates, compact_form


@dataclass(frozen=True)
class Exported:
    """An export, rebuilt.

    Attributes:
        gated: The compact gated network with its weights.
        dense: The compact dense network; its weights are random, since they do not matter for speed.
        policy: The policy.
        images: Real preprocessed images, float32 ``[N, 3, S, S]``.
        report: The report that was written with it.
    """

    gated: nn.Module
    dense: nn.Module
    policy: Policy
    images: torch.Tensor
    report: dict[str, Any]


def reload(path: Path) -> Exported:
    """Rebuild an export from its policy and weights; its program is not loaded.

    Raises:
        ExportError: If the directory is no export, or damaged.
    """
    try:
        report = json.loads((path / REPORT_FILE).read_text(encoding="utf-8"))
        policy = Policy.from_json(json.loads((path / POLICY_FILE).read_text(encoding="utf-8")))
        state = safetensors.torch.load_file(str(path / WEIGHTS_FILE))
        images = safetensors.torch.load_file(str(path / INPUTS_FILE))["images"]
    except FileNotFoundError as error:
        raise ExportError(f"{path} is not an export: {Path(error.filename or path).name} is missing") from None
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ExportError(f"{path} is damaged: {' '.join(str(error).split())[:150]}; export again") from None
    if report.get("schema") != SCHEMA:
        raise ExportError(f"{path} has schema {report.get('schema')!r}, not {SCHEMA}; export again")
    model = load_model(report["model"], num_classes=report["num_classes"]).module
    size = report["preprocessing"]["input_size"]
    network = find_sites(model, (3, size, size))
    dense = compact_form(network, DENSE, {})
    gated = compact_form(network, policy, attach_gates(network, policy))
    try:
        gated.load_state_dict(state)
    except RuntimeError as error:
        raise ExportError(
            f"the weights in {path} do not fit its policy: {' '.join(str(error).split())[:150]}"
        ) from None
    return Exported(gated, dense, policy, images, report)
