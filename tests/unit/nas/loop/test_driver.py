"""The driver of a study may die at any moment: the next one loses nothing, repeats nothing, leaves nothing behind."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from autogate.analysis import add_replay, replay_driver
from autogate.errors import TrainingError
from autogate.nas.loop import Driver
from autogate.nas.proposing import OpenTrial
from autogate.nas.proposing import optuna_trials as trial_log
from autogate.nas.workers import WorkerSession, run_job
from autogate.records import slot_of
from autogate.store import Store
from autogate.studies import Reporter

NAME = "again"


class DrivenReplay:
    """A replayed study, driven step by step."""

    def __init__(self, url: str, trials: int = 12, **changes: Any) -> None:
        self.store = Store(url)
        self.config = (
            self.store.study(NAME).config
            if NAME in self.store.study_names()
            else add_replay(self.store, "budget", NAME, trials=trials, **changes)
        )

    def driver(self) -> Driver:
        """Start to drive the study, as a new process would."""
        return replay_driver(self.store, NAME, self.config, Reporter())

    def answer(self, driver: Driver) -> int:
        """Do all jobs there are; return how many."""
        done = 0
        with WorkerSession(self.store, NAME, "cpu", joined=False) as session:
            while (job := session.take()) is not None:
                run_job(self.store, driver.evaluator, job, session, Reporter())
                done += 1
        return done

    def finish(self, driver: Driver) -> int:
        """Search to the end, one candidate at a time; return how many were answered."""
        answered = 0
        while not driver.is_over:
            if driver.wants_more and not driver.open:
                driver.propose()
            answered += self.answer(driver)
            driver.collect()
        return answered

    def states(self) -> list[str]:
        study = optuna.load_study(study_name=NAME, storage=self.store.url)
        return [trial.state.name for trial in study.get_trials(deepcopy=False)]

    def policies(self) -> list[str]:
        return [trial.policy.digest for trial in self.store.trials(NAME) if trial.policy is not None]


def to_be_trained(driver: Driver) -> OpenTrial:
    while (found := driver.propose()) is None:
        pass
    return found


def check_whole(bench: DrivenReplay, answered: int) -> None:
    counts = bench.store.count_trials(NAME)
    assert counts["total"] == 12
    assert counts["failed"] == 0
    assert answered == counts["complete"] == len(set(bench.policies())) - counts["rejected"]
    assert not {"RUNNING", "WAITING"} & set(bench.states())
    assert bench.store.jobs(NAME) == []
    assert [front.trial for front in bench.store.fronts(NAME)] == bench.store.trial_order(NAME)


def test_a_search_without_interruption(recorded_anywhere: str) -> None:
    bench = DrivenReplay(recorded_anywhere)
    answered = bench.finish(bench.driver())
    check_whole(bench, answered)
    assert len(bench.states()) == 12


@pytest.mark.e2e
def test_killed_between_the_question_and_the_answer(recorded_anywhere: str) -> None:
    bench = DrivenReplay(recorded_anywhere)
    lost = to_be_trained(bench.driver())
    assert bench.states().count("RUNNING") == 1
    second = bench.driver()
    assert bench.states().count("FAIL") == 1
    assert second.open == {}
    # What was lost is asked for again, before anything else.
    assert to_be_trained(second).policy == lost.policy
    check_whole(bench, bench.finish(second))
    assert bench.policies().count(lost.policy.digest) == 1


@pytest.mark.e2e
def test_killed_again_before_it_asks_again(recorded_anywhere: str) -> None:
    bench = DrivenReplay(recorded_anywhere)
    lost = to_be_trained(bench.driver())
    bench.driver()
    third = bench.driver()
    assert to_be_trained(third).policy == lost.policy
    check_whole(bench, bench.finish(third))


@pytest.mark.e2e
def test_killed_after_the_evaluation_was_stored(recorded_anywhere: str) -> None:
    bench = DrivenReplay(recorded_anywhere)
    first = bench.driver()
    trial = to_be_trained(first)
    assert bench.answer(first) == 1
    second = bench.driver()  # the first one never heard of it
    [record] = [record for record in bench.store.trials(NAME) if record.number == trial.begun.number]
    assert record.outcome == "complete"
    assert bench.states()[trial.begun.number] == "COMPLETE"
    check_whole(bench, 1 + bench.finish(second))


@pytest.mark.e2e
def test_killed_after_the_record_and_before_it_was_told(
    recorded_anywhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = DrivenReplay(recorded_anywhere)
    first = bench.driver()
    trial = to_be_trained(first)
    bench.answer(first)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(first.log, "end", die)
    with pytest.raises(KeyboardInterrupt):
        first.collect()
    assert bench.states()[trial.begun.number] == "RUNNING"
    second = bench.driver()
    assert bench.states()[trial.begun.number] == "COMPLETE"
    check_whole(bench, 1 + bench.finish(second))


@pytest.mark.e2e
@pytest.mark.parametrize("where", ["_reject", "log.end"])
def test_killed_around_a_rejection(recorded_anywhere: str, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    bench = DrivenReplay(recorded_anywhere)
    first = bench.driver()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    # The first candidate is dense, which is over the budget.
    target = first.log if where == "log.end" else first
    monkeypatch.setattr(target, where.removeprefix("log."), die)
    with pytest.raises(KeyboardInterrupt):
        first.propose()
    assert bench.states() == ["RUNNING"]
    assert len(bench.store.trials(NAME)) == (where == "log.end")
    second = bench.driver()
    assert bench.states() == ["PRUNED"]
    assert [trial.outcome for trial in bench.store.trials(NAME)] == ["rejected"]
    check_whole(bench, bench.finish(second))


@pytest.mark.e2e
def test_killed_before_the_choices_were_stored(recorded_anywhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = DrivenReplay(recorded_anywhere)
    first = bench.driver()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trial_log, "add_params", die)
    with pytest.raises(KeyboardInterrupt):
        first.propose()
    monkeypatch.undo()
    assert bench.states() == ["RUNNING"]
    second = bench.driver()
    assert bench.states() == ["FAIL"]
    check_whole(bench, bench.finish(second))


@pytest.mark.e2e
def test_tables_of_another_optuna_are_left_to_optuna(recorded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_log, "has_known_tables", lambda storage: False)
    bench = DrivenReplay(recorded)
    check_whole(bench, bench.finish(bench.driver()))
    study = optuna.load_study(study_name=NAME, storage=recorded)
    monkeypatch.undo()
    assert all(len(trial.params) == len(study.trials[0].params) > 0 for trial in study.trials)


@pytest.mark.e2e
def test_optuna_reads_what_was_stored(recorded: str) -> None:
    bench = DrivenReplay(recorded)
    driver = bench.driver()
    bench.finish(driver)
    for trial in optuna.load_study(study_name=NAME, storage=recorded).trials:
        assert driver.proposer.policy(trial.params).digest == bench.policies()[trial.number]
        assert trial.constraints


@pytest.mark.e2e
def test_what_a_worker_elsewhere_still_trains_is_waited_for(recorded_anywhere: str) -> None:
    bench = DrivenReplay(recorded_anywhere)
    first = bench.driver()
    trial = to_be_trained(first)
    with WorkerSession(bench.store, NAME, "cpu", joined=True) as elsewhere:
        job = elsewhere.take()
        assert job is not None
        second = bench.driver()  # the driver died, the worker did not
        assert list(second.open) == [trial.begun.number]
        assert bench.states().count("FAIL") == 0
        second.collect()
        assert list(second.open) == [trial.begun.number]
        run_job(bench.store, second.evaluator, job, elsewhere, Reporter())
    second.collect()
    assert second.open == {}
    check_whole(bench, 1 + bench.finish(second))


@pytest.mark.e2e
def test_an_interrupted_study_proposes_what_it_would_have_proposed(recorded: str) -> None:
    whole = DrivenReplay(recorded)
    whole.finish(whole.driver())
    expected = whole.policies()
    api_delete(whole)
    broken = DrivenReplay(recorded)
    for _ in range(6):  # dies six times, each time with a candidate in training
        driver = broken.driver()
        if driver.wants_more:
            to_be_trained(driver)
        driver = broken.driver()
        if driver.wants_more:
            to_be_trained(driver)
            broken.answer(driver)
    broken.finish(broken.driver())
    assert broken.policies() == expected


def api_delete(bench: DrivenReplay) -> None:
    from autogate import api

    api.delete_study(NAME, storage=bench.store.url)


def test_several_candidates_at_a_time(recorded_anywhere: str) -> None:
    bench = DrivenReplay(recorded_anywhere, workers=3)
    driver = bench.driver()
    answered = 0
    while not driver.is_over:
        while driver.wants_more and len(driver.open) < 3:
            driver.propose()
        answered += bench.answer(driver)
        driver.collect()
    check_whole(bench, answered)


@pytest.mark.e2e
def test_what_workers_die_of_fails_with_the_reason(recorded_anywhere: str) -> None:
    bench = DrivenReplay(recorded_anywhere)
    driver = bench.driver()
    trial = to_be_trained(driver)
    for _ in range(4):
        assert bench.store.take_job(NAME, "worker") is not None
        driver.collect()
        assert list(driver.open) == [trial.begun.number]
        bench.store.release("worker", counts=True)
    driver.collect()
    assert driver.open == {}
    [record] = [record for record in bench.store.trials(NAME) if record.outcome == "failed"]
    assert record.reason == "4 workers died while they trained it"
    assert bench.states()[trial.begun.number] == "FAIL"
    assert bench.store.jobs(NAME) == []
    bench.finish(driver)
    assert bench.store.count_trials(NAME)["total"] == 12


def test_one_failure_after_the_other_ends_the_search(recorded: str) -> None:
    bench = DrivenReplay(recorded)
    driver = bench.driver()
    while driver.wants_more:
        driver.propose()
        for job in bench.store.jobs(NAME):
            bench.store.fail_job(job.id, "the loss became nan in epoch 1")
        driver.collect()
    with pytest.raises(TrainingError, match="5 trials failed in a row, the last one because: the loss became nan"):
        driver.give_up()


@pytest.mark.e2e
def test_a_weak_candidate_can_be_stopped(recorded_anywhere: str) -> None:
    bench = DrivenReplay(recorded_anywhere)
    driver = bench.driver()
    trial = to_be_trained(driver)
    bench.store.save_checkpoint(slot_of(trial.key), NAME, b"how far it came", 10)
    driver.stop(trial.begun.number, "stopped after part 1 at 20.00%")
    assert bench.store.checkpoint(slot_of(trial.key)) is None
    assert bench.states()[trial.begun.number] == "PRUNED"
    assert bench.store.count_trials(NAME)["stopped"] == 1
    assert bench.store.jobs(NAME) == []
    answered = bench.finish(driver)
    counts = bench.store.count_trials(NAME)
    assert counts["total"] == 12
    assert answered == counts["complete"]


def test_two_studies_that_want_the_same_train_it_once(recorded: str) -> None:
    one = DrivenReplay(recorded)
    first = one.driver()
    mine = to_be_trained(first)
    store = one.store
    config = add_replay(store, "budget", "other", trials=12)
    second = replay_driver(store, "other", config, Reporter())
    with WorkerSession(store, NAME, "cpu", joined=False):
        yours = to_be_trained(second)
        assert yours.key == mine.key
        second.collect()
        assert store.jobs("other") == []
        assert one.answer(first) == 1
    first.collect()
    second.collect()
    assert first.open == second.open == {}
    assert store.count_trials("other")["complete"] == 1


def test_limits(recorded: str) -> None:
    bench = DrivenReplay(recorded, trainings=2)
    answered = bench.finish(bench.driver())
    assert answered == bench.store.count_trials(NAME)["complete"] == 2
    late = DrivenReplay(recorded)
    late.config = late.config.model_copy(update={"trainings": None, "timeout_s": 1e-9})
    driver = late.driver()
    assert driver.is_over


@pytest.mark.e2e
def test_a_random_search_is_just_that(recorded: str) -> None:
    bench = DrivenReplay(recorded, sampler="random")
    driver = bench.driver()
    assert not driver.sampler.is_guided
    bench.finish(driver)
    assert bench.store.count_trials(NAME)["total"] == 12
