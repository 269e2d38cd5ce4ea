"""One function per command; the command line calls these and nothing else.

Everything heavy is imported where it is used, so that reading a study loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from autogate.errors import AutoGateError, ModelError, ProfileError
from autogate.policy import Policy
from autogate.search.config import SearchConfig, make_config
from autogate.search.document import finalist_document, floor_of, pareto_document, study_line
from autogate.search.reporter import Reporter
from autogate.search.start import Own, names_of, refuse_other, start
from autogate.space import SpaceSpec, list_spaces, load_space, parse_space
from autogate.store import Store, default_storage, holds_studies
from autogate.study import Study
from autogate.units import LatencyBudget

if TYPE_CHECKING:
    from torch import nn

    from autogate.records import LatencyStat, Profile
    from autogate.search.task import OwnData
    from autogate.training import ScoreFunction, TrainFunction


def search(
    model: str | nn.Module = "resnet20",
    data: str | Path | OwnData = "digits",
    *,
    latency_budget: str | None = None,
    max_drop: str | None = None,
    pareto: bool = False,
    study: str | None = None,
    storage: str | None = None,
    space: str | Mapping[str, Any] = "unified",
    reporter: Reporter | None = None,
    train_fn: TrainFunction | None = None,
    score_fn: ScoreFunction | None = None,
    **settings: Any,
) -> Study:
    """Search gates for a network under a latency budget; stored as it goes.

    Args:
        model: Network: a name, or a trained module of your own.
        data: Dataset: a name or directory, loaded data, or a tuple of datasets or loaders (train, test) or
            (train, val, test).
        latency_budget: Such as ``5ms`` or ``60%`` of dense.
        max_drop: Instead: find the fastest policy at most this far below dense, such as ``0.5%``.
        pareto: Instead: accuracy and latency as two objectives.
        study: Name of the study; a fresh one is made if None. An existing study of the same configuration is
            continued.
        storage: SQLAlchemy URL of the database.
        space: Name of a shipped search space, a YAML file, or its content.
        reporter: Hears of progress.
        train_fn: ``train_fn(network, fidelity)`` trains a network in place instead of the built-in recipes; fidelity
            is ``base``, ``short`` (a candidate) or ``full`` (a finalist). Its loss should include :func:`gate_loss`.
            Candidates then start from the dense weights, and gates of ``dce`` stay the slices they begin as.
        score_fn: ``score_fn(network, part)`` scores a network instead of its accuracy, higher is better; part is
            ``val`` or ``test``.
        **settings: Further fields of :class:`autogate.search.config.SearchConfig`.

    Raises:
        BudgetInfeasibleError: If no policy can meet the budget; before any training.
        AutoGateError: If anything asked for is unknown, damaged or does not fit.
    """
    spec = parse_space(space, "the search space") if isinstance(space, Mapping) else load_space(str(space))
    goal = {"latency_budget": latency_budget, "max_drop": max_drop, "pareto": pareto}
    config = make_config(**{**names_of(model, data), **settings}, **goal, space=spec.to_json())
    url = storage or default_storage()
    if study is not None and holds_studies(url):
        refuse_other(Store(url), study, config)
    own = replace(Own.among(model, data), train_fn=train_fn, score_fn=score_fn)
    return Study(start(url, study, config, reporter or Reporter(), own), url)


def resume(
    study: str,
    *,
    trials: int | None = None,
    trainings: int | None = None,
    timeout_s: float | None = None,
    storage: str | None = None,
    reporter: Reporter | None = None,
    model: nn.Module | None = None,
    data: OwnData | None = None,
    train_fn: TrainFunction | None = None,
    score_fn: ScoreFunction | None = None,
) -> Study:
    """Continue a study after an interruption, or with further trials.

    Args:
        study: Name of the study.
        trials: Further proposals; None finishes the number asked for before.
        trainings: New limit on trained candidates.
        timeout_s: Seconds after which no new trial starts.
        storage: SQLAlchemy URL of the database.
        reporter: Hears of progress.
        model: The module the study was started with, if it was one.
        data: The data the study was started with, if it was no name.
        train_fn: As in :func:`search`.
        score_fn: As in :func:`search`.

    Raises:
        StudyError: If there is no such study, or it needs ``model`` or ``data``.
    """
    store = Store(storage or default_storage())
    config = SearchConfig.model_validate(store.study(study)[0])
    changes: dict[str, Any] = {"timeout_s": timeout_s}
    if trials is not None:
        if trials < 1:
            raise AutoGateError(f"trials must be at least 1, not {trials}")
        changes["trials"] = store.count_trials(study)["total"] + trials
    if trainings is not None:
        changes["trainings"] = trainings
    config = make_config(**{**config.model_dump(), **changes})
    own = Own(model, data, train_fn, score_fn)
    own.check(study, config)
    return Study(start(store.url, study, config, reporter or Reporter(), own), store.url)


def dry_run(
    *, storage: str | None = None, space: str = "unified", reporter: Reporter | None = None, **settings: Any
) -> dict[str, Any]:
    """Return dense latency, lightest reachable latency and size of the space; train nothing.

    Args:
        storage: SQLAlchemy URL of the database in which the profile is kept.
        space: As in :func:`search`.
        reporter: Hears of progress.
        **settings: As in :func:`search`.
    """
    from autogate.search.predicting import reach_document

    config = make_config(space=load_space(space).to_json(), **settings)
    return reach_document(config, storage or default_storage(), reporter or Reporter())


def show(study: str, which: str = "best", *, storage: str | None = None) -> dict[str, Any]:
    """Return a study's document; a finalist asked for by its trial number comes under ``finalist``.

    Raises:
        StudyError: If there is no such study or finalist.
    """
    opened = Study(study, storage)
    document = opened.document()
    if which != "best":
        document["finalist"] = finalist_document(
            opened.finalist(which), opened.config.budget, floor_of(opened.config, opened.facts)
        )
    return document


def pareto(
    study: str,
    *,
    latency_budget: str | None = None,
    profile: str | None = None,
    storage: str | None = None,
    model: nn.Module | None = None,
    data: OwnData | None = None,
) -> dict[str, Any]:
    """Judge a stored study by another budget or for another device, training nothing.

    Returns the front of trained candidates, the best candidate by prediction, and the best finalist by
    measurement, under the budget.

    Args:
        study: Name of the study.
        latency_budget: Such as ``5ms`` or ``60%`` of dense; None for the study's own.
        profile: A profile file of another device, or the name of a recorded one; latencies are then predicted for it.
        storage: SQLAlchemy URL of the database.
        model: The module the study was started with, if it was one; only a profile needs it.
        data: The data the study was started with, if it was no name; likewise.
    """
    budget = None if latency_budget is None else LatencyBudget.parse(latency_budget)
    opened = Study(study, storage)
    if profile is None:
        return pareto_document(opened.store, study, budget)
    from autogate.search.predicting import reranked_document

    Own(model, data).check(study, opened.config)
    return reranked_document(opened.store, study, profile, budget, model=model, data=data)


def studies(*, storage: str | None = None) -> list[dict[str, Any]]:
    """Return a line of facts per study, oldest first."""
    store = Store(storage or default_storage())
    return [study_line(store, name) for name in store.study_names()]


def spaces() -> dict[str, SpaceSpec]:
    """Return the search spaces that ship with AutoGate, by name."""
    return list_spaces()


def sites(
    model: str = "resnet20", *, input_size: int | None = None, num_classes: int | None = None
) -> list[dict[str, Any]]:
    """Return the sites of a network with shapes and MACs, and the families that fit each.

    Channels that look like a site but cannot be cut come last, with the reason; for sites it is empty.

    Raises:
        ModelError: If the network is unknown, cannot be traced, or has no site.
    """
    from autogate.gates import FAMILIES
    from autogate.models import default_input_size, load_model
    from autogate.records import Site
    from autogate.sites import find_sites

    if input_size is not None and input_size < 1:
        raise ModelError(f"input size {input_size} must be at least 1")
    size = input_size or default_input_size(model)
    network = find_sites(load_model(model, num_classes=num_classes).module, (3, size, size))

    def row(site: Site, reason: str) -> dict[str, Any]:
        families = [] if reason else [name for name, family in FAMILIES.items() if family.fits(site) is None]
        return {**asdict(site), "families": families, "reason": reason}

    refused = [row(Site(f"group:{at}", "group", "", (0, 0, 0), 0, ()), why) for at, why in network.refused.items()]
    return [*(row(site, "") for site in network.sites.values()), *refused]


def profile(
    model: str = "resnet20",
    *,
    space: str = "unified",
    out: str | Path | None = None,
    seconds: float = 40.0,
    num_classes: int | None = None,
    allow_noisy: bool = False,
    lock_clocks: bool = False,
    storage: str | None = None,
    reporter: Reporter | None = None,
    **settings: Any,
) -> Profile:
    """Profile a network's units on this device; needs neither data nor weights.

    Args:
        model: Network by name.
        space: The gates to cover.
        out: File to write; None stores the profile in the database, where a search finds it.
        seconds: Time to spend.
        num_classes: Outputs of the classifier; None for the network's default.
        allow_noisy: Keep what was measured on a noisy machine too.
        lock_clocks: Hold a GPU's clock at its highest meanwhile; it is restored afterwards.
        storage: SQLAlchemy URL of the database.
        reporter: Hears of progress.
        **settings: As in :func:`search`: device, batch_size, dtype, layout, threads, seed, input_size.

    Raises:
        ProfileError: If the machine is too noisy to measure, after three attempts; says what disturbs it.
        DeviceError: If clocks are to be locked and cannot.
    """
    from autogate.latency import resolve_device, too_noisy, write_profile
    from autogate.latency.nvml import clocks_locked
    from autogate.models import default_input_size, load_model
    from autogate.search.profiles import check_setting, keep_profile, profile_network, searched_space
    from autogate.sites import find_sites

    config = make_config(model=model, space=load_space(space).to_json(), pareto=True, **settings)
    size = config.input_size or default_input_size(model)
    network = find_sites(load_model(model, num_classes=num_classes).module, (3, size, size))
    device = resolve_device(config.device)
    check_setting(config, network, device)
    with clocks_locked(device) if lock_clocks else nullcontext():
        store = Store(storage or default_storage(), create=True) if out is None else None
        taken = profile_network(
            config, network, searched_space(config, network), device, reporter or Reporter(), seconds,
            attempts=1 if allow_noisy else 3,
        )  # fmt: skip
    if not allow_noisy and (wrong := too_noisy(taken)) is not None:
        raise ProfileError(
            f"the machine is too noisy to measure: {wrong}; stop what else runs, give --threads fewer, or keep the "
            "profile all the same with --allow-noisy"
        )
    if store is not None:
        keep_profile(store, taken)
    if out is not None:
        write_profile(taken, Path(out))
    return taken


def validate_profile(
    profile: str,
    *,
    model: str | None = None,
    space: str = "unified",
    networks: int = 40,
    seconds: float = 60.0,
    seed: int = 0,
    num_classes: int | None = None,
    plot: str | Path | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Measure gated networks that a profile has not seen; score its predictions, and simpler ones beside.

    Args:
        profile: A profile file, or the name of a recorded profile.
        model: Network by name; None for the one the profile names.
        space: As in :func:`search`.
        networks: How many networks to measure.
        seconds: Time to spend on measuring.
        seed: Seed of the choice of networks.
        num_classes: Outputs of the classifier; None for the network's default.
        plot: HTML file to draw predicted against measured into.
        reporter: Hears of progress.

    Raises:
        ProfileError: If the profile was made on another device, in another setting or of another network.
    """
    from autogate.search.validating import validate_profile

    _check_plot(plot)
    document = validate_profile(
        profile, load_space(space), model=model, networks=networks, seconds=seconds, seed=seed,
        num_classes=num_classes, reporter=reporter or Reporter(),
    )  # fmt: skip
    if plot is not None:
        from autogate.report.validation_plot import write_validation_plot

        write_validation_plot(document, Path(plot))
    return document


