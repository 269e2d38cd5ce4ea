"""Studies of older schemas go on after their database was upgraded."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from autogate import api
from autogate.policy import DENSE
from autogate.store import Store
from tests.support.databases import released


def evaluations(url: str) -> set[tuple[str, str, str, int]]:
    """Return policy, fidelity, recipe and seed of all that was trained."""
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    found = connection.execute("select policy, fidelity, recipe, seed from autogate_evaluations").fetchall()
    connection.close()
    return set(found)


@pytest.mark.usefixtures("goldnet")
@pytest.mark.parametrize(("schema", "best"), [(1, 5), (2, 1), (3, 1)])
def test_an_upgraded_study_is_shown_and_continued(schema: int, best: int, tmp_path: Path) -> None:
    url = released(schema, tmp_path / "old")
    api.upgrade_studies(storage=url)
    before = Store(url).trials("budget")
    document = api.show_study("budget", storage=url).to_json()
    assert document["trials"]["total"] == len(before) == 8
    assert document["best"]["trial"] == best
    assert best in [point["trial"] for point in api.pareto("budget", storage=url).to_json()["front"]]
    trained = evaluations(url)
    exported = api.export("budget", tmp_path / "out", storage=url).to_json()
    assert exported["result"]["trial"] == best
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        "policy.json",
        "model.safetensors",
        "model.pt2",
        "report.json",
    }
    for study in ("budget", "largest drop"):
        total = api.show_study(study, storage=url).to_json()["trials"]["total"]
        resumed = api.resume(study, trials=2, storage=url)
        assert resumed.document()["trials"]["total"] == total + 2
        numbers = [front.trial for front in resumed.store.fronts(study)]
        assert numbers == [trial.number for trial in resumed.trials]
    after = Store(url).trials("budget")[:8]
    # The verdict is stored once a run of this version has judged the finalist.
    judged = {f.trial: f.verdict for f in Store(url).finalists("budget")}
    assert judged[best] is not None
    assert judged[best].accepted
    # Predictions may be those of a newer latency model; nothing else changed.
    for name in ("number", "outcome", "policy", "val_accuracy", "reason", "seconds"):
        assert [getattr(trial, name) for trial in after] == [getattr(trial, name) for trial in before]
    assert all(trial.predicted is not None for trial in after)
    # The old evaluations count: only new candidates were trained, and by the present training dense, which candidates
    # are compared with, and what is measured.
    new = evaluations(url) - trained
    assert trained < evaluations(url)
    assert len({policy for policy, fidelity, *_ in new if fidelity == "short"} - {DENSE.digest}) <= 2 * 2
    assert sum(policy == DENSE.digest for policy, *_ in new) <= 1
    assert sum(fidelity == "full" for _, fidelity, *_ in new) <= 2
