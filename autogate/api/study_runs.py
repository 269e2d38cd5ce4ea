"""Studies: started, continued, read, exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autogate.api.study import Study
from autogate.errors import AutoGateError, StudyError
from autogate.goals import BUDGETS, FREE, TARGET, SearchConfig, make_config
from autogate.space import load_space, parse_space
from autogate.store import Store, check_name, default_storage, holds_studies
from autogate.store.artifacts import checked_url
from autogate.studies import Reporter, finalist_document, floor_of, pareto_document, study_line
from autogate.units import Budgets

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from torch import nn

    from autogate.nas.evaluating import OwnData
    from autogate.training import ScoreFunction, TrainFunction


def search(
    model: str | nn.Module = "resnet20",
    data: str | Path | OwnData = "digits",
    *,
    latency_budget: str | None = None,
    max_drop: str | None = None,
    pareto: bool = False,
    memory_budget: str | None = None,
    energy_budget: str | None = None,
    study: str | None = None,
    storage: str | None = None,
    space: str | Mapping[str, Any] = "unified",
    artifacts: str | None = None,
    reporter: Reporter | None = None,
    train_fn: TrainFunction | None = None,
    score_fn: ScoreFunction | None = None,
    sampler: str | BaseSampler = "tpe",
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
        memory_budget: Besides, the most peak memory: such as ``200MiB`` or ``60%`` of dense.
        energy_budget: Besides, the most energy per image: such as ``80mJ`` or ``70%`` of dense; on a GPU only, and
            judged on finalists, where it is measured.
        study: Name of the study; a fresh one is made if None. An existing study of the same configuration is
            continued.
        storage: SQLAlchemy URL of the database.
        space: Name of a shipped search space, a YAML file, or its content.
        artifacts: Where the weights go, a folder or a URL that all hosts reach; None for the folder beside a SQLite
            file, and for the database itself on a server.
        reporter: Hears of progress.
        train_fn: ``train_fn(network, fidelity)`` trains a network in place instead of the built-in recipes; fidelity
            is ``base``, ``short`` (a candidate) or ``full`` (a finalist). Its loss should include :func:`gate_loss`.
            Candidates then start from the dense weights, and gates of ``dce`` stay the slices they begin as.
        score_fn: ``score_fn(network, part)`` scores a network instead of its accuracy, higher is better; part is
            ``val`` or ``test``.
        sampler: Who proposes candidates, with guided proposals between: ``tpe``, ``gp``, ``nsgaii``; ``random``, which
            gets no guided ones; ``package.module:factory``, a function that returns an Optuna sampler; or such a
            sampler itself. Built-in ones propose the same after an interruption as without. A sampler of your own is
            used as it is: one object for the whole run, with its own seed; a continued study shows it the trials
            again, but what else it had in memory is gone.
        **settings: Further fields of :class:`autogate.goals.config.SearchConfig`.

    Raises:
        BudgetInfeasibleError: If no policy can meet the budget of latency or memory; before any training.
        AutoGateError: If anything asked for is unknown, damaged or does not fit.
    """
    from autogate.nas.evaluating import CallerInputs, config_names, sampler_name
    from autogate.nas.loop import check_same_config, start

    spec = parse_space(space, "the search space") if isinstance(space, Mapping) else load_space(str(space))
    goal = {
        "latency_budget": latency_budget,
        "max_drop": max_drop,
        "pareto": pareto,
        "memory_budget": memory_budget,
        "energy_budget": energy_budget,
    }
    config = make_config(
        **{**config_names(model, data), **settings},
        **goal,
        space=spec.to_json(),
        sampler=sampler_name(sampler),
    )
    url = storage or default_storage()
    if study is not None:
        check_name(study)
    place = None if artifacts is None else checked_url(artifacts)
    if study is not None and holds_studies(url):
        check_same_config(Store(url), study, config)
    own = replace(CallerInputs.among(model, data), train_fn=train_fn, score_fn=score_fn, sampler=_object(sampler))
    return Study(start(url, study, config, reporter or Reporter(), own, artifacts=place), url)