def explain(
    name: str,
    *,
    model: str | None = None,
    space: str | None = None,
    num_classes: int | None = None,
    storage: str | None = None,
) -> dict[str, Any]:
    """Return where a network's time goes on a device, and which gates pay there, or why they do not.

    Args:
        name: A study, a profile file, or the name of a recorded profile.
        model: Network by name; None for the one the profile names.
        space: As in :func:`search`; None for the study's, or ``unified``.
        num_classes: Outputs of the classifier; None for the network's default.
        storage: SQLAlchemy URL of the database.
    """
    from autogate.search.predicting import explanation_document

    return explanation_document(
        name, storage or default_storage(), model=model, space=None if space is None else load_space(space),
        num_classes=num_classes,
    )  # fmt: skip


def predict(
    study: str,
    policy: str | Policy = "best",
    *,
    profile: str | None = None,
    storage: str | None = None,
    model: nn.Module | None = None,
    data: OwnData | None = None,
) -> dict[str, Any]:
    """Predict the latency of a policy on a study's network and device.

    Args:
        study: Name of the study.
        policy: A policy, a JSON file of one, ``best``, or a trial number.
        profile: A profile file of another device to predict for, or the name of a recorded one.
        storage: SQLAlchemy URL of the database.
        model: The module the study was started with, if it was one.
        data: The data the study was started with, if it was no name.
    """
    from autogate.search.predicting import prediction_document

    opened = Study(study, storage)
    Own(model, data).check(study, opened.config)
    found, realisation = opened.policy(policy) if isinstance(policy, str) else (policy, None)
    return prediction_document(opened.store, study, found, realisation, profile=profile, model=model, data=data)


