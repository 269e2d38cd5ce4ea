"""Which name a search gets, while others run."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from autogate.errors import StudyRunningError
from autogate.goals import make_config
from autogate.nas.loop.study_start import reserve
from autogate.space import load_space
from autogate.store import Store
from tests.support.databases import some_config

CONFIG = make_config(space=load_space("drop").to_json(), latency_budget="60%")


def test_searches_without_a_name_get_different_ones(anywhere: str) -> None:
    store = Store(anywhere, create=True)
    with ExitStack() as first, ExitStack() as second:
        assert reserve(store, None, CONFIG, first) == "resnet20-digits-1"
        # The first is not stored yet, and its name is taken all the same.
        assert reserve(store, None, CONFIG, second) == "resnet20-digits-2"
        with pytest.raises(StudyRunningError, match="'resnet20-digits-2' is run by another process"):
            reserve(store, "resnet20-digits-2", CONFIG, first)
    store.create_study("resnet20-digits-1", some_config())
    with ExitStack() as stack:
        assert reserve(store, None, CONFIG, stack) == "resnet20-digits-2"
        assert reserve(store, "resnet20-digits-1", CONFIG, stack) == "resnet20-digits-1"
