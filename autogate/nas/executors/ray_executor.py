"""A team on a Ray cluster: Ray Tune places trainings, our own searcher asks and tells the study in the database.

Tune's own state is thrown away: what counts is in the database, where any team can go on.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from types import TracebackType
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from autogate.errors import AutoGateError, NoStudiesError, StorageError, StudyError, TrainingError
from autogate.goals import SearchConfig
from autogate.nas.executors.executor import Executor, JobSource, release_dead_workers
from autogate.nas.executors.module_paths import module_paths
from autogate.nas.executors.ray_cluster import connect
from autogate.nas.workers import PARTS, Where, train_one
from autogate.records import MOST_ATTEMPTS, EvaluationKey
from autogate.store import Store, this_host
from autogate.units import score_text

_WAIT_S = 0.2
_REDUCTION = 3
_METRIC, _PART, _REASON = "val_accuracy", "part", "reason"


class RayExecutor(Executor):
    """Trains on a cluster.

    Args:
        store: The study database.
        study: Name of the study.
        config: Its configuration.
        trainer: Device that trains.
    """

    def __init__(self, store: Store, study: str, config: SearchConfig, trainer: torch.device) -> None:
        super().__init__(store, study)
        self._config = config
        on_gpu = trainer.type == "cuda"
        self._gpus = config.gpus_per_trial if config.gpus_per_trial is not None else float(on_gpu)
        self._cpus = config.cpus_per_trial
        self._where = Where(
            store.url,
            study,
            "cuda" if self._gpus > 0 else "cpu",
            max(1, int(self._cpus)),
            tuple(module_paths()),
            str(Path.cwd()),
            this_host() if self._is_file else None,
        )
        self._tasks: dict[int, Any] = {}
        self._started = False

    def __enter__(self) -> RayExecutor:
        self._started = connect(self._config.ray_address, self.study)
        try:
            self._check_hosts()
        except StorageError:
            self._leave_cluster()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave_cluster()

    def _leave_cluster(self) -> None:
        if self._started:
            ray.shutdown()

    def capacity(self) -> int:
        """As many as the cluster has room for, unless fewer are wanted."""
        have = ray.cluster_resources()  # type: ignore[no-untyped-call]
        room = int(have.get("CPU", 1) // self._cpus) if self._cpus > 0 else self._most()
        if self._gpus > 0:
            room = min(room, int(have.get("GPU", 0) // self._gpus))
        return max(1, min(room, self._most()))

    def work(self) -> None:
        """Have every free job trained by a task of its own; wait a moment."""
        train = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=MOST_ATTEMPTS - 1)(train_one)
        for job in self.store.jobs(self.study):
            if job.id not in self._tasks and not job.held and job.failure_reason is None:
                self._tasks[job.id] = train.remote(job.key, self._where)
        done, _ = ray.wait(list(self._tasks.values()), timeout=_WAIT_S) if self._tasks else ([], [])
        for job_id, task in list(self._tasks.items()):
            if task in done:
                del self._tasks[job_id]
                _result_of(task)
        release_dead_workers(self.store, self.study)

    def run(self, driver: JobSource) -> None:
        """Search with Ray Tune until the driver's limits are reached."""
        driver.collect()
        if driver.is_over:
            return
        searcher = StudySearcher(driver, self.store)
        folder = tempfile.mkdtemp(prefix="autogate-ray-")
        # Interruptions are ours, and nothing of Tune's is worth a file.
        os.environ |= {
            "TUNE_DISABLE_SIGINT_HANDLER": "1",
            "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
            "RAY_CHDIR_TO_TRIAL_DIR": "0",
        }
        try:
            tuner = tune.Tuner(
                tune.with_resources(
                    tune.with_parameters(_trainable, where=self._where), {"cpu": self._cpus, "gpu": self._gpus}
                ),
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=self._scheduler(driver),
                    num_samples=-1,
                    max_concurrent_trials=self._config.workers,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name="study",
                    storage_path=folder,
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=MOST_ATTEMPTS - 1),
                ),
            )
            with redirect_stdout(sys.stderr):  # ours has one document, or nothing
                tuner.fit()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if searcher.failure is not None:
            raise searcher.failure
        driver.collect()

    def _scheduler(self, driver: JobSource) -> TrialScheduler:
        """Stop weak candidates early, where accuracy alone decides among those within the budget."""
        if driver.objective.mode != "budget":
            return FIFOScheduler()  # type: ignore[no-untyped-call]
        epochs = self._config.trial_epochs or 1
        return ASHAScheduler(
            time_attr=_PART,
            metric=_METRIC,
            mode="max",
            max_t=max(PARTS, epochs),
            grace_period=1,
            reduction_factor=_REDUCTION,
            stop_last_trials=False,
        )

    def _most(self) -> int:
        return self._config.workers or 1_000_000

    @property
    def _is_file(self) -> bool:
        return self.store.engine.dialect.name == "sqlite"

    def _check_hosts(self) -> None:
        hosts = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
        if self._is_file and len(hosts) > 1:
            raise StorageError(
                f"the Ray cluster has {len(hosts)} hosts, and a SQLite file is for one; give --storage a PostgreSQL "
                "server, and move the study there with `autogate studies copy`"
            )