def sensitivity(
    model: str | nn.Module = "resnet20",
    data: str | Path | OwnData = "digits",
    *,
    family: str,
    tie: Literal["site", "stage"] = "site",
    values: Sequence[float] | None = None,
    images: int = 512,
    plot: str | Path | None = None,
    reporter: Reporter | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Return how much accuracy gates at one place alone cost, the harder they prune; trains no gate.

    Args:
        model: Network: a name, or a trained module of your own; one by name without weights is trained first.
        data: Dataset, as in :func:`search`.
        family: A family without weights of its own.
        tie: Whether each site is judged on its own, or all sites of a stage together.
        values: Shares to leave out, each in [0, 1); None for a fixed few.
        images: Validation images to judge on.
        plot: HTML file to draw the curves into.
        reporter: Hears of progress.
        **settings: As in :func:`search`: weights, device, seed, input_size, mean, std.
    """
    from autogate.search.sensitivity import sensitivity_document

    _check_plot(plot)
    config = make_config(**{**names_of(model, data), **settings}, space=load_space("unified").to_json(), pareto=True)
    own = Own.among(model, data)
    document = sensitivity_document(config, own, family, tie, values, images, reporter or Reporter())
    if plot is not None:
        from autogate.report.sensitivity_plot import write_sensitivity_plot

        write_sensitivity_plot(document, Path(plot))
    return document


def export(
    study: str,
    to: str | Path,
    *,
    which: str = "best",
    storage: str | None = None,
    model: nn.Module | None = None,
    data: OwnData | None = None,
) -> dict[str, Any]:
    """Write a finalist as policy, weights, program and report; reload and verify it.

    Args:
        study: Name of the study.
        to: Directory to write.
        which: ``best`` or the trial number of a finalist.
        storage: SQLAlchemy URL of the database.
        model: The module the study was started with, if it was one; its weights are replaced.
        data: The data the study was started with, if it was no name.

    Raises:
        ExportError: If it cannot be written, cannot be expressed, or does not do what the live model does.
    """
    return Study(study, storage).export(to, which, model=model, data=data)


def measure(
    path: str | Path,
    *,
    device: str | None = None,
    batch_size: int | None = None,
    layout: str | None = None,
    threads: int | None = None,
    seconds: float = 20.0,
    latency_stat: LatencyStat = "p95",
    model: nn.Module | None = None,
) -> dict[str, Any]:
    """Measure an export beside its dense network, interleaved, on this device.

    Args:
        path: Directory written by :func:`export`.
        device: Device to measure on; None for the one it was searched for.
        batch_size: Images per call; None likewise.
        layout: Memory layout, or ``auto`` for the one dense runs fastest in; None likewise.
        threads: CPU threads; None likewise, but no more than there are cores.
        seconds: Longest time to spend.
        latency_stat: Statistic over inputs whose ratio is reported.
        model: The dense network, if it cannot be built by name.
    """
    from autogate.export import measure_export, measurement_document, reload

    exported = reload(Path(path), model)
    comparison = measure_export(
        exported, device=device, batch_size=batch_size, layout=layout, threads=threads, seconds=seconds,
        stat=latency_stat,
    )  # fmt: skip
    return measurement_document(exported, comparison)


def doctor(*, storage: str | None = None) -> dict[str, Any]:
    """Return versions, devices and the state of the machine, as they matter for measuring."""
    from autogate.latency.machine import machine_facts

    try:
        known: Any = Store(storage or default_storage()).study_names()
    except AutoGateError as error:
        known = str(error)
    return {"schema": "autogate.doctor/1", **machine_facts(), "studies": known}


def _check_plot(plot: str | Path | None) -> None:
    if plot is not None:
        from autogate.report.page import check_place

        check_place(Path(plot))


__all__ = [
    "Study", "doctor", "dry_run", "explain", "export", "measure", "pareto", "predict", "profile", "resume", "search",
    "sensitivity", "show", "sites", "spaces", "studies",
    "validate_profile",
]  # fmt: skip
