"""Export a finalist of a study: rebuild it from its stored weights, and write it with all that is known about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autogate.errors import ExportError
from autogate.exporters.deliver import deliver
from autogate.exporters.exporter import Deliverable, Exporter
from autogate.goals import SearchConfig
from autogate.latency.model import LatencyModel
from autogate.nas.evaluating import Task, unpack
from autogate.policy import Policy
from autogate.records import ExecutionPlan, FinalistRecord
from autogate.store import Store
from autogate.studies import choose, finalist_document, floor_of
from autogate.surgery import attach_gates, by_path, compact_form

_VERIFY_IMAGES = 500


def export_finalist(
    store: Store, study: str, finalist: FinalistRecord, task: Task, to: Path, exporters: Sequence[Exporter]
) -> dict[str, Any]:
    """Write ``finalist`` to the directory ``to``, verify it there, and return its report.

    Args:
        store: The study database.
        study: Name of the study.
        finalist: What to export.
        task: The study's network, whose weights are replaced by the finalist's, and its data.
        to: Directory to write.
        exporters: The formats to write.

    Raises:
        ExportError: If it cannot be written, cannot be expressed, or does not do what the live model does.
    """
    stored, facts = store.study(study)
    config = SearchConfig.model_validate(stored)
    if (reason := _unsupported_reason(exporters, finalist.policy, config.batch_size)) is not None:
        raise ExportError(f"{reason}; {_other_way(store, study, config, facts, exporters)}")
    plan = _plan(store, finalist, task)
    compact = rebuild(store, finalist, task, plan)
    images = torch.cat([batch for batch, _ in task.data.test.batches(100, limit=_VERIFY_IMAGES)])
    comparison = finalist.comparison
    report = {
        "study": study,
        "label": "predicted" if comparison is None else "measured",
        "setting": facts["setting"] if comparison is None else comparison.setting.to_json(),
        "result": finalist_document(finalist, config.budgets, floor_of(config, facts)),
        "dense": {**facts["dense"], "measured_ms": None if comparison is None else comparison.dense.to_json()},
        "class_names": facts["class_names"],
        "executors": dict(plan),
        "torch": torch.__version__,
    }
    item = Deliverable(
        compact,
        finalist.policy,
        config.model,
        task.data.num_classes,
        task.preprocessing,
        config.batch_size,
        images,
        report,
        task.network.model if config.model.startswith("python:") else None,
    )
    return deliver(item, to, exporters)


def rebuild(store: Store, finalist: FinalistRecord, task: Task, plan: ExecutionPlan) -> nn.Module:
    """Load a finalist's weights into the task's network and return its compact form."""
    gates = attach_gates(task.network, finalist.policy)
    unpack(store.artifact(finalist.artifact), task.network.model, by_path(gates))
    return compact_form(task.network, finalist.policy, gates, plan=plan)


def _plan(store: Store, finalist: FinalistRecord, task: Task) -> ExecutionPlan:
    """Return the executors with which the finalist was measured: those its profile found fastest."""
    profile = store.profile(finalist.profile)
    if profile is None:
        return {}
    return LatencyModel(profile, task.network).plan(finalist.policy)


def _unsupported_reason(exporters: Sequence[Exporter], policy: Policy, batch_size: int) -> str | None:
    reasons = (exporter.unsupported_reason(policy, batch_size) for exporter in exporters)
    return next((reason for reason in reasons if reason is not None), None)


def _other_way(
    store: Store, study: str, config: SearchConfig, facts: dict[str, Any], exporters: Sequence[Exporter]
) -> str:
    able = [f for f in store.finalists(study) if _unsupported_reason(exporters, f.policy, config.batch_size) is None]
    best, _ = choose(able, config.budgets, config, facts)
    if best is None:
        return "no finalist that meets the budget can be exported"
    return f"the best that can be exported is trial {best.trial}: add --trial {best.trial}"
