"""Weights: as files beside the database, as files at a shared URL, or as rows of the database itself."""

from autogate.store.artifacts.artifacts import Artifacts
from autogate.store.artifacts.shared import checked_url

__all__ = ["Artifacts", "checked_url"]
