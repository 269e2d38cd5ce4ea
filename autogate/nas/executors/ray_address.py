"""Whether anybody listens where a Ray cluster is said to be; Ray itself looks for minutes, deaf to interruptions."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

from autogate.errors import StorageError

_LIMIT_S = 5.0
_VARIABLE = "RAY_ADDRESS"
# Of Ray's client, where an address names none.
_CLIENT_PORT = 10001


def check_address(address: str | None) -> None:
    """Refuse an address at which nothing listens.

    Args:
        address: What ``--ray-address`` names: ``host:port``, ``ray://host:port``, or what Ray finds by itself; None for
            what the environment names, if it does.

    Raises:
        StorageError: If nothing answers there in a few seconds.
    """
    source = "--ray-address"
    if address in (None, "auto"):
        address, source = os.environ.get(_VARIABLE), _VARIABLE
    place = _place(address or "")
    if place is None:
        return
    try:
        socket.create_connection(place, timeout=_LIMIT_S).close()
    except OSError as error:
        raise StorageError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); start one there with `ray start "
            f"--head`, or set {source} to the address of one that runs"
        ) from None


def _place(address: str) -> tuple[str, int] | None:
    """Return host and port; None for ``auto``, ``local`` and every other form, which Ray itself reads or refuses."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = parts.port or (_CLIENT_PORT if parts.scheme == "ray" else None)
    except ValueError:
        return None
    if parts.hostname is None or port is None or parts.scheme not in ("", "ray"):
        return None
    return parts.hostname, port