class StudySearcher(Searcher):
    """Asks and tells the study in the database; nothing of it is ever pickled.

    Args:
        driver: Drives the study.
        store: Its database.

    Attributes:
        failure: Why the search cannot go on, if it cannot.
    """

    def __init__(self, driver: JobSource, store: Store) -> None:
        super().__init__(metric=_METRIC, mode="max")
        self._driver = driver
        self._store = store
        self._placed: dict[str, int] = {}
        self.failure: AutoGateError | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the next candidate that is to be trained, None if there is none now, or that the search is over."""
        try:
            return self._next(trial_id)
        except AutoGateError as error:
            self.failure = error
            return str(Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the study how a candidate ended: trained, failed, too weak to be trained further, or lost."""
        number = self._placed.pop(trial_id, None)
        if self.failure is not None or number is None:
            return
        try:
            release_dead_workers(self._store, self._driver.name)
            self._driver.collect()
            if number not in self._driver.open:
                return
            if error:
                self._driver.lose(number, "its training was lost again and again")
            elif result is not None and _REASON in result:
                self._driver.lose(number, result[_REASON])
            elif result is not None and _PART in result:
                self._driver.stop(
                    number, f"stopped after part {result[_PART]} at {score_text(result[_METRIC])}, below the best third"
                )
        except AutoGateError as problem:
            self.failure = problem

    def __getstate__(self) -> dict[str, Any]:
        """Tune stores its searcher, which it shall not do to a database; nobody reads that file."""
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> StudySearcher:
        return self

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: it is all in the database."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: it is all in the database."""

    def _next(self, trial_id: str) -> dict[str, Any] | str | None:
        driver = self._driver
        self._store.check_held()
        driver.collect()
        for number, trial in driver.open.items():
            # What an earlier run left to workers that have died since.
            if number not in self._placed.values() and _is_free(self._store, trial.key):
                return self._place(trial_id, number, trial.key)
        while driver.wants_more:
            if (found := driver.propose()) is not None:
                return self._place(trial_id, found.begun.number, found.key)
        if driver.open:
            time.sleep(_WAIT_S)
            return None
        return str(Searcher.FINISHED)

    def _place(self, trial_id: str, number: int, key: EvaluationKey) -> dict[str, Any]:
        self._placed[trial_id] = number
        return {"key": vars(key)}


def _trainable(config: dict[str, Any], where: Where) -> None:
    def report(part: int, accuracy: float) -> None:
        tune.report({_PART: part, _METRIC: accuracy})

    try:
        train_one(EvaluationKey(**config["key"]), where, report)
    except (StudyError, NoStudiesError) as error:
        # No other attempt here would end differently. It has no part that the scheduler could compare.
        tune.report({_PART: 0, _METRIC: 0.0, _REASON: f"on {socket.gethostname()}: {error}"})


def _is_free(store: Store, key: EvaluationKey) -> bool:
    job = store.find_job(key)
    return job is not None and not job.held


def _result_of(task: Any) -> None:
    try:
        ray.get(task)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause if isinstance(error.cause, AutoGateError) else error
        raise TrainingError(f"a worker on the cluster: {' '.join(str(cause).split())[-300:]}") from None
    except ray.exceptions.RayError:
        pass  # the worker died; its job is free, and will be tried again
