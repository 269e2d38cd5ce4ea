"""Search a recorded study's space again, with another sampler, seed or team, and train nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from autogate.errors import StudyError
from autogate.goals import Objective, SearchConfig, is_brought, make_config
from autogate.models import load_model
from autogate.nas.evaluating import replay_of
from autogate.nas.executors import make_executor
from autogate.nas.loop import Driver, Limits, SearchContext, fastest_policy, make_driver, study_latency
from autogate.nas.profiles import searched_space
from autogate.nas.proposing import Sensitivity, load_sampler, paying_gates, savings
from autogate.records import StudyFacts
from autogate.sites import find_sites
from autogate.store import Store
from autogate.studies import Reporter, StudyRun, floor_of
from autogate.system import code_version

# Of a choice that the recorded study did not know.
_UNKNOWN = 1.0


def add_replay(store: Store, source: str, name: str, **changes: Any) -> SearchConfig:
    """Add a study that replays another one, and return its configuration.

    Args:
        store: The study database.
        source: Name of the recorded study.
        name: Name of the new one.
        **changes: Settings of its own, such as ``sampler``, ``seed``, ``trials`` and ``replay_s``.

    Raises:
        StudyError: If it is there already, or the recorded one did not come far enough.
    """
    record = store.study(source)
    recorded, facts = record.config, record.facts
    if recorded.replay is not None:
        raise StudyError(f"study {source!r} is a replay itself; name {recorded.replay!r}")
    if is_brought(recorded.model):
        raise StudyError(f"study {source!r} was started from Python with its own model; replay needs one by name")
    if not facts.sensitivity:
        raise StudyError(f"study {source!r} did not come to its search; run `{store.command('resume', source)}`")
    new = make_config(**{**recorded.model_dump(), "replay": source, **changes})
    load_sampler(new.sampler, new.seed)
    replay_of(store, new)
    task = None if facts.task is None else replace(facts.task, training_functions=())
    kept = StudyFacts(
        task=task,
        target=facts.target,
        dense=facts.dense,
        sensitivity=facts.sensitivity,
        short_floor=facts.short_floor,
    )
    store.create_study(name, new, kept, code_version=code_version())
    return new


def run_replay(store: Store, study: str, config: SearchConfig, reporter: Reporter) -> dict[str, float]:
    """Run or continue a replay; return the seconds that it took, and those of them that finding candidates took.

    Args:
        store: The study database; it holds the study.
        study: Name of the replay.
        config: Its configuration.
        reporter: Receives progress and every trial.
    """
    evaluator, here = replay_of(store, config), torch.device("cpu")
    with make_executor(config, store, study, evaluator, here, reporter) as executor, reporter.stage("search"):
        driver = replay_driver(store, study, config, reporter)
        executor.run(driver)
        driver.give_up()
    return {
        "seconds": reporter.seconds["search"],
        "sampler_seconds": driver.sampler.seconds,
        "proposing_seconds": driver.candidates.seconds,
    }


def replay_driver(store: Store, study: str, config: SearchConfig, reporter: Reporter) -> Driver:
    """Return what drives a replay.

    Args:
        store: The study database; it holds the study.
        study: Name of the replay.
        config: Its configuration.
        reporter: Receives progress and every trial.

    Raises:
        StudyError: If the profile of the recorded study is missing.
    """
    record = store.study(study)
    facts, target, task = record.facts, record.facts.target, record.facts.task
    profile = None if target is None else store.profile(target.profile)
    if profile is None or target is None or task is None:
        raise StudyError(f"the profile of study {study!r} is not in {store.shown_url}")
    module = load_model(config.model, num_classes=len(task.class_names) or None).module
    latency = study_latency(profile, find_sites(module, profile.input_shape), facts)
    objective = Objective.of(config, latency.dense_ms)
    if floor_of(config, facts) is not None:
        objective = replace(objective, floor=facts.short_floor)
    space, _ = paying_gates(searched_space(config, latency.network), latency)
    saved = savings(space, latency)
    known = {(one.decision, one.choice): one.loss_increase for one in facts.sensitivity}
    sensitivity = Sensitivity({key: known.get(key, _UNKNOWN) for key in saved}, saved)
    run = StudyRun(store, study, config, reporter)
    context = SearchContext(run, target, latency, space, fastest_policy(space, latency), objective)
    limits = Limits(config.trials, config.trainings, config.timeout_s)
    sampler = load_sampler(config.sampler, config.seed, store.count_trials(study)["total"])
    return make_driver(context, replay_of(store, config), sensitivity, limits, sampler=sampler)
