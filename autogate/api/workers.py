"""Processes that help with a study."""

from __future__ import annotations

from autogate.api.progress import default_reporter
from autogate.api.study import open_store
from autogate.studies import Reporter


def run_worker(
    study: str,
    *,
    storage: str | None = None,
    train_device: str | None = None,
    train_threads: int | None = None,
    idle_s: float | None = None,
    started_as: str | None = None,
    reporter: Reporter | None = None,
    progress: bool = False,
) -> int:
    """Train candidates of a study that another process drives; return how many were trained.

    Network, data and weights are those the study names; weights that it trained come from its database. Every result
    is stored when it is there, and what is interrupted goes on elsewhere.

    Args:
        study: Name of the study.
        storage: SQLAlchemy URL of the database.
        train_device: Device to train on; None for the study's.
        train_threads: CPU threads to train with; None for the study's, or as many as pay on the cores that are free.
        idle_s: Seconds without work after which to return; None to wait for more until stopped.
        started_as: Identity that the process which started this one has given it; None for a worker of its own.
        reporter: Receives progress; None logs it to the logger ``autogate``.
        progress: Whether to draw bars instead, or where nobody watches to write lines to standard error.

    Raises:
        StudyError: If there is no such study, it is run by another version, or network and data are others here.
    """
    from autogate.nas.workers import run_worker as train_jobs

    store = open_store(storage)
    store.study(study)
    if started_as is None:
        store.check_host(study)
    return train_jobs(
        store,
        study,
        default_reporter(reporter, progress=progress),
        train_device=train_device,
        train_threads=train_threads,
        idle_s=idle_s,
        worker=started_as,
    )
