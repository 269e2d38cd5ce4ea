from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

from autogate import api
from autogate.latency.model import LatencyModel
from autogate.latency.profile import nonsense_reason, read_profile
from autogate.models import load_model
from autogate.records import Profile
from autogate.sites import find_sites
from tests.support.workplace import NET, PLACE, SPACE, TRIALS, Workplace, winner

_ATTEMPTS = 4


@pytest.fixture(scope="package")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    root, before = tmp_path_factory.mktemp("e2e"), Path.cwd()
    os.chdir(root)
    (root / "e2enet.py").write_text(NET, encoding="utf-8")
    (root / "drop.yaml").write_text(SPACE, encoding="utf-8")
    weights = load_model("e2enet:build").module.state_dict()
    safetensors.torch.save_file(weights, str(root / "random.safetensors"))
    yield Workplace(root, _sound_profile(root))
    os.chdir(before)
    sys.modules.pop("e2enet", None)


def _sound_profile(root: Path) -> Profile:
    """Take a short profile, again if what else runs on the machine spoiled it."""
    network = find_sites(load_model("e2enet:build").module, (3, 32, 32))
    for attempt in range(_ATTEMPTS):
        path = root / f"profile-{attempt}.jsonl"
        api.profile("e2enet:build", space="drop.yaml", out=path, time_s=6.0 + 3 * attempt, allow_noisy=True, **PLACE)
        taken = read_profile(path)
        if nonsense_reason(LatencyModel(taken, network)) is None:
            break
    return taken


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
