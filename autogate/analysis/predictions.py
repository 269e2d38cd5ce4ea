"""What the latency model says before or without any training: of a configuration, and of a stored study's policies."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from torch import nn

from autogate.errors import PolicyError, ProfileError, StudyError
from autogate.gates import brief
from autogate.goals import Budgets, SearchConfig
from autogate.latency.hardware import resolve_device
from autogate.latency.model import LatencyModel, ManyPredictor, explain_gates, explain_units
from autogate.latency.profile import read_profile
from autogate.models import load_model
from autogate.nas.evaluating import CallerInputs, OwnData, load_model_and_data, load_task, traced_network
from autogate.nas.loop import prepare_search, study_latency
from autogate.nas.profiles import (
    at_step_of,
    check_resources,
    check_setting,
    find_profile,
    known_profile,
    named_profile,
    own_profile,
    searched_space,
    settled_runtime,
    settled_space,
)
from autogate.policy import Policy
from autogate.records import Profile, Realisation, StudyFacts
from autogate.resources import predicted_statistics
from autogate.sites import find_sites
from autogate.space import SpaceSpec, load_space, parse_space
from autogate.space.bound import bind
from autogate.store import Store, holds_studies
from autogate.studies import Reporter, StudyRun, best_within, pareto_front, point_document
from autogate.surgery import canonical


def reach_document(config: SearchConfig, url: str, reporter: Reporter) -> dict[str, Any]:
    """Return latency and peak memory, of dense and the lowest reachable, and size of the space.

    Args:
        config: What would be searched.
        url: Database in which the profile is kept; it is made once everything the configuration names was found.
        reporter: Receives progress.

    Raises:
        AutoGateError: If anything asked for is unknown, damaged or does not fit.
    """
    check_resources(config, resolve_device(config.device))
    task = load_task(config, reporter)
    config, _ = settled_runtime(config, task.network, task.target, reporter)
    check_setting(config, task.network, task.target)
    config = settled_space(config, task.target, reporter, Store(url) if holds_studies(url) else None)
    if config.profile is not None:
        named_profile(config, task.network)
    # A study of no name is none that is stored.
    context = prepare_search(StudyRun(Store(url, create=True), "", config, reporter), task.network, task.target)
    objective = context.objective
    fastest = context.latency.fastest(context.fastest)
    memory, smallest = context.memory, context.smallest_policy
    return {
        "schema": "autogate.dry-run/1",
        "label": "predicted",
        "device": context.latency.profile.setting.device_name,
        "batch_size": config.batch_size,
        "runtime": config.runtime,
        "dense_ms": context.latency.dense_ms,
        "lightest_ms": fastest.stat(config.latency_stat),
        "budget_ms": objective.limit_ms,
        "dense_peak_memory_bytes": None if memory is None else memory.dense_bytes,
        "smallest_peak_memory_bytes": None if memory is None or smallest is None else memory.peak_bytes(smallest),
        "memory_budget_bytes": None if memory is None else memory.limit_bytes,
        "reachable": objective.fits(fastest) and (memory is None or smallest is None or memory.fits(smallest)),
        "decisions": len(context.space.all_choices()),
        "combinations": context.space.size,
        "cannot_pay": list(context.target.unpaying_gates),
    }


def reranked_document(
    store: Store,
    study: str,
    profile: str,
    budgets: Budgets,
    *,
    model: nn.Module | None = None,
    data: OwnData | None = None,
) -> dict[str, Any]:
    """Return the front of a study as it is on the device of another profile, and what is best there; trains nothing.

    Args:
        store: The study database.
        study: Name of the study.
        profile: A profile file, or the name of a recorded profile, of the study's network.
        budgets: Budgets to judge by instead of the study's own; memory and energy are not known there.
        model: The network itself, if the study was not started by name.
        data: The data itself, if the study was not started by name.

    Raises:
        ProfileError: If the profile cannot be read, or is another network's.
        StudyError: If there is no such study, or no candidate whose gates the profile knows.
    """
    config = store.study(study).config
    budget = budgets.latency or config.budgets.latency
    taken = read_profile(find_profile(profile))
    latency = _latency_model(taken, config, model, data, None, own_task=store.study(study).facts.own_task)
    trials, unknown = [], 0
    for trial in store.trials(study):
        if trial.policy is None or trial.val_accuracy is None:
            continue
        try:
            estimate = latency.predict(trial.policy, store.realisation(trial.policy))
        except ProfileError:
            unknown += 1
            continue
        trials.append(replace(trial, predicted=predicted_statistics(estimate, config.latency_stat), costs=None))
    if not trials:
        raise StudyError(
            f"{profile} knows the gates of no trained candidate of {study!r} ({unknown} hold others); profile the "
            "device with the study's space"
        )
    front = [point_document(trial, []) for trial in pareto_front(trials, config.latency_stat)]
    limit_ms = None if budget is None else budget.limit_ms(latency.dense_ms)
    return {
        "schema": "autogate.pareto/1",
        "study": study,
        "label": "predicted",
        "device": taken.setting.device_name,
        "batch_size": taken.setting.batch_size,
        "latency_stat": config.latency_stat,
        "dense_predicted_ms": latency.dense_ms,
        "budget": None if budget is None else budget.text,
        "budget_ms": limit_ms,
        "memory_budget_bytes": None,
        "energy_budget": None,
        "front": front,
        "best_predicted": best_within(front, limit_ms),
        "best_measured": None,
        "closest_measured": None,
        "not_profiled": unknown,
    }


def _latency_model(
    profile: Profile,
    config: SearchConfig,
    model: nn.Module | None,
    data: OwnData | None,
    facts: StudyFacts | None,
    *,
    own_task: bool,
) -> LatencyModel:
    """Return the model of a study's own device, or without ``facts`` of the profile's."""
    module, images = load_model_and_data(config, model, data, own_task=own_task)
    return study_latency(profile, traced_network(module, images.preprocessing), facts)


def _study_model(
    store: Store, study: str, profile: str | None, model: nn.Module | None, data: OwnData | None
) -> tuple[SearchConfig, LatencyModel]:
    """Return a study's configuration, and the model of its own device, or of that of another ``profile``."""
    record = store.study(study)
    taken = read_profile(find_profile(profile)) if profile else own_profile(store, study)
    facts = None if profile else record.facts
    return record.config, _latency_model(taken, record.config, model, data, facts, own_task=record.facts.own_task)


