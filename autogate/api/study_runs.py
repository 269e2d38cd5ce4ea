"""Studies: started, continued, read, exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from autogate.api.progress import default_reporter
from autogate.api.signatures import with_settings
from autogate.api.study import Study, open_store, storage_url
from autogate.api.study_results import ExportReport, ParetoResult, ReachResult, StudyReport, StudySummary
from autogate.errors import AutoGateError, StudyError
from autogate.goals import (
    Budgets,
    ResumeSettings,
    SearchConfig,
    SearchSettings,
    check_names,
    config_names,
    make_config,
    sampler_name,
    settings_of,
    taken_by,
)
from autogate.space import load_space, parse_space
from autogate.store import Store, check_name, holds_studies
from autogate.store.artifacts import checked_url
from autogate.studies import Reporter, finalist_document, floor_of, pareto_document, study_line

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from torch import nn

    from autogate.nas.evaluating import OwnData
    from autogate.training import ScoreFunction, TrainFunction


@with_settings("search")
def search(
    model: str | nn.Module = "resnet20",
    data: str | Path | OwnData = "digits",
    *,
    study: str | None = None,
    storage: str | None = None,
    space: str | Mapping[str, Any] = "unified",
    artifacts: str | None = None,
    reporter: Reporter | None = None,
    progress: bool = False,
    train_fn: TrainFunction | None = None,
    score_fn: ScoreFunction | None = None,
    sampler: str | BaseSampler = "tpe",
    **settings: Unpack[SearchSettings],
) -> Study:
    """Search gates for a network under a latency budget; stored as it goes.

    Args:
        model: Network: a name, or a trained module of your own.
        data: Dataset: a name or directory, loaded data, or a tuple of datasets or loaders (train, test) or
            (train, val, test).
        study: Name of the study; a fresh one is made if None. An existing study of the same configuration is
            continued.
        storage: SQLAlchemy URL of the database.
        space: Name of a shipped search space, a YAML file, or its content.
        artifacts: Where the weights go, a folder or a URL that all hosts reach; None for the folder beside a SQLite
            file, and for the database itself on a server.
        reporter: Receives progress; None logs it to the logger ``autogate``.
        progress: Whether to draw bars instead, or where nobody watches to write lines to standard error.
        train_fn: ``train_fn(network, fidelity)`` trains a network in place instead of the built-in recipes; fidelity
            is ``base``, ``short`` (a candidate) or ``full`` (a finalist). Its loss should include :func:`gate_loss`.
            Candidates then start from the dense weights, and gates of ``dce`` stay the slices they begin as.
        score_fn: ``score_fn(network, part)`` scores a network instead of its accuracy, higher is better; part is
            ``val`` or ``test``. With both functions the task may be any: targets are of any kind, and datasets yield
            inputs as the network takes them, float ``[C, H, W]``.
        sampler: Who proposes candidates, with guided proposals between: ``tpe``, ``gp``, ``nsgaii``; ``random``, which
            gets no guided ones; ``package.module:factory``, a function that returns an Optuna sampler; or such a
            sampler itself. Built-in ones propose the same after an interruption as without. A sampler of your own is
            used as it is: one object for the whole run, with its own seed; a continued study shows it the trials
            again, but what else it had in memory is gone.
        **settings: The goal (exactly one of ``latency_budget="60%"``, ``max_drop="0.5%"`` and ``pareto=True``) and all
            other settings; docs/options.md lists them.

    Raises:
        BudgetInfeasibleError: If no policy can meet the budget of latency or memory; before any training.
        AutoGateError: If anything asked for is unknown, damaged or does not fit.
    """
    spec = parse_space(space, "the search space") if isinstance(space, Mapping) else load_space(str(space))
    config = make_config(
        **{**config_names(model, data), **settings}, space=spec.to_json(), sampler=sampler_name(sampler)
    )
    url = storage_url(storage)
    if study is not None:
        check_name(study)
    place = None if artifacts is None else checked_url(artifacts)

    from autogate.exporters import rehearse
    from autogate.nas.evaluating import CallerInputs
    from autogate.nas.loop import check_same_config, start

    if study is not None and holds_studies(url):
        check_same_config(Store(url), study, config)
    own = replace(CallerInputs.among(model, data), train_fn=train_fn, score_fn=score_fn, sampler=_object(sampler))
    hears = default_reporter(reporter, progress=progress)
    return Study(start(url, study, config, hears, own, artifacts=place, rehearse=rehearse), url)


@with_settings("resume")
def resume(
    study: str,
    *,
    storage: str | None = None,
    reporter: Reporter | None = None,
    progress: bool = False,
    model: nn.Module | None = None,
    data: OwnData | None = None,
    train_fn: TrainFunction | None = None,
    score_fn: ScoreFunction | None = None,
    sampler: str | BaseSampler | None = None,
    **changes: Unpack[ResumeSettings],
) -> Study:
    """Continue a study after an interruption, with further trials, under other budgets, or for another device.

    Under other budgets, and for another device, all trials are judged again first; nothing is trained twice.

    Args:
        study: Name of the study.
        storage: SQLAlchemy URL of the database.
        reporter: Receives progress; None logs it to the logger ``autogate``.
        progress: Whether to draw bars instead, or where nobody watches to write lines to standard error.
        model: The module the study was started with, if it was one.
        data: The data the study was started with, if it was no name.
        train_fn: As in :func:`search`.
        score_fn: As in :func:`search`.
        sampler: As in :func:`search`; None for the one before. One that was passed as an object is passed again.
        **changes: Settings to change, as docs/options.md lists them; what is not given stays. ``trials`` is the number
            of further candidates, without which the number asked for before is finished; ``timeout_s`` counts from now.

    Raises:
        StudyError: If there is no such study, it needs ``model`` or ``data``, or a change would make it another one.
    """
    store = open_store(storage)
    before = store.study(study).config
    if before.replay is not None:
        raise StudyError(
            f"study {study!r} is a replay; continue it with `autogate replay {before.replay} --name {study}`"
        )
    check_names(changes, settings_of(SearchConfig))
    if fixed := sorted(set(changes) - set(taken_by(SearchConfig, "resume"))):
        raise StudyError(f"a study cannot be continued with another {fixed[0]}; start a new one")
    merged: dict[str, Any] = {**before.model_dump(), "timeout_s": None, "fresh_profile": False, **changes}
    if sampler is not None:
        merged["sampler"] = sampler_name(sampler)
    if (further := changes.get("trials")) is None:
        merged["trials"] = before.trials
    elif further < 1:
        raise AutoGateError(f"--trials must be at least 1, not {further}")
    else:
        merged["trials"] = store.count_trials(study)["total"] + further
    if changes.get("backend") == "local":
        merged |= {"ray_address": None, "gpus_per_trial": None}
    config = make_config(**merged)
    if config.goal.mode != before.goal.mode:
        raise StudyError(
            f"the goal of study {study!r} cannot change from {before.goal.mode} to {config.goal.mode}; start a "
            "new study, which reuses what was trained"
        )

    from autogate.nas.evaluating import CallerInputs
    from autogate.nas.loop import start

    own = CallerInputs(model, data, train_fn, score_fn, _object(sampler))
    own.check(study, config)
    return Study(
        start(store.url, study, config, default_reporter(reporter, progress=progress), own, judged_anew=True), store.url
    )


def _object(sampler: str | BaseSampler | None) -> BaseSampler | None:
    return None if isinstance(sampler, str) else sampler


@with_settings("search")
def dry_run(
    model: str = "resnet20",
    data: str | Path = "digits",
    *,
    storage: str | None = None,
    space: str = "unified",
    reporter: Reporter | None = None,
    progress: bool = False,
    **settings: Unpack[SearchSettings],
) -> ReachResult:
    """Return latency and peak memory, of dense and the lowest reachable, and size of the space; train nothing.

    Args:
        model: Network, by name.
        data: Dataset, by name or directory.
        storage: SQLAlchemy URL of the database in which the profile is stored.
        space: As in :func:`search`.
        reporter: Receives progress; None logs it to the logger ``autogate``.
        progress: Whether to draw bars instead, or where nobody watches to write lines to standard error.
        **settings: As in :func:`search`.

    Raises:
        AutoGateError: If anything asked for is unknown or does not fit.
    """
    from autogate.analysis import reach_document

    config = make_config(model=model, data=str(data), space=load_space(space).to_json(), **settings)
    return ReachResult(reach_document(config, storage_url(storage), default_reporter(reporter, progress=progress)))


def show_study(study: str, trial: int | str = "best", *, storage: str | None = None) -> StudyReport:
    """Return a study with its front and its winner; a finalist asked for by its trial number comes with it.

    Args:
        study: Name of the study.
        trial: ``best``, or the trial number of a finalist.
        storage: SQLAlchemy URL of the database.

    Raises:
        StudyError: If there is no such study or finalist.
    """
    opened = Study(study, storage)
    document = opened.document()
    if trial != "best":
        document["finalist"] = finalist_document(
            opened.finalist(trial), opened.config.budgets, floor_of(opened.config, opened.store.study(study).facts)
        )
    return StudyReport(document)


def pareto(
    study: str,
    *,
    latency_budget: str | None = None,
    memory_budget: str | None = None,
    energy_budget: str | None = None,
    profile: str | None = None,
    storage: str | None = None,
    model: nn.Module | None = None,
    data: OwnData | None = None,
) -> ParetoResult:
    """Judge a stored study by other budgets or for another device, training nothing.

    Returns the front of trained candidates, the best candidate by prediction, and the best finalist by
    measurement, under the budgets.

    Args:
        study: Name of the study.
        latency_budget: Such as ``5ms`` or ``60%`` of dense; None for the study's own.
        memory_budget: Such as ``200MiB`` or ``60%`` of dense; likewise.
        energy_budget: Such as ``80mJ`` or ``70%`` of dense; likewise. It judges finalists only.
        profile: A profile file of another device, or the name of a recorded one; latencies are then predicted for it.
        storage: SQLAlchemy URL of the database.
        model: The module the study was started with, if it was one; only a profile needs it.
        data: The data the study was started with, if it was no name; likewise.

    Raises:
        StudyError: If memory or energy are to be judged, and are not known.
    """
    budgets = Budgets.parse(latency_budget, memory_budget, energy_budget)
    opened = Study(study, storage)
    if profile is None:
        return ParetoResult(pareto_document(opened.store, study, budgets.otherwise(opened.config.budgets)))
    if budgets.memory is not None or budgets.energy is not None:
        raise StudyError("a profile says nothing of memory and energy; leave --memory-budget and --energy-budget out")
    from autogate.analysis import reranked_document
    from autogate.nas.evaluating import CallerInputs

    CallerInputs(model, data).check(study, opened.config)
    return ParetoResult(reranked_document(opened.store, study, profile, budgets, model=model, data=data))


def list_studies(*, storage: str | None = None) -> list[StudySummary]:
    """Return one summary per study of a database, oldest first.

    Args:
        storage: SQLAlchemy URL of the database.

    Raises:
        NoStudiesError: If there is no database.
    """
    store = open_store(storage)
    return [StudySummary(study_line(store, name)) for name in store.study_names()]


def load_study(study: str, *, storage: str | None = None) -> Study:
    """Open a stored study, finished or not.

    Args:
        study: Name of the study.
        storage: SQLAlchemy URL of the database.

    Raises:
        StudyError: If there is none of that name; names the closest ones.
    """
    return Study(study, storage)


def export(
    study: str,
    to: str | Path,
    *,
    trial: int | str = "best",
    formats: Sequence[str] = ("auto",),
    storage: str | None = None,
    model: nn.Module | None = None,
    data: OwnData | None = None,
    time_s: float = 3.0,
) -> ExportReport:
    """Write a finalist as policy, weights and report, and in formats that run without AutoGate; reload and verify it.

    Each format is timed on this machine, beside the dense network in the same format.

    Args:
        study: Name of the study.
        to: Directory to write.
        trial: ``best`` for the winner, or the trial number of a finalist.
        formats: Names of the formats: ``pt2``, a program of ``torch.export``, ``onnx``, ``openvino``, ``aoti``, or
            one of a plug-in; ``auto`` is that of the runtime that was searched for.
        storage: SQLAlchemy URL of the database.
        model: The module the study was started with, if it was one; it stays as it is.
        data: The data the study was started with, if it was no name.
        time_s: Longest time to time each format for; 0 for not at all.

    Raises:
        ExportError: If it cannot be written, cannot be expressed, or does not do what the live model does.
    """
    return Study(study, storage).export(to, trial, formats=formats, model=model, data=data, time_s=time_s)
