"""The worker side: a process that trains the jobs of a study that another process drives."""

from autogate.nas.workers.jobs import run_job
from autogate.nas.workers.ray_job import PARTS, Where, train_one
from autogate.nas.workers.session import WorkerSession
from autogate.nas.workers.worker import THREADS_VARIABLE, load_evaluator, run_worker

__all__ = [
    "PARTS",
    "THREADS_VARIABLE",
    "Where",
    "WorkerSession",
    "load_evaluator",
    "run_job",
    "run_worker",
    "train_one",
]
