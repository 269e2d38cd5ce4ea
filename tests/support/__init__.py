"""What tests of several folders share: networks, profiles, databases, and ways to run commands."""

from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.support.networks", "tests.support.profiles", "tests.support.family_suite")
ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds pyproject.toml."""
