"""Weights: as files next to the database, as files at a shared URL, or as rows of the database itself."""

from autogate.store.artifacts.artifacts import Artifacts, artifact_row
from autogate.store.artifacts.stores import ArtifactStore, checked_url

__all__ = ["ArtifactStore", "Artifacts", "artifact_row", "checked_url"]