def explanation_document(
    name: str, url: str, *, model: str | None = None, space: SpaceSpec | None = None, num_classes: int | None = None
) -> dict[str, Any]:
    """Return where the time of a profiled network goes, and what each gate brings there, or why it brings nothing.

    Args:
        name: A profile file, the name of a recorded profile, the digest of a stored one, or a study.
        url: Database of the study or the stored profile.
        model: The network's name; None for the one the profile names.
        space: The gates to ask about; None for the study's, or all.
        num_classes: Outputs of the classifier; None for the network's default, or the study's.

    Raises:
        StudyError: If ``name`` is none of these.
        ProfileError: If the profile is another network's, or lacks a gate.
    """
    if (taken := known_profile(name, url)) is not None:
        module = load_model(model or taken.model, num_classes=num_classes).module
        latency = LatencyModel(taken, find_sites(module, taken.input_shape))
        spec = space or load_space("unified")
    else:
        store = Store(url)
        record = store.study(name)
        config = record.config
        CallerInputs().check(name, config)
        facts = record.facts
        latency = _latency_model(own_profile(store, name), config, None, None, facts, own_task=facts.own_task)
        spec = space or parse_space(config.space, "the search space")
    setting = latency.profile.setting
    return {
        "schema": "autogate.explain/1",
        "model": latency.profile.model,
        "device": setting.device_name,
        "batch_size": setting.batch_size,
        "dense_ms": latency.dense_ms,
        "units": [{**asdict(unit), "sites": list(unit.sites)} for unit in explain_units(latency)],
        "gates": [
            {**vars(found), "gate": brief(found.gate)}
            for found in explain_gates(latency, bind(at_step_of(spec, latency.profile), latency.network.sites))
        ],
    }


