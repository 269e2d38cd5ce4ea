"""What the latency model says before or without any training: of a configuration, and of a stored study's policies."""

from __future__ import annotations

from typing import Any

from torch import nn

from autogate.errors import ProfileError
from autogate.latency import LatencyModel, from_lines, read_profile
from autogate.policy import Policy
from autogate.records import Realisation
from autogate.search.config import SearchConfig
from autogate.search.costs import predicted_statistics
from autogate.search.objective import Objective
from autogate.search.prepare import prepare_ground
from autogate.search.profiles import check_setting, find_profile, named_profile
from autogate.search.reporter import Reporter
from autogate.search.task import OwnData, load_model_and_data, load_task, network_for
from autogate.store import Store
from autogate.surgery import canonical


def reach_document(config: SearchConfig, url: str, reporter: Reporter) -> dict[str, Any]:
    """Return dense latency, lightest reachable latency (both in milliseconds) and size of the space.

    Args:
        config: What would be searched.
        url: Database in which the profile is kept; it is made once everything the configuration names was found.
        reporter: Hears of progress.

    Raises:
        AutoGateError: If anything asked for is unknown, damaged or does not fit.
    """
    task = load_task(config, reporter)
    check_setting(config, task.network, task.target)
    if config.profile is not None:
        named_profile(config)
    ground = prepare_ground(config, task.network, task.target, Store(url, create=True), {}, reporter)
    objective = Objective.of(config, ground.latency.dense_ms)
    lightest = ground.latency.lightest(ground.lightest)
    return {
        "schema": "autogate.dry-run/1",
        "label": "predicted",
        "device": ground.latency.profile.setting.device_name,
        "batch_size": config.batch_size,
        "dense_ms": ground.latency.dense_ms,
        "lightest_ms": lightest.stat(config.latency_stat),
        "budget_ms": objective.limit_ms,
        "reachable": objective.fits(lightest),
        "decisions": len(ground.space.all_choices()),
        "combinations": ground.space.size,
        "cannot_pay": ground.unpaying,
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
        data: The data itself, likewise.

    Raises:
        ProfileError: If there is no profile, or it does not fit the network or the policy.
        PolicyError: If the policy does not fit the network.
    """
    stored, facts = store.study(study)
    config = SearchConfig.model_validate(stored)
    lines = store.profile(str(facts.get("profile")))
    if profile is None and lines is None:
        raise ProfileError(f"study {study!r} has no profile yet; run `{store.command('resume', study)}`")
    taken = read_profile(find_profile(profile)) if profile else from_lines(str(lines), "the study's profile")
    module, images = load_model_and_data(config, model, data)
    latency = LatencyModel(taken, network_for(module, images.preprocessing))
    estimate = latency.predict(canonical(policy, latency.network.sites, strict=True), realisation)
    return {
        "schema": "autogate.predict/1",
        "label": "predicted",
        "policy_digest": policy.digest,
        "device": taken.setting.device_name,
        "batch_size": taken.setting.batch_size,
        "dense_ms": latency.dense_ms,
        "predicted_ms": predicted_statistics(estimate, config.latency_stat),
        "ratio": estimate.p50 / latency.dense_ms,
        "error": estimate.error,
    }
