"""Studies that several processes train for: started with the study, joined from elsewhere, killed at any moment."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest

from autogate import api
from autogate.errors import AutoGateError, StudyError, StudyRunningError
from autogate.store import Store
from tests.support.workplace import Workplace, start

WAIT_S = 150


def options(workplace: Workplace, foreign: str, **more: object) -> list[str]:
    settings = {**workplace.quick, "latency_budget": "1s", "profile": foreign, "trial_epochs": 2, **more}
    return [f"--{key.replace('_', '-')}={value}" for key, value in settings.items()]


def wait_until(what: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    end_s = time.monotonic() + WAIT_S
    while time.monotonic() < end_s:
        try:
            if found := what():
                return found
        except AutoGateError:  # there is no database, or no study, yet
            pass
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("it takes too long")


def outcomes(store: Store) -> dict[int, tuple[str, float | None]]:
    """Return policy and accuracy of each trial that has ended; of several at work, a later one may end first."""
    return {
        trial.number: (trial.policy.digest if trial.policy else "", trial.val_accuracy)
        for trial in store.trials("team")
    }


def check_whole(url: str, study: str, trials: int) -> None:
    store = Store(url)
    counts = store.count_trials(study)
    assert (counts["total"], counts["failed"]) == (trials, 0)
    assert store.jobs(study) == []
    assert store.workers(study) == []
    assert not any(store.artifact_kind(sha256) == "checkpoint" for sha256 in store.artifacts())
    states = [t.state.name for t in optuna.load_study(study_name=study, storage=url).get_trials(deepcopy=False)]
    assert not {"RUNNING", "WAITING"} & set(states)
    policies = [t.policy.digest for t in store.trials(study) if t.outcome == "complete" and t.policy is not None]
    assert len(policies) == len(set(policies)) == counts["complete"]


def test_workers_die_and_the_driver_dies_and_nothing_is_lost(
    workplace: Workplace, foreign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOGATE_LEASE_S", "4")
    monkeypatch.setenv("AUTOGATE_CHECKPOINT_S", "0")
    url = f"sqlite:///{workplace.root / 'workers' / 'studies.db'}"
    search = start(workplace, url, "search", "--study=team", "--trials=8", *options(workplace, foreign, workers=2))
    store = Store(wait_until(lambda: Path(url.removeprefix("sqlite:///")).exists() and url, search), create=True)
    wait_until(lambda: store.holders("team"), search)
    # A worker dies in the middle of a training: another one takes its place.
    victim = next(w for w in store.workers("team") if not w.idle)
    os.kill(victim.pid, signal.SIGKILL)
    wait_until(lambda: store.count_trials("team")["complete"] >= 2, search)
    assert victim.id not in {worker.id for worker in store.workers("team")}
    # Nobody else can drive it meanwhile.
    with pytest.raises(StudyRunningError, match="is run by another process right now"):
        api.resume("team", storage=url)
    wait_until(lambda: store.holders("team"), search)
    workers = [worker.pid for worker in store.workers("team")]
    search.kill()
    search.communicate()
    before = outcomes(store)
    # Workers do not outlive the process that started them.
    end_s = time.monotonic() + 30
    while any(psutil.pid_exists(pid) for pid in workers) and time.monotonic() < end_s:
        time.sleep(0.1)
    assert not any(psutil.pid_exists(pid) for pid in workers)
    # One process finishes what two began, with the same results.
    api.resume("team", storage=url, workers=1)
    assert outcomes(store).items() >= before.items()
    check_whole(url, "team", 8)
    assert store.finalists("team")


def test_a_worker_joins_a_study_that_leaves_all_training_to_others(
    workplace: Workplace, foreign: str, server: Any
) -> None:
    from tests.support.databases import postgres_database

    with postgres_database(server) as url:
        search = start(workplace, url, "search", "--study=open", "--trials=3", *options(workplace, foreign, workers=0))
        store = Store(url, create=True)
        wait_until(lambda: store.jobs("open"), search)
        # What another version of the code would train is not what was asked for.
        code = store.origin("open")["code_version"]
        config = store.study("open").config
        store.set_config("open", config, code_version="0.0.1+older")
        with pytest.raises(StudyError, match=r"is run by autogate 0\.0\.1\+older, and this is"):
            api.run_worker("open", storage=url)
        store.set_config("open", config, code_version=code)
        task = store.study("open").facts.task
        assert task is not None
        store.update_facts("open", lambda facts: replace(facts, task=replace(task, digest="other data")))
        with pytest.raises(StudyError, match="network, weights or data of study 'open' are not the same here"):
            api.run_worker("open", storage=url)
        store.update_facts("open", lambda facts: replace(facts, task=task))
        worker = start(workplace, url, "worker", "open")
        out, err = search.communicate(timeout=WAIT_S)
        assert search.returncode == 0, err
        worker.send_signal(signal.SIGTERM)
        out, err = worker.communicate(timeout=60)
        assert worker.returncode == 0, err
        lines = r"load: done after \d+\.\d s|trial \d+, (short|full)"
        assert all(re.fullmatch(lines, line) for line in err.splitlines()), err
        assert "candidates trained for study open" in out
        check_whole(url, "open", 3)


def test_what_only_python_has_cannot_be_shared(workplace: Workplace) -> None:
    from autogate.models import load_model

    url = f"sqlite:///{workplace.root / 'own' / 'studies.db'}"
    model = load_model("e2enet:build").module
    with pytest.raises(StudyError, match="model and train_fn came from Python, and other processes cannot have them"):
        api.search(
            model,
            "e2enet:some_digits",
            latency_budget="70%",
            storage=url,
            space="drop.yaml",
            workers=2,
            train_fn=lambda network, fidelity: None,
            layout="contiguous",
            batch_size=32,
            threads=1,
        )


def test_another_budget_and_another_device_train_nothing_again(workplace: Workplace, foreign: str) -> None:
    url = f"sqlite:///{workplace.root / 'anew' / 'studies.db'}"
    study = api.search(latency_budget="45%", trials=6, study="anew", storage=url, profile=foreign, **workplace.quick)
    trained = study.store.count_trials("anew")["complete"]
    before = {t.policy.digest: t.val_accuracy for t in study.trials if t.policy and t.val_accuracy is not None}
    rejected = [t.policy.digest for t in study.trials if t.outcome == "rejected" and t.policy]
    assert rejected
    # A wider budget: what was too slow may be tried now, what was trained stays.
    wider = api.resume("anew", latency_budget="1s", trials=2, storage=url)
    assert wider.config.latency_budget == "1s"
    after = {t.policy.digest: t.val_accuracy for t in wider.trials if t.policy and t.val_accuracy is not None}
    assert before.items() <= after.items()
    assert len(after) == len(before) + wider.store.count_trials("anew")["complete"] - trained
    wider_trials = wider.trials
    # Another device: the same accuracies under its own predictions.
    moved = api.resume("anew", profile=workplace.slower("slower.jsonl", 2.0), storage=url)
    found = {t.policy.digest: t.val_accuracy for t in moved.trials if t.policy and t.val_accuracy is not None}
    assert found == after
    assert moved.document()["device"] == "a slower device"
    assert [trial.number for trial in moved.trials] == [trial.number for trial in wider_trials]
    for trial, same in zip(moved.trials, wider_trials, strict=True):
        assert trial.predicted is not None
        assert same.predicted is not None
        assert trial.predicted["p50"] == pytest.approx(2 * same.predicted["p50"], rel=0.05, abs=0.02)
    with pytest.raises(StudyError, match="cannot change from budget to drop"):
        api.resume("anew", latency_budget=None, max_drop="5%", storage=url)
    with pytest.raises(StudyError, match="cannot be continued with another seed"):
        api.resume("anew", seed=5, storage=url)


def test_a_study_goes_to_ray_and_back(workplace: Workplace, foreign: str) -> None:
    pytest.importorskip("ray")
    url = f"sqlite:///{workplace.root / 'ray' / 'studies.db'}"
    search = start(
        workplace,
        url,
        "search",
        "--study=cluster",
        "--trials=6",
        "--backend=ray",
        "--format=json",
        *options(workplace, foreign),
    )
    out, err = search.communicate(timeout=2 * WAIT_S)
    assert search.returncode == 0, err
    document = json.loads(out)
    assert document["trials"]["total"] == 6
    check_whole(url, "cluster", 6)
    counts = Store(url).count_trials("cluster")
    assert counts["complete"] >= 1
    api.resume("cluster", trials=2, backend="local", storage=url)
    check_whole(url, "cluster", 8)


def test_weak_candidates_are_stopped_early_with_ray(workplace: Workplace, foreign: str) -> None:
    pytest.importorskip("ray")
    url = f"sqlite:///{workplace.root / 'asha' / 'studies.db'}"
    # One at a time, so that what comes first, and with it what is weak, is the same whenever it is run.
    api.search(
        latency_budget="1s",
        trials=10,
        study="asha",
        storage=url,
        profile=foreign,
        backend="ray",
        ray_address="local",
        workers=1,
        trial_epochs=2,
        **workplace.quick,
    )
    check_whole(url, "asha", 10)
    trials = Store(url).trials("asha")
    stopped = [trial for trial in trials if trial.outcome == "stopped"]
    assert stopped
    assert all(trial.val_accuracy is None for trial in stopped)
    assert all(re.match(r"stopped after part [123] at \d", trial.reason or "") for trial in stopped)
    assert any(trial.outcome == "complete" for trial in trials)


def test_a_node_of_a_ray_cluster_is_lost(workplace: Workplace, foreign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("AUTOGATE_CHECKPOINT_S", "0")
    url = f"sqlite:///{workplace.root / 'nodes' / 'studies.db'}"
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    # The head, which the driver needs, trains nothing.
    cluster = Cluster(initialize_head=True, head_node_args={**small, "num_cpus": 0, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(**small) for _ in range(2)]
        search = start(
            workplace,
            url,
            "search",
            "--study=nodes",
            "--trials=6",
            "--backend=ray",
            f"--ray-address={cluster.address}",
            *options(workplace, foreign, trial_epochs=8),
        )
        store = Store(wait_until(lambda: Path(url.removeprefix("sqlite:///")).exists() and url, search), create=True)
        lost = wait_until(lambda: next((node for node in nodes if trains_on(node, store, "nodes")), None), search)
        cluster.remove_node(lost, allow_graceful=False)
        # The other one begins again what was in training.
        wait_until(lambda: any(job.attempts > 1 for job in store.jobs("nodes")), search)
        out, err = search.communicate(timeout=2 * WAIT_S)
        assert search.returncode == 0, err
        check_whole(url, "nodes", 6)
    finally:
        cluster.shutdown()


def trains_on(node: Any, store: Store, study: str) -> bool:
    """Whether a process of a node of this host is in the middle of a training."""
    [raylet] = node.all_processes["raylet"]
    pids = {child.pid for child in psutil.Process(raylet.process.pid).children(recursive=True)}
    return any(worker.pid in pids for worker in store.workers(study) if not worker.idle)


def test_a_wrong_setting_of_checkpoints(workplace: Workplace, foreign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{workplace.root / 'checkpoints' / 'studies.db'}"
    monkeypatch.setenv("AUTOGATE_CHECKPOINT_S", "soon")
    with pytest.raises(AutoGateError, match="AUTOGATE_CHECKPOINT_S must be a number of seconds, not 'soon'"):
        api.search(latency_budget="1s", trials=2, study="born", storage=url, profile=foreign, **workplace.quick)