def resume(
    study: str,
    *,
    trials: int | None = None,
    trainings: int | None = None,
    timeout_s: float | None = None,
    allow_stale: bool = False,
    storage: str | None = None,
    reporter: Reporter | None = None,
    model: nn.Module | None = None,
    data: OwnData | None = None,
    train_fn: TrainFunction | None = None,
    score_fn: ScoreFunction | None = None,
    sampler: str | BaseSampler | None = None,
    **changes: Any,
) -> Study:
    """Continue a study after an interruption, with further trials, under other budgets, or for another device.

    Under other budgets, and for another device, everything that was tried is judged anew first; nothing that was
    trained is trained again.

    Args:
        study: Name of the study.
        trials: Further proposals; None finishes the number asked for before.
        trainings: New limit on trained candidates.
        timeout_s: Seconds after which no new trial starts.
        allow_stale: Whether the study's profile may be of other versions; some of it is then measured again.
        storage: SQLAlchemy URL of the database.
        reporter: Hears of progress.
        model: The module the study was started with, if it was one.
        data: The data the study was started with, if it was no name.
        train_fn: As in :func:`search`.
        score_fn: As in :func:`search`.
        sampler: As in :func:`search`; None for the one before. One that was passed as an object is passed again.
        **changes: New budgets (``latency_budget``, ``max_drop``, ``memory_budget``, ``energy_budget``), a new target
            (``device``, ``batch_size``, ``dtype``, ``layout``, ``threads``, ``runtime``, ``profile``,
            ``latency_stat``), or who trains (``workers``, ``backend``, ``ray_address``, ``gpus_per_trial``,
            ``cpus_per_trial``, ``finalists``).

    Raises:
        StudyError: If there is no such study, it needs ``model`` or ``data``, or a change would make it another one.
    """
    from autogate.nas.evaluating import CallerInputs, sampler_name
    from autogate.nas.loop import start

    store = Store(storage or default_storage())
    before = SearchConfig.model_validate(store.study(study)[0])
    if before.replay is not None:
        raise StudyError(f"study {study!r} is a replay; continue it with `autogate replay {before.replay} --as …`")
    if unknown := sorted(set(changes) - {*BUDGETS, *TARGET, *FREE}):
        raise StudyError(f"a study cannot be continued with another {unknown[0]}; start a new one")
    changes["timeout_s"] = timeout_s
    if sampler is not None:
        changes["sampler"] = sampler_name(sampler)
    if allow_stale:
        changes["allow_stale"] = True
    if trials is not None:
        if trials < 1:
            raise AutoGateError(f"trials must be at least 1, not {trials}")
        changes["trials"] = store.count_trials(study)["total"] + trials
    if trainings is not None:
        changes["trainings"] = trainings
    if changes.get("backend") == "local":
        changes |= {"ray_address": None, "gpus_per_trial": None}
    config = make_config(**{**before.model_dump(), **changes})
    if config.goal != before.goal:
        raise StudyError(
            f"study {study!r} is after {before.goal}, and cannot change to {config.goal}; start a new one, which uses "
            "what was trained"
        )
    own = CallerInputs(model, data, train_fn, score_fn, _object(sampler))
    own.check(study, config)
    return Study(start(store.url, study, config, reporter or Reporter(), own, judged_anew=True), store.url)


def _object(sampler: str | BaseSampler | None) -> BaseSampler | None:
    return None if isinstance(sampler, str) else sampler


def dry_run(
    *, storage: str | None = None, space: str = "unified", reporter: Reporter | None = None, **settings: Any
) -> dict[str, Any]:
    """Return latency and peak memory, of dense and the lowest reachable, and size of the space; train nothing.

    Args:
        storage: SQLAlchemy URL of the database in which the profile is kept.
        space: As in :func:`search`.
        reporter: Hears of progress.
        **settings: As in :func:`search`.
    """
    from autogate.analysis import reach_document

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
            opened.finalist(which), opened.config.budgets, floor_of(opened.config, opened.facts)
        )
    return document


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
) -> dict[str, Any]:
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
        return pareto_document(opened.store, study, budgets.otherwise(opened.config.budgets))
    if budgets.memory is not None or budgets.energy is not None:
        raise StudyError("a profile says nothing of memory and energy; leave --memory-budget and --energy-budget out")
    from autogate.analysis import reranked_document
    from autogate.nas.evaluating import CallerInputs

    CallerInputs(model, data).check(study, opened.config)
    return reranked_document(opened.store, study, profile, budgets, model=model, data=data)


def studies(*, storage: str | None = None) -> list[dict[str, Any]]:
    """Return a line of facts per study, oldest first."""
    store = Store(storage or default_storage())
    return [study_line(store, name) for name in store.study_names()]


def export(
    study: str,
    to: str | Path,
    *,
    which: str = "best",
    formats: Sequence[str] = ("pt2",),
    storage: str | None = None,
    model: nn.Module | None = None,
    data: OwnData | None = None,
) -> dict[str, Any]:
    """Write a finalist as policy, weights and report, and in formats that run without AutoGate; reload and verify it.

    Args:
        study: Name of the study.
        to: Directory to write.
        which: ``best`` or the trial number of a finalist.
        formats: Names of the formats: ``pt2``, a program of ``torch.export``, or one of a plug-in.
        storage: SQLAlchemy URL of the database.
        model: The module the study was started with, if it was one; its weights are replaced.
        data: The data the study was started with, if it was no name.

    Raises:
        ExportError: If it cannot be written, cannot be expressed, or does not do what the live model does.
    """
    return Study(study, storage).export(to, which, formats=formats, model=model, data=data)
