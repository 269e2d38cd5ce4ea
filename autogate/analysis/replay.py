"""Search a recorded study's space again, with another sampler, seed or team, and train nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from autogate.errors import StudyError
from autogate.goals import Objective, SearchConfig
from autogate.models import load_model
from autogate.nas.evaluating import replay_of
from autogate.nas.executors import make_executor
from autogate.nas.loop import Driver, Limits, fastest_policy, study_latency
from autogate.nas.profiles import searched_space
from autogate.nas.proposing import OptunaTrials, Proposer, Sampler, Sensitivity, load_sampler, paying_gates, savings
from autogate.sites import find_sites
from autogate.store import Store
from autogate.studies import Reporter, floor_of
from autogate.system import code_version

_TAKEN = (
    "task",
    "profile",
    "slowness",
    "stale_error",
    "latency_model",
    "foreign",
    "setting",
    "dense_predicted_ms",
    "budget_ms_search",
    "budget_binding",
    "val_images",
    "preprocessing",
    "class_names",
    "dense",
    "sensitivity",
    "short_floor",
)

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
    config, facts = store.study(source)
    recorded = SearchConfig.model_validate(config)
    if recorded.replay is not None:
        raise StudyError(f"study {source!r} is a replay itself; name {recorded.replay!r}")
    if recorded.model.startswith("python:"):
        raise StudyError(f"study {source!r} was started from Python with its own model; replay needs one by name")
    load_sampler(str(changes.get("sampler", recorded.sampler)), recorded.seed)
    if "sensitivity" not in facts:
        raise StudyError(f"study {source!r} did not come to its search; run `{store.command('resume', source)}`")
    new = SearchConfig.model_validate({**recorded.model_dump(), "replay": source, **changes})
    replay_of(store, new)
    kept = {key: facts[key] for key in _TAKEN if key in facts}
    store.create_study(name, new.to_json(), {**kept, "methods": []}, code_version=code_version())
    return new


def run_replay(store: Store, study: str, config: SearchConfig, reporter: Reporter) -> dict[str, float]:
    """Run or continue a replay; return the seconds that it took, and those of them that finding candidates took.

    Args:
        store: The study database; it holds the study.
        study: Name of the replay.
        config: Its configuration.
        reporter: Hears of every trial.
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
        reporter: Hears of every trial.

    Raises:
        StudyError: If the profile of the recorded study is missing.
    """
    facts = store.study(study)[1]
    profile = store.profile(str(facts["profile"]))
    if profile is None:
        raise StudyError(f"the profile of study {study!r} is not in {store.shown_url}")
    module = load_model(config.model, num_classes=len(facts["class_names"])).module
    network = find_sites(module, profile.input_shape)
    latency = study_latency(profile, network, facts)
    objective = Objective.of(config, latency.dense_ms)
    if floor_of(config, facts) is not None:
        objective = replace(objective, floor=facts["short_floor"])
    declared = searched_space(config, network)
    space, _ = paying_gates(declared, latency)
    saved = savings(space, latency)
    known = {(decision, choice): float(loss) for decision, choice, loss in facts["sensitivity"]}
    proposer = Proposer(
        space,
        network.sites,
        lambda policy: latency.expected(policy).upper(objective.stat),
        objective.limit_ms,
        latency.dense_ms,
        Sensitivity({key: known.get(key, _UNKNOWN) for key in saved}, saved),
        fastest_policy(space, latency),
        config.seed,
    )
    log = OptunaTrials(store, study, objective.directions, declared.all_choices())
    sampler = Sampler(
        config.sampler,
        config.seed,
        objective.directions,
        log.within(space.all_choices()),
        parallel=config.has_team,
        custom=load_sampler(config.sampler, config.seed, store.count_trials(study)["total"]),
    )
    limits = Limits(config.trials, config.trainings, config.timeout_s)
    return Driver(
        store,
        study,
        objective,
        latency,
        proposer,
        replay_of(store, config),
        log,
        sampler,
        reporter,
        config.seed,
        limits,
    )
