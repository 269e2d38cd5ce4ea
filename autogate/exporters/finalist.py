"""Export a finalist of a study: rebuild it from its stored weights, and write it with all that is known about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autogate.errors import ExportError
from autogate.exporters.deliver import deliver
from autogate.exporters.exporter import Deliverable, Exporter
from autogate.goals import is_brought
from autogate.nas.evaluating import Task
from autogate.nas.loop import study_latency
from autogate.policy import DENSE, Policy
from autogate.records import ExecutionPlan, FinalistRecord
from autogate.runtimes import CALIBRATION_IMAGES, INT8
from autogate.store import Store, StudyRecord
from autogate.studies import choose, finalist_document, floor_of
from autogate.surgery import compact_form, restore_compact

_VERIFY_IMAGES = 500
_VERIFY_BYTES = 2**29


def export_finalist(
    store: Store,
    study: str,
    finalist: FinalistRecord,
    task: Task,
    to: Path,
    exporters: Sequence[Exporter],
    *,
    seconds: float = 3.0,
) -> dict[str, Any]:
    """Write ``finalist`` to the directory ``to``, verify it there, and return its report.

    Args:
        store: The study database.
        study: Name of the study.
        finalist: What to export.
        task: The study's network, whose weights are replaced by the finalist's, and its data.
        to: Directory to write.
        exporters: The formats to write.
        seconds: Longest time to time each format for, beside the dense network in the same format; 0 for not at all.

    Raises:
        ExportError: If it cannot be written, cannot be expressed, or does not do what the live model does.
    """
    record = store.study(study)
    config, facts = record.config, record.facts
    if facts.target is None or facts.dense is None or facts.task is None:
        raise ExportError(f"study {study!r} is being moved to another device; run `{store.command('resume', study)}`")
    if (reason := _unsupported_reason(exporters, finalist.policy, config.batch_size)) is not None:
        raise ExportError(f"{reason}; {_other_way(store, study, record, exporters)}")
    plan = _plan(store, study, finalist, task)
    compact = restore_finalist(store, study, finalist, task)
    limit = max(1, min(_VERIFY_IMAGES, _VERIFY_BYTES // (4 * math.prod(task.preprocessing.input_shape))))
    images, target = task.data.test.first_images(limit), facts.target.setting
    is_classified = task.data.num_classes is not None and not facts.own_task
    comparison = finalist.comparison
    report = {
        "study": study,
        "label": "predicted" if comparison is None else "measured",
        "setting": (target if comparison is None else comparison.setting).to_json(),
        "result": finalist_document(finalist, config.budgets, floor_of(config, facts)),
        "dense": {**asdict(facts.dense), "measured_ms": None if comparison is None else comparison.dense.to_json()},
        "class_names": list(facts.task.class_names),
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
        task.network.model if is_brought(config.model) else None,
        task.score_output,
        facts.own_task,
        task.data.test.labels[: len(images)] if is_classified else None,
        task.data.train.first_images(CALIBRATION_IMAGES) if target.dtype == INT8 else None,
    )
    dense = compact_form(task.network, DENSE, {}) if seconds else None
    return deliver(item, to, exporters, dense=dense, seconds=seconds)


def restore_finalist(store: Store, study: str, finalist: FinalistRecord, task: Task) -> nn.Module:
    """Return a finalist's compact network with its trained weights, run by the executors it was measured with.

    Args:
        store: The study database.
        study: Name of the study.
        finalist: The finalist.
        task: The study's network, whose weights are replaced by the finalist's.

    Raises:
        StorageError: If the stored weights do not fit the network.
    """
    plan = _plan(store, study, finalist, task)
    return restore_compact(task.network, finalist.policy, store.artifact(finalist.artifact), plan)


def _plan(store: Store, study: str, finalist: FinalistRecord, task: Task) -> ExecutionPlan:
    """Return the executors with which the finalist was measured.

    A finalist of an older version has no plan stored; its study's latency model, which learned from the candidates that
    were measured, chooses as it did then.
    """
    if finalist.plan is not None:
        return finalist.plan
    profile = store.profile(finalist.profile)
    if profile is None:
        return {}
    return study_latency(profile, task.network, store.study(study).facts).plan(finalist.policy)


def _unsupported_reason(exporters: Sequence[Exporter], policy: Policy, batch_size: int) -> str | None:
    reasons = (exporter.unsupported_reason(policy, batch_size) for exporter in exporters)
    return next((reason for reason in reasons if reason is not None), None)


def _other_way(store: Store, study: str, record: StudyRecord, exporters: Sequence[Exporter]) -> str:
    size = record.config.batch_size
    able = [f for f in store.finalists(study) if _unsupported_reason(exporters, f.policy, size) is None]
    best, _ = choose(able, record.config.budgets, record)
    if best is None:
        return "no finalist that meets the budget can be exported"
    return f"the best that can be exported is trial {best.trial}: add --trial {best.trial}"
