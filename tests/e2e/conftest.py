from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

from autogate import api
from autogate.latency.profile import read_profile
from autogate.models import load_model
from tests.support.workplace import NET, PLACE, SPACE, TRIALS, Workplace, winner


@pytest.fixture(scope="package")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    root, before = tmp_path_factory.mktemp("e2e"), Path.cwd()
    os.chdir(root)
    (root / "e2enet.py").write_text(NET, encoding="utf-8")
    (root / "drop.yaml").write_text(SPACE, encoding="utf-8")
    weights = load_model("e2enet:build").module.state_dict()
    safetensors.torch.save_file(weights, str(root / "random.safetensors"))
    api.profile("e2enet:build", space="drop.yaml", out=root / "profile.jsonl", time_s=6.0, allow_noisy=True, **PLACE)
    yield Workplace(root, read_profile(root / "profile.jsonl"))
    os.chdir(before)
    sys.modules.pop("e2enet", None)


@pytest.fixture(scope="package")
def foreign(workplace: Workplace) -> str:
    """Return a profile of a device that is not this one; a search for it measures nothing, which saves time."""
    return workplace.foreign("foreign.jsonl")


@pytest.fixture(scope="package")
def storage(workplace: Workplace) -> str:
    return workplace.storage("main")


@pytest.fixture(scope="package")
def study(workplace: Workplace, storage: str) -> api.Study:
    return api.search(latency_budget="70%", trials=TRIALS, study="first", storage=storage, **workplace.settings)


@pytest.fixture(scope="package")
def document(study: api.Study) -> dict[str, Any]:
    return study.document()


@pytest.fixture(scope="package")
def exported(workplace: Workplace, document: dict[str, Any], study: api.Study) -> Path:
    to = workplace.root / "out"
    api.export("first", to, trial=str(winner(document)["trial"]), storage=study.storage)
    return to
