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

from autogate.errors import ExportError, PolicyError
from autogate.exporters.exporter import INPUTS_FILE, POLICY_FILE, REPORT_FILE, SCHEMA, WEIGHTS_FILE
from autogate.goals import is_brought
from autogate.models import filled, load_model
from autogate.policy import DENSE, Policy
from autogate.records import Preprocessing, Setting
from autogate.sites import Network, find_sites
from autogate.surgery import attach_gates, canonical, compact_form
from autogate.system import one_line, why_unreadable


@dataclass(frozen=True)
class Exported:
    """An export, rebuilt.

    Attributes:
        gated: The compact gated network with its weights.
        dense: The compact dense network; its weights do not matter for speed.
        network: The traced dense network.
        policy: The policy.
        images: Real preprocessed images, float32 ``[N, C, H, W]``.
        setting: How it was searched and measured.
        report: The report that was written with it.
    """

    gated: nn.Module
    dense: nn.Module
    network: Network
    policy: Policy
    images: torch.Tensor
    setting: Setting
    report: dict[str, Any]


def load_export(path: Path, model: nn.Module | None = None) -> Exported:
    """Rebuild an export from its policy and weights; its program is not loaded.

    Args:
        path: Directory of the export.
        model: The dense network, if it cannot be built by name.

    Raises:
        ExportError: If the directory is no export, or damaged.
    """
    try:
        report = json.loads((path / REPORT_FILE).read_text(encoding="utf-8"))
        policy = Policy.from_json(json.loads((path / POLICY_FILE).read_text(encoding="utf-8")))
        state = safetensors.torch.load_file(str(path / WEIGHTS_FILE))
        images = safetensors.torch.load_file(str(path / INPUTS_FILE))["images"]
        if report["schema"] != SCHEMA:
            raise ExportError(f"{path} has schema {report['schema']!r}, not {SCHEMA}; export again")
        shape = Preprocessing.from_json(report["preprocessing"]).input_shape
        name, classes = str(report["model"]), report["num_classes"]
        setting = Setting.from_json(report["setting"])
    except FileNotFoundError as error:
        raise ExportError(f"{path} is not an export: {Path(error.filename or path).name} is missing") from None
    except KeyError as error:
        raise ExportError(f"{path} is damaged: its report lacks {error}; export again") from None
    except PolicyError as error:
        raise ExportError(f"{path / POLICY_FILE}: {error}") from None
    except TypeError:  # what Python says of it means nothing to a user
        raise ExportError(f"{path} is damaged: its report has an entry of another type; export again") from None
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise ExportError(f"{path} is damaged: {why_unreadable(error, 150)}; export again") from None
    if model is None and is_brought(name):
        raise ExportError(f"{name} was given as a module; measure it with autogate.measure({str(path)!r}, model=…)")
    network = find_sites(model or load_model(name, num_classes=classes).module, shape)
    try:
        policy = canonical(policy, network.sites, strict=True)
    except PolicyError as error:
        raise ExportError(f"{path / POLICY_FILE}: {error}") from None
    dense = compact_form(network, DENSE, {})
    gated = compact_form(network, policy, attach_gates(network, policy), plan=report.get("executors", {}))
    try:
        gated.load_state_dict(filled(state, gated))
    except RuntimeError as error:
        raise ExportError(f"the weights in {path} do not fit its policy: {one_line(error, 150)}") from None
    return Exported(gated, dense, network, policy, images, setting, report)
