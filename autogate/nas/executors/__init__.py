"""Who trains: this process, processes of this host, or a Ray cluster; workers of other hosts may join any of them."""

from autogate.nas.executors.executor import Executor
from autogate.nas.executors.inline import InlineExecutor
from autogate.nas.executors.processes import ProcessExecutor
from autogate.nas.executors.requests import request_evaluation, wait_for_evaluation
from autogate.nas.executors.selection import check_executor, make_executor

__all__ = [
    "Executor",
    "InlineExecutor",
    "ProcessExecutor",
    "check_executor",
    "make_executor",
    "request_evaluation",
    "wait_for_evaluation",
]
