from __future__ import annotations

import datetime
import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autogate.errors import StorageError, StudyError
from autogate.policy import Gate, Policy
from autogate.records import (
    Comparison,
    DenseFacts,
    Evaluation,
    EvaluationKey,
    FinalistRecord,
    Measurement,
    Operator,
    Realisation,
    Setting,
    StudyFacts,
    TrialRecord,
    UnitForm,
)
from autogate.store import Store
from autogate.store.artifacts import checked_url
from tests.support import ROOT
from tests.support.databases import add_evaluation, execute, some_config
from tests.support.networks import known_network
from tests.support.profiles import profile_of

POLICY = Policy({"block:layer1.1": Gate("drop")}, {"targeted_dropout.drop": 0.5})
KEY = EvaluationKey(POLICY.digest, "task", "recipe", "short", 0)
PREDICTED = {"mean": 1.0, "p50": 1.0, "p95": 1.5, "max": 2.0, "upper": 1.6}
SETTING = Setting("cpu", "a cpu", 4, "float32", "contiguous", 2, "eager", {"torch": "2.15"})


def started(url: str) -> Store:
    store = Store(url, create=True)
    store.create_study("first", some_config())
    return store


@pytest.fixture
def store(anywhere: str) -> Iterator[Store]:
    """Return a database of each kind with one study."""
    store = started(anywhere)
    yield store
    store.engine.dispose()


@pytest.fixture
def file_store(storage: str) -> Store:
    """Return a database that is a file, with one study."""
    return started(storage)


def trial(number: int, outcome: str = "complete", accuracy: float | None = 0.9) -> TrialRecord:
    return TrialRecord(number, outcome, POLICY, accuracy, PREDICTED, {"macs_paper": 10.0}, None, 1.5)


def finalist(store: Store, content: bytes = b"weights") -> FinalistRecord:
    measured = Measurement(1.0, 1.0, 1.1, 1.2, (0.9, 1.1), 8, 30)
    comparison = Comparison(measured, measured, 0.8, (0.7, 0.9), SETTING)
    return FinalistRecord(
        POLICY,
        "profile",
        3,
        0.9,
        0.89,
        {"params": 5},
        PREDICTED,
        comparison,
        Realisation({"a": (1, 0)}),
        store.add_artifact("finalist", content),
    )


@pytest.mark.e2e
def test_everything_comes_back_in_another_process(store: Store) -> None:
    storage = store.url
    store.update_facts("first", lambda facts: replace(facts, short_floor=0.5))
    store.update_facts("first", lambda facts: replace(facts, dense=DenseFacts(0.9)))
    store.add_trial("first", trial(0))
    store.add_policy(POLICY)
    add_evaluation(store, Evaluation(KEY, 0.875, Realisation({"block:layer1.1": (1, 0, 1)}), 2.5))
    record = finalist(store)
    store.add_finalist("first", record)
    code = (
        "import sys; from autogate.store import Store; s = Store(sys.argv[1]); import json;"
        "print(json.dumps([s.study('first').facts.to_json(), s.study_names(), s.trials('first')[0].policy.digest,"
        " s.finalists('first')[0].comparison.ratio, s.artifact(s.finalists('first')[0].artifact).decode()]))"
    )
    done = subprocess.run([sys.executable, "-c", code, storage], capture_output=True, text=True, cwd=ROOT, check=True)
    assert json.loads(done.stdout) == [
        StudyFacts(dense=DenseFacts(0.9), short_floor=0.5).to_json(),
        ["first"],
        POLICY.digest,
        0.8,
        "weights",
    ]
    again = Store(storage)
    assert again.trials("first") == [trial(0)]
    assert again.finalists("first") == [record]
    assert again.find_evaluation(KEY) == Evaluation(KEY, 0.875, Realisation({"block:layer1.1": (1, 0, 1)}), 2.5)
    again.engine.dispose()


