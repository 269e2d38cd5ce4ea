"""Weights under the SHA-256 of their content, in the artifact store of a database."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sqlalchemy import URL, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from autogate.errors import StorageError
from autogate.store import tables
from autogate.store.artifacts.stores import ArtifactStore, FolderArtifacts, RowArtifacts, UrlArtifacts
from autogate.store.retries import retry_on_disconnect
from autogate.store.session import Database
from autogate.store.urls import sqlite_path


class Artifacts(Database):
    """The weights of a study database.

    They are files next to a database that is a file. A server stores them itself, so that every host finds them. Both
    may be given a URL for them instead.
    """

    @retry_on_disconnect
    def add_artifact(self, kind: str, content: bytes) -> str:
        """Store weights and return their SHA-256; on return they are safe.

        Raises:
            StorageError: If they cannot be written.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        if self._known(sha256):
            return sha256
        store = self._store()
        try:
            with self.session() as session, session.begin():
                store.write(session, artifact_row(kind, sha256, content), content)
        except IntegrityError:
            if not self._known(sha256):
                raise
        return sha256

    @retry_on_disconnect
    def artifact(self, sha256: str) -> bytes:
        """Return stored weights.

        Raises:
            StorageError: If they are missing or were changed.
        """
        where, content = f"{sha256} in {self.shown_url}", None
        row = self._row(sha256)
        if row is not None:
            store = self._store_of(row)
            with self.session() as session:
                content = store.read(session, row)
            where = where if row.path is None else store.where(row)
        if content is None:
            raise StorageError(f"the weights {where} are missing; restore the file or start a new study")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise StorageError(f"the weights {where} were changed; restore the file or start a new study")
        return content

    def artifacts(self) -> dict[str, int]:
        """Return the size of all weights in bytes, by SHA-256."""
        with self.session() as session:
            rows = session.execute(select(tables.Artifact.sha256, tables.Artifact.size_bytes))
            return {row.sha256: row.size_bytes for row in rows}

    def artifact_kind(self, sha256: str) -> str:
        """Return what weights are: ``dense``, ``shared`` or ``finalist``."""
        with self.session() as session:
            return session.get_one(tables.Artifact, sha256).kind

    def delete_artifact(self, sha256: str, *, keep_file: bool = False) -> None:
        """Remove weights that nothing refers to; ``keep_file`` if another database may refer to their file."""
        with self.session() as session, session.begin():
            row = self._delete_row(session, sha256)
        if row is not None and not keep_file:
            self._delete_file(row)

    def artifacts_url(self) -> str | None:
        """Return the URL that was given for the weights, or None."""
        with self.session() as session:
            row = session.get(tables.Meta, "artifacts")
            return None if row is None else row.value

    def place_artifacts(self, url: str) -> None:
        """Keep weights at a URL from now on.

        Raises:
            StorageError: If there are weights elsewhere already.
        """
        place = self.artifacts_url()
        if place == url:
            return
        if self.artifacts():
            usual = "next to it" if self.engine.dialect.name == "sqlite" else "in itself"
            where = f"at {place}" if place else usual
            raise StorageError(f"{self.shown_url} stores its weights {where}; leave --artifacts out")
        with self.session() as session, session.begin():
            session.merge(tables.Meta(key="artifacts", value=url))

    def _store(self) -> ArtifactStore:
        """Return where new weights go."""
        url = self.artifacts_url()
        if url is not None:
            return UrlArtifacts(url)
        return default_artifact_folder(self.engine.url) if self.engine.dialect.name == "sqlite" else RowArtifacts()

    def _store_of(self, row: tables.Artifact) -> ArtifactStore:
        """Return where the weights of a row are: a server may have older ones in files and newer ones in its rows."""
        if row.path is None:
            return RowArtifacts()
        store = self._store()
        return default_artifact_folder(self.engine.url) if isinstance(store, RowArtifacts) else store

    def _delete_row(self, session: Session, sha256: str) -> tables.Artifact | None:
        """Delete weights, but for their file, in a transaction; return the row that names the file, if there is one."""
        row = session.get(tables.Artifact, sha256)
        if row is None:  # another process was first
            return None
        if row.path is None:
            self._store_of(row).delete(session, row)
        session.delete(row)
        session.flush()
        return None if row.path is None else row

    def _delete_file(self, row: tables.Artifact) -> None:
        with self.session() as session:
            self._store_of(row).delete(session, row)

    def _known(self, sha256: str) -> bool:
        row = self._row(sha256)
        if row is None or row.path is None:
            return row is not None
        with self.session() as session:
            return self._store_of(row).read(session, row) is not None

    def _row(self, sha256: str) -> tables.Artifact | None:
        """Return the row of some weights, detached from its session, or None."""
        with self.session() as session:
            row = session.get(tables.Artifact, sha256)
            if row is not None:
                session.expunge(row)
            return row


def artifact_row(kind: str, sha256: str, content: bytes) -> tables.Artifact:
    """Return a row for weights that are not stored yet."""
    return tables.Artifact(sha256=sha256, kind=kind, size_bytes=len(content), path=None)


def default_artifact_folder(url: URL) -> FolderArtifacts:
    """Return the folder for the weights of a database that is a file, or of a server before schema 2."""
    path = sqlite_path(url)
    return FolderArtifacts((Path("studies") if path is None else path.parent).resolve() / "artifacts")
