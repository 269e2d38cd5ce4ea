"""What runs on a Ray cluster: one job, by the same code that every worker runs, in a process that is used again."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch import nn

from autogate.errors import AutoGateError
from autogate.goals import SearchConfig
from autogate.nas.evaluating import Evaluator, TrainingEvaluator
from autogate.nas.workers.jobs import run_job
from autogate.nas.workers.session import WorkerSession
from autogate.nas.workers.worker import check_code, load_evaluator
from autogate.records import EvaluationKey
from autogate.store import Store, check_same_host
from autogate.studies import Reporter
from autogate.system import code_version
from autogate.training import TrainingCallback, score

_WAIT_S = 0.5
_LOOK_IMAGES = 2000
# Parts of a training that is shorter than this many epochs; a longer one has its epochs.
PARTS = 4
Report = Callable[[int, float], None]
"""Called at the end of each part of a training with its number and the accuracy so far, as a fraction."""


@dataclass(frozen=True)
class Where:
    """Where the study is, and what to train on.

    Attributes:
        url: SQLAlchemy URL of the database.
        study: Name of the study.
        device: ``cpu`` or ``cuda``, of which Ray shows each process its own.
        threads: CPU threads of a training.
        paths: Where the driver looks for modules.
        folder: The driver's current directory, which relative paths start from where there is one of that name.
        host: The driver's host, if no other may open the database.
    """

    url: str = field(repr=False)  # it may hold a password
    study: str
    device: str
    threads: int
    paths: tuple[str, ...]
    folder: str
    host: str | None = None


def train_one(key: EvaluationKey, where: Where, report: Report | None = None) -> None:
    """Train one candidate, unless somebody else has or does; return when its job is over, done or hopeless.

    Args:
        key: Key of its evaluation.
        where: Where the study is.
        report: Called with the accuracy so far; may end the training by raising an error. None for no reports.

    Raises:
        StudyError: If this host, or the code on it, cannot train for the study.
        StorageError: If the database is not here, or stays out of reach.
    """
    if where.host is not None:
        check_same_host(where.study, where.host)
    for path in where.paths:
        if path not in sys.path and Path(path).is_dir():
            sys.path.append(path)
    if Path(where.folder).is_dir():
        os.chdir(where.folder)
    torch.set_num_threads(where.threads)
    store, _ = _study(where.url, where.study)
    check_code(store, where.study)
    with WorkerSession(store, where.study, where.device, joined=False) as session:
        try:
            evaluator = _cached_evaluator(where, session)
        except AutoGateError as error:
            if (wanted := store.find_job(key)) is not None:
                store.fail_job(wanted.id, f"on {socket.gethostname()}: {error}")
            return
        parts = Parts(evaluator, report) if report is not None and isinstance(evaluator, TrainingEvaluator) else None
        while (evaluation := store.find_evaluation(key)) is None:
            job = store.find_job(key)
            if job is None or job.failure_reason is not None:
                return
            taken = session.take(job.id)
            if taken is None:
                time.sleep(_WAIT_S)
            else:
                run_job(store, evaluator, taken, session, Reporter(), parts)
    if report is not None:
        report(parts.count if parts is not None else PARTS, evaluation.val_accuracy)


class Parts(TrainingCallback):
    """Reports the accuracy on some validation images at the end of every part of a training.

    Args:
        evaluator: Knows the data and the recipe.
        report: Called with the part's number and the accuracy.
    """

    def __init__(self, evaluator: TrainingEvaluator, report: Report) -> None:
        self._evaluator = evaluator
        self._report = report
        images, epoch = evaluator.recipes["short"].images, len(evaluator.task.data.train)
        self.count = max(PARTS, images // epoch)
        self._ends = [images * part // self.count for part in range(1, self.count)]

    def is_due(self, images: int) -> bool:
        """Whether a part of the training ends with ``images`` seen."""
        return bool(self._ends) and images >= self._ends[0]

    def reach(self, images: int, form: nn.Module) -> None:
        """Look at the network, and say how good it is."""
        while self.is_due(images):
            self._ends.pop(0)
        task = self._evaluator.task
        limit, output = min(_LOOK_IMAGES, len(task.data.val)), self._evaluator.backend.output
        accuracy, _ = score(form, task.data.val, device=task.trainer, limit=limit, output=output)
        self._report(self.count - 1 - len(self._ends), accuracy)


@cache
def _study(url: str, study: str) -> tuple[Store, SearchConfig]:
    store = Store(url)
    return store, store.study(study).config


_evaluators: dict[tuple[Where, str], Evaluator] = {}


def _cached_evaluator(where: Where, session: WorkerSession) -> Evaluator:
    """Return what trains; network and data are loaded once per process."""
    key = where, code_version()
    if key not in _evaluators:
        store, config = _study(where.url, where.study)
        _evaluators.clear()
        _evaluators[key] = load_evaluator(store, where.study, config, Reporter(), session, where.device)
    return _evaluators[key]
