"""What is said of recorded studies as a whole, against what their database holds."""

from __future__ import annotations

from autogate import api
from autogate.store import Store
from autogate.studies import watch_document
from tests.support.databases import execute


def test_a_list_names_every_study_and_its_goal(recorded: str) -> None:
    lines = {line.name: line.to_json() for line in api.list_studies(storage=recorded)}
    assert {name: line["goal"] for name, line in lines.items()} == {"budget": "80%", "largest drop": "max drop 20%"}
    for name, line in lines.items():
        trials, finalists = Store(recorded).trials(name), Store(recorded).finalists(name)
        assert (line["trials"], line["finalists"]) == (len(trials), len(finalists))
        assert line["trained"] == sum(trial.outcome == "complete" for trial in trials)
        assert (line["model"], line["data"]) == ("goldnet:build", "goldnet:some_digits")


def test_a_study_is_described_with_its_origin_and_its_size(recorded_anywhere: str) -> None:
    document, store = api.describe_study("budget", storage=recorded_anywhere).to_json(), Store(recorded_anywhere)
    assert document["schema"] == "autogate.study-overview/1"
    assert document["created_utc"] == store.origin("budget")["created_utc"]
    assert document["config"]["latency_budget"] == "80%"
    assert document["outcomes"]["total"] == document["trials"] == 8
    sizes = store.artifacts()
    finalist = store.finalists("budget")[0].artifact
    # The weights of dense, those that candidates share, and those of the finalist.
    assert sizes[finalist] < document["weights_bytes"] <= sum(sizes.values())
    assert document["front"] == len(api.show_study("budget", storage=recorded_anywhere).to_json()["front"])


def test_the_hypervolume_of_a_description_is_the_last_of_the_history(recorded: str) -> None:
    points = api.history("budget", storage=recorded).to_json()["points"]
    assert api.describe_study("budget", storage=recorded).to_json()["hypervolume"] == points[-1]["hypervolume"]
    volumes = [point["hypervolume"] for point in points]
    assert volumes == sorted(volumes)
    assert [point["trial"] for point in points] == [trial.number for trial in Store(recorded).trials("budget")]


def test_a_watched_study_shows_its_latest_trials_first(recorded: str) -> None:
    document = watch_document(Store(recorded), "budget", latest=3)
    trials = Store(recorded).trials("budget")
    assert [trial["trial"] for trial in document["latest"]] == [trial.number for trial in trials[:-4:-1]]
    assert [trial["outcome"] for trial in document["latest"]] == [trial.outcome for trial in trials[:-4:-1]]
    within = [t for t in trials if t.val_accuracy is not None and t.number == document["best"]["trial"]]
    assert within[0].val_accuracy == document["best"]["val_accuracy"]
    assert document["workers"] == []
    assert document["finished"]


def test_a_study_that_wants_more_trials_is_not_finished(recorded: str) -> None:
    execute(recorded, "update autogate_studies set config = replace(config, '\"trials\": 8', '\"trials\": 9')")
    execute(recorded, "update autogate_studies set config = replace(config, '\"trials\":8', '\"trials\":9')")
    document = watch_document(Store(recorded), "budget", latest=1)
    assert (document["trials"], document["wanted"]) == (8, 9)
    assert not document["finished"]
