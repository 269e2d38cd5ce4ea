"""A package that is installed beside AutoGate adds a gate family, a runtime, an export format and a sampler."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

from autogate import api
from autogate.errors import AutoGateError
from tests.support.workplace import NET, Workplace

PACKAGE = Path(__file__).resolve().parents[1] / "plugin_package"
SPACE = """
schema: autogate.space/1
sites:
  block:
    - family: drop
  map:
    - family: spaced
      genes: {step: [2, 4]}
"""
SEARCH = """
import json
from autogate import api

where = {"space": "spaced.yaml", "runtime": "scripted", "batch_size": 32, "layout": "contiguous", "threads": 1}
url = "sqlite:///studies.db"
api.profile("plugnet:build", time_s=8, allow_noisy=True, storage=url, **where)
study = api.search(
    "plugnet:build", "plugnet:some_digits", pareto=True, study="plugged", storage=url, trials=6, finalists=1,
    weights="random.safetensors", epochs=1, trial_epochs=1, allow_stale=True,
    sampler="autogate_plugin_example.sampling:quasi_random", **where,
)
families = sorted({gate.family for trial in study.trials if trial.policy for _, gate in trial.policy})
finalist = study.store.finalists(study.name)[0].trial
report = study.export("out", trial=finalist, formats=("pt2", "torchscript")).to_json()
measured = api.measure("out", time_s=1, runtime="scripted").to_json()
print(json.dumps({
    "families": families,
    "sampler": study.config.sampler,
    "formats": report["formats"],
    "setting": measured["setting"],
}))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a network and a space; the package is installed in ``site`` there."""
    root = tmp_path_factory.mktemp("plugins")
    source = shutil.copytree(PACKAGE, root / "source")
    install = ("install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(root / "site"))
    subprocess.run([sys.executable, "-m", "pip", *install, str(source)], check=True, timeout=120)
    (root / "plugnet.py").write_text(NET, encoding="utf-8")
    (root / "spaced.yaml").write_text(SPACE, encoding="utf-8")
    (root / "search.py").write_text(SEARCH, encoding="utf-8")
    save = (
        "import plugnet, safetensors.torch; "
        "safetensors.torch.save_file(plugnet.build().state_dict(), 'random.safetensors')"
    )
    run(root, "-c", save)
    return root


def run(root: Path, *arguments: str, path: tuple[str, ...] = ("site",)) -> subprocess.CompletedProcess[str]:
    folders = [str(Path(__file__).resolve().parents[2]), str(root), *(str(root / name) for name in path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def doctor(root: Path, path: tuple[str, ...]) -> tuple[list[dict[str, Any]], str]:
    done = run(root, "-m", "autogate.cli.main", "doctor", "--format", "json", path=path)
    return json.loads(done.stdout)["plugins"], done.stderr


def test_a_search_with_all_that_a_package_adds(place: Path) -> None:
    found = json.loads(run(place, "search.py").stdout.splitlines()[-1])
    assert "spaced" in found["families"]
    assert found["sampler"] == "autogate_plugin_example.sampling:quasi_random"
    assert found["formats"]["torchscript"]["files"] == ["model.ts"]
    assert found["formats"]["torchscript"]["max_difference"] <= 1e-4
    assert set(found["formats"]) == {"pt2", "torchscript"}
    assert found["setting"]["runtime"] == "scripted"
    assert found["setting"]["versions"]["autogate-plugin-example"] == "1.2"
    assert (place / "out" / "model.ts").exists()


def test_doctor_lists_what_packages_add(place: Path) -> None:
    plugins, warnings = doctor(place, ("site",))
    assert [(one["kind"], one["name"], one["error"]) for one in plugins] == [
        ("gate family", "spaced", None),
        ("runtime", "scripted", None),
        ("export format", "torchscript", None),
    ]
    assert {(one["package"], one["version"]) for one in plugins} == {("autogate-plugin-example", "1.2")}
    assert warnings == ""


def test_a_broken_package_is_named_and_the_others_work(place: Path) -> None:
    broken = place / "broken"
    (broken / "broken_thing-0.3.dist-info").mkdir(parents=True)
    (broken / "broken_thing-0.3.dist-info" / "METADATA").write_text("Name: broken-thing\nVersion: 0.3\n")
    (broken / "broken_thing-0.3.dist-info" / "entry_points.txt").write_text(
        "[autogate.families]\nhalf = broken_thing\n"
    )
    (broken / "broken_thing.py").write_text("raise SystemExit('a bad\\n day')\n")
    plugins, warnings = doctor(place, ("site", "broken"))
    assert {one["name"]: one["error"] for one in plugins} == {
        "half": "SystemExit: a bad day",
        "spaced": None,
        "scripted": None,
        "torchscript": None,
    }
    assert warnings.splitlines() == [
        "gate family 'half' of package broken-thing 0.3 cannot be used: SystemExit: a bad day; repair it, or remove it "
        "with `pip uninstall broken-thing`"
    ]
    text = run(place, "-m", "autogate.cli.main", "doctor", path=("site", "broken")).stdout
    assert "gate family spaced" in text
    assert "cannot be used: SystemExit" in " ".join(text.split())


class Counting(optuna.samplers.RandomSampler):
    """A sampler of the caller's, which counts what it is asked."""

    asked = 0

    def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        self.asked += 1


def test_a_sampler_that_is_passed_as_an_object(workplace: Workplace, foreign: str) -> None:
    sampler = Counting(seed=0)
    url = workplace.storage("own_sampler")
    study = api.search(
        pareto=True, trials=6, study="own", storage=url, profile=foreign, sampler=sampler, **workplace.quick
    )
    assert study.config.sampler == "python:Counting"
    assert sampler.asked > 0
    with pytest.raises(AutoGateError, match="sampler python:Counting was passed from Python; pass it again, or name"):
        api.resume("own", trials=2, storage=url)
    other = Counting(seed=1)
    api.resume("own", trials=20, storage=url, sampler=other)
    assert other.asked > 0
    assert api.resume("own", trials=1, storage=url, sampler="random").config.sampler == "random"
