"""Everything that is read from and written to a study database."""

from __future__ import annotations

from autogate.store.checkpoints import Checkpoints
from autogate.store.finalists import Finalists
from autogate.store.jobs import Jobs
from autogate.store.profiles import Profiles
from autogate.store.studies import Studies
from autogate.store.study_lock import StudyLocks
from autogate.store.workers import Workers


class Store(Studies, Profiles, Finalists, Jobs, Workers, Checkpoints, StudyLocks):
    """A study database: each parent class holds the queries of one theme; open it as they say."""
