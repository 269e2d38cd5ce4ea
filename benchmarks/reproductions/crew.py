"""Do runs in processes, several at a time, each as soon as what it starts from is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import Any

import torch

from autogate.system import usable_cores

from .workbench import Run, Workbench

_bench: Workbench | None = None


def finished(bench: Workbench, jobs: int, wanted: Callable[[], list[Run]]) -> Iterator[tuple[Run, dict[str, Any]]]:
    """Yield runs with what is known of them as they are done.

    Args:
        bench: Does them, in copies of its own.
        jobs: How many at a time.
        wanted: Returns the runs not yet done; asked again after each.
    """
    settings = (bench.source, bench.root, str(bench.device), jobs)
    with ProcessPoolExecutor(jobs, get_context("spawn"), _begin, settings) as pool:
        running: dict[Future[dict[str, Any]], Run] = {}
        while todo := wanted():
            waiting = {run.name for run in todo}
            begun = {run.name for run in running.values()}
            for run in todo:
                if run.name not in begun and not (isinstance(run.start, Run) and run.start.name in waiting):
                    running[pool.submit(_do, run)] = run
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


def _begin(data: str, folder: Any, device: str, jobs: int) -> None:
    global _bench
    torch.set_num_threads(min(torch.get_num_threads(), max(1, usable_cores() // jobs)))
    _bench = Workbench(data, folder, device)


def _do(run: Run) -> dict[str, Any]:
    assert _bench is not None
    return _bench.do(run, say)