def test_decisions_for_every_image_are_kept_small_and_whole() -> None:
    rng = random.Random(0)
    trace = Realisation(
        {
            "block:layer1.1": tuple(rng.randint(0, 1) for _ in range(5000)),
            "map:layer1.0.conv1": tuple(rng.randint(0, 2048) for _ in range(5000)),
        }
    )
    stored = json.dumps(trace.to_json())
    assert Realisation.from_json(json.loads(stored)) == trace
    assert len(stored) < 0.4 * len(json.dumps({site: list(kept) for site, kept in trace.decisions.items()}))
    assert Realisation.from_json({"block:layer1.1": [1, 0, 1]}) == Realisation({"block:layer1.1": (1, 0, 1)})


def test_evaluations_are_unique_by_key(store: Store) -> None:
    store.add_policy(POLICY)
    add_evaluation(store, Evaluation(KEY, 0.8, Realisation(), 1.0))
    add_evaluation(store, Evaluation(KEY, 0.1, Realisation(), 1.0))
    assert store.find_evaluation(KEY).val_accuracy == 0.8
    others = [
        EvaluationKey(POLICY.digest, "other", "recipe", "short", 0),
        EvaluationKey(POLICY.digest, "task", "other", "short", 0),
        EvaluationKey(POLICY.digest, "task", "recipe", "full", 0),
        EvaluationKey(POLICY.digest, "task", "recipe", "short", 1),
    ]
    for accuracy, key in enumerate(others):
        assert store.find_evaluation(key) is None
        add_evaluation(store, Evaluation(key, accuracy / 10, Realisation(), 1.0))
    assert [store.find_evaluation(key).val_accuracy for key in others] == [0.0, 0.1, 0.2, 0.3]
    assert store.find_evaluation(KEY).val_accuracy == 0.8


def test_trials_are_counted_by_outcome(store: Store) -> None:
    store.create_study("second", some_config())
    assert store.count_trials("first") == {
        "total": 0,
        "complete": 0,
        "rejected": 0,
        "reused": 0,
        "stopped": 0,
        "failed": 0,
    }
    for number, outcome in enumerate(["complete", "rejected", "rejected", "reused", "failed", "complete", "stopped"]):
        store.add_trial("first", trial(number, outcome, None if outcome in ("rejected", "failed") else 0.5))
    store.add_trial("second", trial(0))
    # A failed proposal is replaced, so it does not count.
    assert store.count_trials("first") == {
        "total": 6,
        "complete": 2,
        "rejected": 2,
        "reused": 1,
        "stopped": 1,
        "failed": 1,
    }
    assert [record.number for record in store.trials("first")] == list(range(7))
    # Storing the same number again is storing it once.
    store.add_trial("first", trial(5))
    assert store.count_trials("first")["total"] == 6
    assert len(store.trials("second")) == 1


