"""A worker: a process that trains the candidates of a study that another process drives."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType

from autogate.errors import StudyError, WorkerStoppedError
from autogate.goals import SearchConfig
from autogate.nas.evaluating import CallerInputs, Evaluator, load_task, make_evaluator
from autogate.nas.profiles import searched_space
from autogate.nas.workers.jobs import run_job
from autogate.nas.workers.session import WorkerSession
from autogate.records import StudyFacts
from autogate.store import Store
from autogate.studies import Reporter
from autogate.surgery import unpack
from autogate.system import code_version
from autogate.training import TrainingBackend, TrainingThreads

THREADS_VARIABLE = "AUTOGATE_TRAIN_THREADS"
_WAIT_S = 0.1
_LOOK_S = 2.0


def run_worker(
    store: Store,
    study: str,
    reporter: Reporter,
    *,
    train_device: str | None = None,
    train_threads: int | None = None,
    idle_s: float | None = None,
    worker: str | None = None,
) -> int:
    """Train jobs of a study until asked to stop; return how many were done.

    Args:
        store: The study database.
        study: Name of the study.
        reporter: Receives progress.
        train_device: Device to train on; None for the study's.
        train_threads: CPU threads to train with; None for the study's, or as many as pay.
        idle_s: Seconds without work after which to stop; None to wait forever.
        worker: Identity given by the process that started this one; the worker stops when that process does. None
            for a worker started by hand.

    Raises:
        StudyError: If this process cannot do what the study needs.
    """
    config = store.study(study).config
    CallerInputs().check(study, config)
    check_code(store, study)
    given = os.environ.get(THREADS_VARIABLE)
    threads = TrainingThreads(int(given) if given else train_threads or config.train_threads)
    device = train_device or config.train_device or config.device
    with threads, WorkerSession(store, study, device, worker=worker, joined=worker is None) as session:
        if worker is not None:
            _follow_parent(session)
        _obey_signals(session)
        try:
            evaluator = load_evaluator(store, study, config, reporter, session, train_device, threads)
            return _work(store, study, evaluator, session, reporter, idle_s)
        except WorkerStoppedError:
            return 0


def _work(
    store: Store, study: str, evaluator: Evaluator, session: WorkerSession, reporter: Reporter, idle_s: float | None
) -> int:
    done, idle_since_s = 0, time.monotonic()
    try:
        while True:
            session.check()
            job = session.take()
            # After taking: a driver that starts with other code says so before it asks for anything.
            check_code(store, study)
            if job is not None:
                reporter.info(f"trial {job.trial}, {job.key.fidelity}")
                run_job(store, evaluator, job, session, reporter)
                done, idle_since_s = done + 1, time.monotonic()
            elif idle_s is not None and time.monotonic() - idle_since_s > idle_s:
                return done
            else:
                time.sleep(_WAIT_S if session.joined is False else _LOOK_S / 4)
    except WorkerStoppedError:
        return done


def load_evaluator(
    store: Store,
    study: str,
    config: SearchConfig,
    reporter: Reporter,
    session: WorkerSession,
    train_device: str | None = None,
    threads: TrainingThreads | None = None,
) -> Evaluator:
    """Return what trains and scores a study's candidates in this process, as soon as its weights are there.

    Raises:
        StudyError: If network or data are others here.
    """
    if config.replay is not None:
        from autogate.nas.evaluating import replay_of

        return replay_of(store, config)
    # Nothing is measured here, so the target need not be at hand.
    here = {} if train_device is None else {"device": train_device, "train_device": train_device}
    task = load_task(config.model_copy(update=here), reporter)
    facts = _prepared(store, study, session, reporter)
    if facts.task is None or task.digest != facts.task.digest:
        raise StudyError(
            f"network, weights or data of study {study!r} are not the same here; give this host the same files"
        )
    if facts.dense_artifact is not None:
        unpack(store.artifact(facts.dense_artifact), task.network.model, {})
    assert facts.shared_artifact is not None  # noqa: S101 - waited for
    content = store.artifact(facts.shared_artifact)
    backend = TrainingBackend(output=config.score_output, threads=threads)
    return make_evaluator(config, facts, task, backend, searched_space(config, task.network), content)


def _prepared(store: Store, study: str, session: WorkerSession, reporter: Reporter) -> StudyFacts:
    """Return the study's facts when its shared weights are among them."""
    said = False
    while (facts := store.study(study).facts).shared_artifact is None:
        if not said:
            reporter.info("waiting for the study's shared weights")
            said = True
        session.check()
        time.sleep(_LOOK_S)
    return facts


def check_code(store: Store, study: str) -> None:
    """Refuse to train for a study that another version of the code runs.

    Raises:
        StudyError: If one does, or there is no such study any more.
    """
    there = store.origin(study)["code_version"]
    if there != code_version():
        raise StudyError(
            f"study {study!r} is run by autogate {there}, and this is {code_version()}; install the same version here"
        )


def _follow_parent(session: WorkerSession) -> None:
    """Leave when the process that started this one does: its end of the pipe is closed, however it ends."""

    def wait() -> None:
        sys.stdin.buffer.read()
        session.leave()

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _obey_signals(session: WorkerSession) -> None:
    def leave(number: int, frame: FrameType | None) -> None:
        session.leave()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, leave)
        if not session.joined:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it decides
