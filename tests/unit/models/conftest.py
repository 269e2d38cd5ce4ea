from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def shared_weights(shared: Callable[[str], Path]) -> Callable[[str], Path]:
    """Return the path of a trained network's weights, or skip where they are not at hand."""
    return lambda name: shared(f"weights/{name}")
