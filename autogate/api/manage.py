"""Studies and their database, looked after."""

from __future__ import annotations

from pathlib import Path

from autogate.api.study import open_store, storage_url
from autogate.api.study_results import (
    DatabaseUpgrade,
    History,
    StudyCopy,
    StudyDescription,
    StudyFile,
    VacuumResult,
)
from autogate.errors import StudyError
from autogate.store import Store, check_name, upgrade_database
from autogate.studies import describe_document, history_document

_ELSEWHERE = "do it there; if that host is gone, copy what you need with `autogate studies copy`, and remove the file"


def describe_study(study: str, *, storage: str | None = None) -> StudyDescription:
    """Return what is kept of a study: when, where and by which code it ran, its configuration, and its size.

    Args:
        study: Name of the study.
        storage: SQLAlchemy URL of the database.

    Raises:
        StudyError: If there is no such study.
    """
    return StudyDescription(describe_document(open_store(storage), study))


def history(study: str, *, storage: str | None = None, plot: str | Path | None = None) -> History:
    """Return what a study had reached after each trial: hypervolume, best within the budget, size of the front.

    Args:
        study: Name of the study.
        storage: SQLAlchemy URL of the database.
        plot: HTML file to draw it into.

    Raises:
        StudyError: If there is no such study.
        ReportError: If the file cannot be written.
    """
    if plot is not None:
        from autogate.report import check_plot_path

        check_plot_path(plot)
    document = history_document(open_store(storage), study)
    if plot is not None:
        from autogate.report import write_history_plot

        write_history_plot(document, Path(plot))
    return History(document)


def delete_study(study: str, *, storage: str | None = None) -> None:
    """Delete a study for good. What it trained stays for others, until :func:`vacuum_studies`.

    Args:
        study: Name of the study.
        storage: SQLAlchemy URL of the database.

    Raises:
        StudyError: If there is no such study, a process runs it, workers train for it, or a SQLite file is another
            host's.
    """
    from autogate.store import transfer

    store = open_store(storage)
    store.study(study)
    store.check_host(study, _ELSEWHERE)
    transfer.delete_study(store, study)


def copy_study(study: str, *, to: str, name: str | None = None, storage: str | None = None) -> StudyCopy:
    """Copy a study with all it needs, so that it can be continued there.

    Saves to the other database on completion; it is made if it is not there.

    Args:
        study: Name of the study.
        to: SQLAlchemy URL of the other database.
        name: Its name there; None for the same.
        storage: SQLAlchemy URL of the database it is in.

    Raises:
        StudyError: If there is no such study, a process runs it, or there is one of that name there, such as itself.
        StorageError: If a database cannot be used, or weights are missing.
    """
    from autogate.store import transfer

    source, name = open_store(storage), study if name is None else name
    check_name(name)
    source.study(study)
    if name == study and source.is_at(to):
        raise StudyError(f"study {study!r} cannot be copied onto itself; give the copy another name with --name")
    with source.running(study):
        target = Store(to, create=True)
        with target.running(name):
            transfer.add_study(target, transfer.study_rows(source, study), name)
    return StudyCopy({"schema": "autogate.copy/1", "study": study, "to": target.shown_url, "name": name})


def export_study(study: str, to: str | Path, *, storage: str | None = None) -> StudyFile:
    """Write a study with all it needs, weights included, to one file of JSON lines.

    Args:
        study: Name of the study.
        to: The file; it must not be there.
        storage: SQLAlchemy URL of the database.

    Raises:
        StudyError: If there is no such study, a process runs it, or the file cannot be written.
    """
    from autogate.store import transfer

    store, path = open_store(storage), Path(to)
    store.study(study)
    with store.running(study):
        count = transfer.write_rows(path, study, transfer.study_rows(store, study))
    return StudyFile({"schema": "autogate.study-file/1", "study": study, "file": str(path), "rows": count})


def import_study(file: str | Path, *, name: str | None = None, storage: str | None = None) -> StudyFile:
    """Store a study that :func:`export_study` wrote.

    Saves to the database on completion; it is made if it is not there.

    Args:
        file: The file.
        name: Its name here; None for the one it had.
        storage: SQLAlchemy URL of the database.

    Raises:
        StudyError: If the file is damaged or of another version, or there is a study of that name.
    """
    from autogate.store import transfer

    found, rows = transfer.read_rows(Path(file))
    name = name or found
    check_name(name)
    store = open_store(storage, create=True)
    with store.running(name):
        transfer.add_study(store, rows, name)
    return StudyFile({"schema": "autogate.study-file/1", "study": name, "file": str(file), "storage": store.shown_url})


def upgrade_studies(*, storage: str | None = None) -> DatabaseUpgrade:
    """Bring a database of an older schema up to date; nothing that it holds is lost.

    Saves to the database on completion, all or nothing.

    Args:
        storage: SQLAlchemy URL of the database.

    Raises:
        StorageError: If there is none, or it is newer or another program's.
    """
    from autogate.studies import write_history

    url = storage_url(storage)
    before, after = upgrade_database(url)
    store = Store(url)
    for study in store.study_names():
        write_history(store, study)
    return DatabaseUpgrade({"schema": "autogate.upgrade/1", "storage": store.shown_url, "from": before, "to": after})


def vacuum_studies(*, storage: str | None = None) -> VacuumResult:
    """Remove what no study uses any more: evaluations, policies and weights; profiles stay.

    Args:
        storage: SQLAlchemy URL of the database.

    Raises:
        StorageError: If a study runs in the database.
        StudyError: If a study of a SQLite file is another host's.
    """
    from autogate.store import transfer

    store = open_store(storage)
    for study in store.study_names():
        store.check_host(study, _ELSEWHERE)
    return VacuumResult({"schema": "autogate.vacuum/1", "storage": store.shown_url, **transfer.vacuum(store)})
