"""A team of processes on this host: one per worker, each with a GPU or its share of the CPU's threads."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from types import TracebackType
from typing import IO

from autogate.errors import TrainingError
from autogate.nas.executors.executor import Executor
from autogate.nas.executors.module_paths import module_paths
from autogate.nas.workers import THREADS_VARIABLE
from autogate.store import STORAGE_VARIABLE, Store
from autogate.studies import Reporter
from autogate.system import new_id

_WAIT_S = 0.05
_STOP_S = 20.0
# Workers that die before they have taken a job say that none can live.
_MOST_STILLBORN = 3


@dataclass
class _Process:
    id: str
    process: subprocess.Popen[bytes]
    said: IO[bytes]
    place: int


class ProcessExecutor(Executor):
    """Trains in processes that it starts, looks after and replaces.

    Args:
        store: The study database.
        study: Name of the study.
        workers: Number of processes.
        gpus: Names of the GPUs, as CUDA knows them, one per worker; empty to train on the CPU.
        threads: CPU threads of all workers together.
        reporter: Receives a note for every worker that died.
    """

    def __init__(
        self, store: Store, study: str, workers: int, gpus: list[str], threads: int, reporter: Reporter
    ) -> None:
        super().__init__(store, study)
        self._count = workers
        self._gpus = gpus
        self._threads = max(1, threads // max(1, workers))
        self._reporter = reporter
        self._processes: list[_Process] = []
        self._stillborn = 0

    def __enter__(self) -> ProcessExecutor:
        self._processes = [self._start(place) for place in range(self._count)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self._processes:
            if one.process.stdin is not None:
                one.process.stdin.close()  # which tells it to go
        end_s = time.monotonic() + _STOP_S
        for one in self._processes:
            try:
                one.process.wait(max(0.1, end_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
            one.said.close()

    def capacity(self) -> int:
        """One per worker and some that wait, so that no worker waits for the driver."""
        return self._count + max(1, self._count // 2) + self._joined()

    def work(self) -> None:
        """Wait a moment; replace workers that died, and free what they held.

        Raises:
            TrainingError: If workers die before they take a job.
        """
        time.sleep(_WAIT_S)
        for i, one in enumerate(self._processes):
            if one.process.poll() is not None:
                self._bury(one)
                self._processes[i] = self._start(one.place)

    def _start(self, place: int) -> _Process:
        """Start a worker; it learns where the database is from its environment, which others cannot read."""
        worker = new_id()
        environment = {
            **os.environ,
            STORAGE_VARIABLE: self.store.url,
            THREADS_VARIABLE: str(self._threads),
            "OMP_NUM_THREADS": str(self._threads),
            "PYTHONPATH": os.pathsep.join(module_paths()),
        }
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[place]
        said = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        # It sees one GPU, which it calls the first.
        device = ["--train-device", "cuda:0"] if self._gpus else []
        command = [sys.executable, "-m", "autogate.cli.main", "worker", "--as", worker, *device, "--", self.study]
        process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        return _Process(worker, process, said, place)

    def _bury(self, one: _Process) -> None:
        held = one.id in self.store.holders(self.study)
        self.store.release(one.id, counts=True)
        self.store.remove_worker(one.id)
        how = _how_it_ended(one)
        self._stillborn = 0 if held else self._stillborn + 1
        if self._stillborn >= _MOST_STILLBORN:
            raise TrainingError(f"{self._stillborn} workers in a row exited before training; the last one: {how}")
        self._reporter.note(f"replaced a worker that ended: {how}")


def _how_it_ended(one: _Process) -> str:
    one.said.seek(0)
    lines = one.said.read().decode(errors="replace").strip().splitlines()
    one.said.close()
    code = one.process.returncode
    ended = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return f"{ended}: {lines[-1].removeprefix('autogate: ')[:300]}" if lines else ended