def test_trials_stay_in_order_whatever_the_clocks_of_hosts_say(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ahead(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return datetime.datetime(2199, 1, 1, tzinfo=tz)

    with monkeypatch.context() as another_host:
        another_host.setattr("autogate.store.session.datetime.datetime", Ahead)
        store.add_trial("first", trial(0))
    store.add_trial("first", trial(1))
    assert store.trial_order("first") == [0, 1]


def test_unknown_studies_suggest_others(store: Store) -> None:
    store.create_study("cifar-60", some_config())
    with pytest.raises(StudyError, match=r"no study 'cifar60' in (sqlite|postgresql).*; did you mean cifar-60"):
        store.study("cifar60")
    with pytest.raises(StudyError, match="no study 'zzz'.*known: first, cifar-60"):
        store.study("zzz")


@pytest.mark.parametrize(
    ("value", "complaint"),
    [("5", "has schema 5, newer than 4, which this version reads; update autogate"), ("abc", "unknown schema")],
)
def test_other_schemas_are_refused(store: Store, value: str, complaint: str) -> None:
    execute(store.url, f"update autogate_schema_version set version_num = '{value}'")  # noqa: S608
    for create in (True, False):
        with pytest.raises(StorageError, match=complaint):
            Store(store.url, create=create)


def test_versions_that_know_only_the_first_schema_are_told_of_a_newer_one(file_store: Store, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "studies.db")
    assert connection.execute("select value from autogate_meta where key = 'schema'").fetchone() == ("4",)
    connection.close()


def test_artifacts_are_kept_under_their_hash(store: Store) -> None:
    sha256 = store.add_artifact("dense", b"some weights")
    assert store.artifact(sha256) == b"some weights"
    assert store.add_artifact("dense", b"some weights") == sha256
    assert store.artifacts() == {sha256: 12}
    with pytest.raises(StorageError, match=f"the weights {'0' * 64} in .* are missing"):
        store.artifact("0" * 64)
    store.delete_artifact(sha256)
    with pytest.raises(StorageError, match="are missing"):
        store.artifact(sha256)


def test_a_file_keeps_its_artifacts_beside_it(file_store: Store, tmp_path: Path) -> None:
    sha256 = file_store.add_artifact("dense", b"some weights")
    files = list((tmp_path / "artifacts").iterdir())
    assert [file.name for file in files] == [f"{sha256}.safetensors"]


LARGE = bytes(range(256)) * 2**16 + b"rest"


def test_a_server_keeps_artifacts_of_any_size_itself(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = started(postgres)
    sha256 = store.add_artifact("dense", LARGE)
    assert store.artifact(sha256) == LARGE
    execute(postgres, "update autogate_artifact_parts set content = 'x' where part = 1")
    with pytest.raises(StorageError, match=f"the weights {sha256} in postgresql.* were changed"):
        store.artifact(sha256)
    store.engine.dispose()
    assert list(tmp_path.iterdir()) == []


def test_artifacts_at_a_shared_place(store: Store, tmp_path: Path) -> None:
    url = checked_url(str(tmp_path / "shared folder"))
    store.place_artifacts(url)
    sha256 = store.add_artifact("dense", b"some weights")
    assert store.add_artifact("dense", b"some weights") == sha256
    again = Store(store.url)
    assert again.artifact(sha256) == b"some weights"
    [file] = (tmp_path / "shared folder").iterdir()
    file.write_bytes(b"same weights")
    with pytest.raises(StorageError, match="the weights file:.* were changed"):
        again.artifact(sha256)
    file.unlink()
    with pytest.raises(StorageError, match="the weights file:.* are missing"):
        again.artifact(sha256)
    store.place_artifacts(url)
    with pytest.raises(StorageError, match="stores its weights at file:.*; leave --artifacts out"):
        store.place_artifacts(checked_url(str(tmp_path / "elsewhere")))
    again.engine.dispose()


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/weights", "memory://x", "filecache::s3://bucket"])
def test_places_for_artifacts_that_are_refused(url: str) -> None:
    with pytest.raises(StorageError, match="--artifacts") as raised:
        checked_url(url)
    assert "secret" not in str(raised.value)


def test_places_without_a_driver_are_told(store: Store) -> None:
    store.place_artifacts("nothing://there")
    with pytest.raises(StorageError, match="cannot use --artifacts nothing://there"):
        store.add_artifact("dense", b"some weights")


def test_artifacts_that_were_changed_or_lost_are_noticed(file_store: Store, tmp_path: Path) -> None:
    sha256 = file_store.add_artifact("dense", b"some weights")
    path = tmp_path / "artifacts" / f"{sha256}.safetensors"
    path.write_bytes(b"same weights")
    with pytest.raises(StorageError, match=f"the weights .*{sha256}.* were changed; restore the file"):
        file_store.artifact(sha256)
    path.unlink()
    with pytest.raises(StorageError, match=f"the weights .*{sha256}.* are missing; restore the file"):
        file_store.artifact(sha256)


def test_artifacts_that_cannot_be_written(file_store: Store, tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("in the way", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot write weights to .*artifacts.*; free space or use --storage"):
        file_store.add_artifact("dense", b"some weights")


FULL_DISK = """
import resource, signal, sys
from autogate.errors import StorageError
from autogate.policy import Gate, Policy
from autogate.store import Store; from autogate.records import TrialRecord
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    if sys.argv[3] == "artifact":
        store.add_artifact("dense", bytes(1_000_000))
    for number in range(1, 5000):
        policy = Policy({f"block:{number}": Gate("drop")})
        store.add_trial("first", TrialRecord(number, "complete", policy, 0.5, {}, {}, "x" * 2000, 1.0))
except StorageError as error:
    print(error)
"""


@pytest.mark.e2e
@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files, as Linux can")
@pytest.mark.parametrize("what", ["artifact", "trials"])
def test_a_full_disk_is_told_in_one_line_and_loses_nothing(
    file_store: Store, storage: str, tmp_path: Path, what: str
) -> None:
    file_store.add_trial("first", trial(0))
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, storage, "500000", what],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 1
    assert ("cannot write weights" if what == "artifact" else "what was stored before is safe") in done.stdout
    again = Store(storage)
    numbers = [record.number for record in again.trials("first")]
    assert numbers == list(range(len(numbers)))
    assert numbers[0] == 0
    if what == "artifact":
        assert list((tmp_path / "artifacts").iterdir()) == []


def test_profiles_by_model_newest_first(store: Store) -> None:
    taken = profile_of(known_network("resnet20"), [("block:layer1.1", Gate("drop"))])
    scripted = replace(
        taken.networks[0],
        interval_ms=(1.0, 2.0),
        phase="alone",
        decisions={"block:layer1.1": 1},
        executors={"map:layer2.0.conv1": "halo"},
    )
    form = UnitForm(taken.units[0].key, (Operator("aten.convolution", 5, 7, 3, 2), Operator("aten.relu", 0, 4)))
    taken = replace(
        taken,
        units=(replace(taken.units[0], host_ms=0.5), *taken.units[1:]),
        forms=(form,),
        networks=(*taken.networks, scripted),
        method={"clock": "a clock"},
    )
    newer = replace(taken, created_utc="2030-01-01T00:00:00+00:00")
    store.add_profile("aa", taken)
    store.add_profile("bb", newer)
    store.add_profile("bb", newer)
    store.add_profile("cc", replace(taken, model="vgg16_bn"))
    assert store.profile("aa") == taken
    assert store.profile("zz") is None
    assert store.profiles(taken.model) == [newer, taken]
    assert store.profiles("vgg") == []


def test_a_study_is_made_once(store: Store) -> None:
    with pytest.raises(StudyError, match="first"):
        store.create_study("first", some_config())


@pytest.mark.e2e
def test_two_writers(store: Store) -> None:
    """Two processes store 100 trials each, of the same policies, into one database, at once."""
    code = (
        "import sys; from autogate.store import Store; from autogate.records import TrialRecord\n"
        "from autogate.policy import Gate, Policy\n"
        "s = Store(sys.argv[1]); start = int(sys.argv[2])\n"
        "for n in range(start, start + 100):\n"
        "    p = Policy({f'block:{n % 100}': Gate('drop')})\n"
        "    s.add_trial('first', TrialRecord(n, 'complete', p, 0.5, {}, {}, None, 1.0))\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, store.url, start], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for start in ("0", "100")
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert [record.number for record in store.trials("first")] == list(range(200))


def test_commands_name_the_database_unless_it_is_the_default(
    file_store: Store, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert file_store.command("resume", "first") == f"autogate resume first --storage '{storage}'"
    monkeypatch.setenv("AUTOGATE_STORAGE", storage)
    assert file_store.command("resume", "first") == "autogate resume first"
    assert file_store.command("resume", "it's mine") == "autogate resume 'it'\"'\"'s mine'"


def test_configuration_and_facts_change_together_or_not_at_all(anywhere: str) -> None:
    store = Store(anywhere, create=True)
    store.create_study("mine", some_config(), StudyFacts(short_floor=0.5))

    def fail(facts: StudyFacts) -> StudyFacts:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.set_config("mine", some_config(batch_size=8), fail)
    assert store.study("mine").config.batch_size == 1
    changed = store.set_config("mine", some_config(batch_size=8), lambda facts: replace(facts, short_floor=None))
    assert changed.short_floor is None
    assert store.study("mine").config.batch_size == 8
    assert store.study("mine").facts == changed
    assert store.set_config("mine", some_config(batch_size=4)) == changed


def test_a_stored_goal_that_is_none_names_its_study(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    store = Store(url, create=True)
    store.create_study("mine", some_config())
    execute(url, """update autogate_studies set config = replace(config, '"pareto": true', '"pareto": false')""")
    with pytest.raises(StorageError, match="the configuration of study 'mine' cannot be read .*exactly one of"):
        store.study("mine")