def prediction_document(
    store: Store,
    study: str,
    policy: Policy,
    realisation: Realisation | None,
    *,
    profile: str | None = None,
    model: nn.Module | None = None,
    data: OwnData | None = None,
) -> dict[str, Any]:
    """Return the predicted latency of a policy on a study's network, in milliseconds.

    Args:
        store: The study database.
        study: Name of the study.
        policy: The policy.
        realisation: Decisions of varying gates; None counts them as fully open.
        profile: A profile file, or the name of a recorded profile, to predict with; None for the study's own.
        model: The network itself, if the study was not started by name.
        data: The data itself, if the study was not started by name.

    Raises:
        ProfileError: If there is no profile, or it does not fit the network or the policy.
        PolicyError: If the policy does not fit the network.
    """
    config, latency = _study_model(store, study, profile, model, data)
    setting = latency.profile.setting
    runs = canonical(policy, latency.network.sites, strict=True)
    estimate = latency.predict(runs, realisation)
    return {
        "schema": "autogate.predict/1",
        "label": "predicted",
        "policy_digest": policy.digest,
        "device": setting.device_name,
        "batch_size": setting.batch_size,
        "dense_ms": latency.dense_ms,
        "predicted_ms": predicted_statistics(estimate, config.latency_stat),
        "ratio": estimate.p50 / latency.dense_ms,
        "error": estimate.error,
        "regime": latency.regime(runs),
        "unseen_share": latency.unseen_share(runs),
    }


def many_document(
    store: Store,
    study: str,
    choices: np.ndarray | None,
    *,
    profile: str | None = None,
    model: nn.Module | None = None,
    data: OwnData | None = None,
) -> dict[str, Any]:
    """Return the predicted latencies of many policies of a study's space, in milliseconds, and its decisions.

    Args:
        store: The study database.
        study: Name of the study.
        choices: For each decision, the position of its choice, int ``[policies, decisions]``; None for no policy.
        profile: A profile file, or the name of a recorded profile, to predict with; None for the study's own.
        model: The network itself, if the study was not started by name.
        data: The data itself, if the study was not started by name.

    Raises:
        PolicyError: If ``choices`` is no such matrix.
        ProfileError: If there is no profile, or it does not fit the network or a policy.
    """
    config, latency = _study_model(store, study, profile, model, data)
    space = searched_space(config, latency.network)
    setting = latency.profile.setting
    sizes = [len(decision.options) for decision in space.decisions]
    matrix = np.zeros((0, len(sizes)), dtype=np.int64) if choices is None else np.asarray(choices)
    if matrix.ndim != 2 or matrix.shape[1] != len(sizes) or not np.issubdtype(matrix.dtype, np.integer):
        raise PolicyError(
            f"the choices must be whole numbers [policies, {len(sizes)}], one for each decision of the space, not "
            f"{matrix.dtype} {list(matrix.shape)}"
        )
    if (wrong := np.argwhere((matrix < 0) | (matrix >= sizes))).size:
        row, column = wrong[0]
        raise PolicyError(
            f"policy {row} takes choice {matrix[row, column]} of {space.decisions[column].name}, which has the choices "
            f"0 to {sizes[column] - 1}"
        )
    return {
        "schema": "autogate.predict-many/1",
        "label": "predicted",
        "device": setting.device_name,
        "batch_size": setting.batch_size,
        "dense_ms": latency.dense_ms,
        "decisions": {decision.name: list(decision.choices) for decision in space.decisions},
        "predicted_ms": ManyPredictor(latency, space).predict_ms(matrix) if len(matrix) else np.zeros(0),
    }
