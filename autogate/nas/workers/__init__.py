"""The worker side: a process that trains the jobs of a study that another process drives."""

from autogate.nas.workers.jobs import do_job
from autogate.nas.workers.ray_job import PARTS, Where, train_one
from autogate.nas.workers.session import Presence
from autogate.nas.workers.worker import THREADS_VARIABLE, judge_for, work

__all__ = ["PARTS", "Presence", "THREADS_VARIABLE", "Where", "do_job", "judge_for", "train_one", "work"]
