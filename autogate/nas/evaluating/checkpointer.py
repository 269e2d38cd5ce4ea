"""Checkpoints of a running training, in the study database."""

from __future__ import annotations

import os
import time

from autogate.errors import AutoGateError
from autogate.store import Store

CHECKPOINT_VARIABLE = "AUTOGATE_CHECKPOINT_S"
_CHECKPOINT_S = 60.0


class StoreCheckpointer:
    """Keeps the state of one training in the study database, about once a minute.

    Args:
        store: The study database.
        study: Name of the study it is for.
        slot: Which training.
    """

    def __init__(self, store: Store, study: str, slot: str) -> None:
        self._store = store
        self._study = study
        self._slot = slot
        self._every_s = _seconds()
        self._saved_s = time.monotonic()

    def load(self) -> bytes | None:
        """Return the state that was saved last, or None."""
        return self._store.checkpoint(self._slot)

    def is_due(self) -> bool:
        """Whether the state should be saved now."""
        return time.monotonic() - self._saved_s >= self._every_s

    def save(self, state: bytes, images: int) -> None:
        """Save a state."""
        self._store.save_checkpoint(self._slot, self._study, state, images)
        # From the end of saving on, so that a slow database does not hold up the training for ever.
        self._saved_s = time.monotonic()

    def end(self) -> None:
        """Remove the state: the training is over."""
        self._store.end_checkpoint(self._slot)


def _seconds() -> float:
    text = os.environ.get(CHECKPOINT_VARIABLE, str(_CHECKPOINT_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise AutoGateError(f"{CHECKPOINT_VARIABLE} must be a number of seconds, not {text!r}")
    return seconds
