"""Everything that is read from and written to a study database."""

from __future__ import annotations

from autogate.store.artifacts import Artifacts
from autogate.store.finalists import Finalists
from autogate.store.profiles import Profiles
from autogate.store.running import Running
from autogate.store.studies import Studies


class Store(Studies, Profiles, Finalists, Artifacts, Running):
    """A study database: each parent class holds the queries of one theme; open it as they say."""
