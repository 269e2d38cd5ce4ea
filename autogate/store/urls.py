"""Storage URLs: read, shown without their secrets, and kept out of messages."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from autogate.errors import StorageError

DEFAULT_URL = "sqlite:///studies/autogate.db"
STORAGE_VARIABLE = "AUTOGATE_STORAGE"
_SECRET_WORDS = ("pass", "pwd", "secret", "token", "key")
_HIDDEN = "***"
_ENDINGS = (".db", ".sqlite", ".sqlite3")
_POSTGRES_PORT = 5432


def default_storage() -> str:
    """Return the storage URL from the environment, or the SQLite file under the current directory."""
    return os.environ.get(STORAGE_VARIABLE, DEFAULT_URL)


def parse_url(url: str) -> URL:
    """Parse a storage URL.

    Raises:
        StorageError: If it is not one, or a password that is not escaped takes it apart; it is not repeated.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # A file that was named without saying what it is; anything else may hold a password, and is not repeated.
        like = f"sqlite:///{url}" if url.endswith(_ENDINGS) and ":" not in url and "@" not in url else DEFAULT_URL
        raise StorageError(f"the storage URL is not valid; write it like {like}") from None
    if parsed.get_backend_name() != "sqlite" and "@" in f"{parsed.host}{parsed.database}":
        raise StorageError("the storage URL has a second @; escape one in a password as %40, and / as %2F")
    return parsed


def redact_url(url: URL) -> str:
    """Return a URL as text, with stars for its password."""
    hidden = url.update_query_dict({key: _HIDDEN for key in url.query if _is_secret(key)})
    return hidden.render_as_string(hide_password=True).replace(quote(_HIDDEN, safe=""), _HIDDEN)


def redact(message: object, url: URL) -> str:
    """Return one line of ``message``, at most 200 characters long, without the URL's password."""
    text = " ".join(str(message).split())
    for secret in _secrets(url):
        text = text.replace(secret, _HIDDEN).replace(quote(secret, safe=""), _HIDDEN)
    return text[:200]


def same_database(one: URL, other: URL) -> bool:
    """Whether two URLs name one database, whoever uses it and through which driver."""
    path, other_path = sqlite_path(one), sqlite_path(other)
    if path is not None and other_path is not None:
        return path.resolve() == other_path.resolve()
    return _place(one) == _place(other)


def _place(url: URL) -> tuple[object, ...]:
    host, port = url.query.get("host", url.host), url.query.get("port", url.port)
    return url.get_backend_name(), host, str(port or _POSTGRES_PORT), url.database


def sqlite_path(url: URL) -> Path | None:
    """Return the file of a SQLite URL; None for a database in memory, or of another kind."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database).removeprefix("file:"))


def _is_secret(key: str) -> bool:
    return any(word in key.lower() for word in _SECRET_WORDS)


def _secrets(url: URL) -> list[str]:
    """Return the password and what the query hides, the longest first, so that none is left in part."""
    # A key that is given twice has several values.
    queried = [value for key, values in url.normalized_query.items() if _is_secret(key) for value in values]
    return sorted(filter(None, [str(url.password or ""), *queried]), key=len, reverse=True)
