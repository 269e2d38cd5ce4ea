"""Take a study out of a database; what other studies may use stays until the database is cleaned."""

from __future__ import annotations

from sqlalchemy import delete, select

from autogate.errors import StudyError
from autogate.store import tables
from autogate.store.store import Store
from autogate.store.transfer.optuna_study import delete_optuna_study
from autogate.store.transfer.rows import OWN, WORK


def delete_study(store: Store, study: str) -> None:
    """Remove a study and its trials for good.

    Raises:
        StudyError: If there is no such study, a process runs it, or workers train for it.
    """
    store.study(study)
    with store.running(study):
        _check_untrained(store, study)
        # Optuna's trials first: a study that has none can be deleted again, one that has others' must not come to be.
        delete_optuna_study(store, study)
        with store.session() as session, session.begin():
            # Held until the end, so that no worker joins meanwhile.
            session.get(tables.Study, study, with_for_update=True)
            for work in WORK:
                session.execute(delete(work).where(work.__table__.c.study == study))
            for table in reversed(OWN.values()):
                name = tables.Study.name if table is tables.Study else table.__table__.c.study
                session.execute(delete(table).where(name == study))


def delete_if_empty(store: Store, study: str) -> bool:
    """Remove a study in which nothing was finished or is under way; return whether it was.

    Raises:
        StudyError: If there is no such study, or a process runs it.
    """
    facts = store.study(study).facts
    with store.session() as session:
        checkpoint = session.scalar(select(tables.Checkpoint.slot).where(tables.Checkpoint.study == study).limit(1))
    found_out = facts.artifacts or facts.sensitivity or checkpoint is not None
    if found_out or store.count_trials(study)["total"] or store.finalists(study):
        return False
    delete_study(store, study)
    return True


def _check_untrained(store: Store, study: str) -> None:
    store.release_dead(study)
    busy = [f"process {worker.pid} on {worker.host}" for worker in store.workers(study) if not worker.idle]
    if busy:
        raise StudyError(
            f"study {study!r} is trained for right now, by {', '.join(busy)}; stop these workers first, or wait for a "
            "minute if they died"
        )
