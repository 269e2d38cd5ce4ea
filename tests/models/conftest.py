from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SHARED_WEIGHTS = Path(__file__).parents[3] / "shared" / "weights"


@pytest.fixture
def shared_weights() -> Callable[[str], Path]:
    """Return the path of a trained network's weights, or skip where they are not at hand."""

    def find(name: str) -> Path:
        path = SHARED_WEIGHTS / name
        if not path.exists():
            pytest.skip(f"{name} is not in ../shared/weights")
        return path

    return find
