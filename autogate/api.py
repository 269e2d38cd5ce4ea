"""One function per command; the command line calls these and nothing else.

Everything heavy is imported where it is used, so that reading a study loads no torch.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autogate.errors import AutoGateError, DataError, ExportError, ModelError, PolicyError, StudyError
from autogate.policy import Policy
from autogate.search.config import SearchConfig, make_config
from autogate.search.document import floor_of, search_document, tolerance_of
from autogate.search.reporter import Reporter
from autogate.search.verdict import choose_best, judge, pareto_front
from autogate.space import SpaceSpec, list_spaces, load_space, parse_space
from autogate.store import DEFAULT_URL, FinalistRecord, Store, TrialRecord, database_exists
from autogate.units import LatencyBudget

if TYPE_CHECKING:
    from torch import fx, nn

    from autogate.data import ImageData
    from autogate.gates import TrainingGate
    from autogate.records import Profile
    from autogate.search.task import Task

    TrainFunction = Callable[[nn.Module], None]
    ScoreFunction = Callable[[nn.Module], float]

STORAGE_VARIABLE = "AUTOGATE_STORAGE"


def default_storage() -> str:
    """Return the storage URL from the environment, or the SQLite file under the current directory."""
    return os.environ.get(STORAGE_VARIABLE, DEFAULT_URL)


class Study:
    """A search in a database.

    Args:
        name: Name of the study.
        storage: SQLAlchemy URL; None for the default.

    Raises:
        StudyError: If there is no such study.
    """

    def __init__(self, name: str, storage: str | None = None) -> None:
        self.name = name
        self.storage = storage or default_storage()
        self.store = Store(self.storage)
        self.store.study(name)

    @property
    def config(self) -> SearchConfig:
        """The resolved configuration."""
        return SearchConfig.model_validate(self.store.study(self.name)[0])

    @property
    def facts(self) -> dict[str, Any]:
        """What was found out on the way: dense accuracies, budget, identities of profile and weights."""
        return self.store.study(self.name)[1]

    def document(self) -> dict[str, Any]:
        """Return the study as one JSON-ready document."""
        return search_document(self.store, self.name)

    @property
    def best(self) -> FinalistRecord | None:
        """The measured winner, or None if no finalist meets the budget."""
        facts = self.facts
        finalists = [f for f in self.store.finalists(self.name) if f.profile == facts.get("profile")]
        return choose_best(finalists, self.config.budget, floor_of(self.config, facts), tolerance_of(facts))[0]

    def trials(self) -> list[TrialRecord]:
        """Return all proposals by number."""
        return self.store.trials(self.name)

    def finalist(self, which: str) -> FinalistRecord:
        """Return the measured finalist ``best``, or the one of a trial number.

        Raises:
            StudyError: If there is none; says which trials are finalists.
        """
        finalists = self.store.finalists(self.name)
        found = self.best if which == "best" else next((f for f in finalists if str(f.trial) == which), None)
        if found is None:
            known = ", ".join(str(f.trial) for f in finalists) or "none yet"
            what = "no finalist that meets the budget" if which == "best" else f"no finalist of trial {which}"
            raise StudyError(f"study {self.name!r} has {what}; finalists are the trials: {known}")
        return found

    def export(self, to: str | Path, which: str = "best") -> dict[str, Any]:
        """Write a finalist to the directory ``to``; see :func:`export`."""
        return export(self.name, to, which=which, storage=self.storage)


def search(
    model: str | nn.Module = "resnet20",
    data: str | ImageData | tuple[Any, ...] = "digits",
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
        train_fn: Trains a network in place, instead of the built-in recipe.
        score_fn: Scores a network, higher is better, instead of validation accuracy.
        **settings: Further fields of :class:`autogate.search.config.SearchConfig`.

    Raises:
        BudgetInfeasibleError: If no policy can meet the budget; before any training.
        AutoGateError: If anything asked for is unknown, damaged or does not fit.
    """
    spec = load_space(space) if isinstance(space, str) else parse_space(dict(space), "the search space")
    settings = {"weights": "in memory", **settings} if not isinstance(model, str) else settings
    config = make_config(
        model=model if isinstance(model, str) else f"python:{type(model).__name__}",
        data=data if isinstance(data, str) else "python", space=spec.to_json(), latency_budget=latency_budget,
        max_drop=max_drop, pareto=pareto, **settings,
    )  # fmt: skip
    reporter = reporter or Reporter()
    url = storage or default_storage()
    if study is not None and database_exists(url):
        _refuse_other(Store(url), study, config)
    task = _task_of(model, data, config, reporter)
    store = Store(url, create=True)
    return _run(store, study or _fresh_name(store, config), config, reporter, task, train_fn, score_fn)


def resume(
    study: str,
    *,
    trials: int | None = None,
    trainings: int | None = None,
    timeout_s: float | None = None,
    storage: str | None = None,
    reporter: Reporter | None = None,
    model: nn.Module | None = None,
    data: Any = None,
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
    from_python = config.model.startswith("python:") or config.data == "python"
    if from_python and (model is None or data is None):
        raise StudyError(f"study {study!r} was started from Python; resume it with autogate.resume(model=…, data=…)")
    reporter = reporter or Reporter()
    task = _task_of(model or config.model, data or config.data, config, reporter)
    return _run(store, study, config, reporter, task, train_fn, score_fn)


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
    from autogate.search.objective import Objective
    from autogate.search.prepare import prepare_ground
    from autogate.search.task import load_untrained

    config = make_config(space=load_space(space).to_json(), **settings)
    store = Store(storage or default_storage(), create=True)
    reporter = reporter or Reporter()
    task = load_untrained(config, reporter)
    ground = prepare_ground(config, task.network, task.target, store, {}, reporter)
    objective = Objective.of(config, ground.latency.dense_ms, None)
    lightest = ground.latency.lightest(ground.lightest)
    return {
        "schema": "autogate.dry-run/1",
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


def show(study: str, which: str = "best", *, storage: str | None = None) -> dict[str, Any]:
    """Return a study's document; ``which`` names the finalist under ``best``: ``best`` or a trial number.

    Raises:
        StudyError: If there is no such study or finalist.
    """
    opened = Study(study, storage)
    document = opened.document()
    if which != "best":
        from autogate.search.document import finalist_document

        document["best"] = finalist_document(opened.finalist(which), opened.config.budget)
    return document


def pareto(study: str, *, latency_budget: str | None = None, storage: str | None = None) -> dict[str, Any]:
    """Judge a stored study by another budget, training nothing.

    Returns the front of trained candidates, the best candidate by prediction, and the best finalist by
    measurement, under the budget.
    """
    opened = Study(study, storage)
    config, facts = opened.config, opened.facts
    budget = config.budget if latency_budget is None else LatencyBudget.parse(latency_budget)
    document = search_document(opened.store, study, budget)
    dense_ms = facts.get("dense_predicted_ms")
    limit_ms = None if budget is None or dense_ms is None else budget.limit_ms(dense_ms)
    front = pareto_front(opened.trials(), config.latency_stat)
    within = [t.number for t in front if limit_ms is None or (t.predicted or {})["upper"] <= limit_ms]
    return {
        "schema": "autogate.pareto/1",
        "study": study,
        "latency_stat": config.latency_stat,
        "dense_predicted_ms": dense_ms,
        "budget": None if budget is None else budget.text,
        "budget_ms": limit_ms,
        "front": document["front"],
        "best_predicted": next((p for p in reversed(document["front"]) if p["trial"] in within), None),
        "best_measured": document["best"],
        "closest_measured": document["closest"],
    }


def studies(*, storage: str | None = None) -> list[dict[str, Any]]:
    """Return a line of facts per study, oldest first."""
    store = Store(storage or default_storage())
    lines = []
    for name in store.study_names():
        config = SearchConfig.model_validate(store.study(name)[0])
        counts = store.count_trials(name)
        goal = config.latency_budget or (f"max drop {config.max_drop}" if config.max_drop else "pareto")
        lines.append(
            {"study": name, "model": config.model, "data": config.data, "goal": goal, "batch_size": config.batch_size,
             "trials": counts["total"], "trained": counts["complete"], "wanted": config.trials,
             "finalists": len(store.finalists(name))}
        )  # fmt: skip
    return lines


def spaces() -> dict[str, SpaceSpec]:
    """Return the search spaces that ship with AutoGate, by name."""
    return list_spaces()


def sites(
    model: str = "resnet20", *, input_size: int | None = None, num_classes: int | None = None
) -> list[dict[str, Any]]:
    """Return the sites of a network with shapes and MACs, and the families that fit each.

    Raises:
        ModelError: If the network is unknown, cannot be traced, or has no site.
    """
    from autogate.gates import FAMILIES
    from autogate.models import default_input_size, load_model
    from autogate.sites import find_sites

    if input_size is not None and input_size < 1:
        raise ModelError(f"input size {input_size} must be at least 1")
    size = input_size or default_input_size(model)
    network = find_sites(load_model(model, num_classes=num_classes).module, (3, size, size))
    return [
        {**asdict(site), "families": [name for name, family in FAMILIES.items() if family.fits(site) is None]}
        for site in network.sites.values()
    ]


def profile(
    model: str = "resnet20",
    *,
    space: str = "unified",
    out: str | Path | None = None,
    seconds: float = 40.0,
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
        storage: SQLAlchemy URL of the database.
        reporter: Hears of progress.
        **settings: ``device``, ``batch_size``, ``dtype``, ``layout``, ``threads``, ``input_size``, ``seed``.
    """
    from autogate.gates import get_family
    from autogate.latency import profile_digest, resolve_device, take_profile, to_lines
    from autogate.models import default_input_size, load_model
    from autogate.search.prepare import target_setting
    from autogate.sites import find_sites
    from autogate.space.bound import bind

    reporter = reporter or Reporter()
    config = make_config(model=model, space=load_space(space).to_json(), pareto=True, **settings)
    size = config.input_size or default_input_size(model)
    network = find_sites(load_model(model).module, (3, size, size))
    setting = target_setting(config, network, resolve_device(config.device), reporter)
    bound = bind(load_space(space), network.sites).restricted(
        lambda site, gate: get_family(gate.family).limits(network.sites[site], config.batch_size) is None
    )
    with reporter.stage("profile"):
        taken = take_profile(
            network,
            bound,
            setting,
            model=model,
            seconds=seconds,
            seed=config.seed,
            progress=reporter.progress,
        )
    if out is not None:
        _write_text(Path(out), to_lines(taken))
    else:
        store = Store(storage or default_storage(), create=True)
        store.add_profile(profile_digest(taken), model, setting.to_json(), to_lines(taken))
    return taken


def predict(
    study: str, policy: str | Policy = "best", *, profile: str | None = None, storage: str | None = None
) -> dict[str, Any]:
    """Predict the latency of a policy on a study's network and device.

    Args:
        study: Name of the study.
        policy: A policy, a JSON file of one, ``best``, or a trial number.
        profile: A profile file of another device to predict for.
        storage: SQLAlchemy URL of the database.
    """
    from autogate.latency import LatencyModel, from_lines, read_profile
    from autogate.search.costs import predicted_statistics
    from autogate.search.task import load_model_and_data, network_for
    from autogate.surgery import canonical

    opened = Study(study, storage)
    found, realisation = _policy_of(opened, policy)
    lines = opened.store.profile(str(opened.facts.get("profile")))
    if profile is None and lines is None:
        raise StudyError(f"study {study!r} has no profile yet; run `autogate resume {study}`")
    taken = read_profile(Path(profile)) if profile is not None else from_lines(str(lines), "the study's profile")
    loaded, data = load_model_and_data(opened.config)
    latency = LatencyModel(taken, network_for(loaded, data.preprocessing))
    estimate = latency.predict(canonical(found, latency.network.sites, strict=True), realisation)
    return {
        "schema": "autogate.predict/1",
        "label": "predicted",
        "policy_digest": found.digest,
        "device": taken.setting.device_name,
        "batch_size": taken.setting.batch_size,
        "dense_ms": latency.dense_ms,
        "predicted_ms": predicted_statistics(estimate, opened.config.latency_stat),
        "ratio": estimate.p50 / latency.dense_ms,
        "error": estimate.error,
    }


def export(study: str, to: str | Path, *, which: str = "best", storage: str | None = None) -> dict[str, Any]:
    """Write a finalist as policy, weights, program and report; reload and verify it.

    Args:
        study: Name of the study.
        to: Directory to write.
        which: ``best`` or the trial number of a finalist.
        storage: SQLAlchemy URL of the database.

    Raises:
        ExportError: If it cannot be written, cannot be expressed, or does not do what the live model does.
    """
    import torch

    from autogate.export import Deliverable, deliver, refusal
    from autogate.search.document import finalist_document

    opened = Study(study, storage)
    finalist = opened.finalist(which)
    config = opened.config
    task, form = _rebuild(opened, finalist)
    if (reason := refusal(finalist.policy, task.network, config.batch_size)) is not None:
        others = [f for f in opened.store.finalists(study) if judge(f.comparison, config.budget).met]
        able = [str(f.trial) for f in others if refusal(f.policy, task.network, config.batch_size) is None]
        advice = f"export trial {able[0]} with --trial {able[0]}" if able else "no other finalist can be exported"
        raise ExportError(f"{reason}; {advice}")
    images = torch.cat([batch for batch, _ in task.data.test.batches(100, limit=500)])
    facts = opened.facts
    report = {
        "study": study,
        "setting": finalist.comparison.setting.to_json(),
        "result": finalist_document(finalist, config.budget),
        "dense": {**facts["dense"], "measured_ms": finalist.comparison.dense.to_json()},
        "class_names": facts["class_names"],
        "torch": torch.__version__,
    }
    return deliver(
        Deliverable(
            form, finalist.policy, config.model, task.data.num_classes, task.preprocessing, config.batch_size, images,
            report,
        ),
        Path(to),
    )  # fmt: skip


def measure(
    path: str | Path,
    *,
    device: str | None = None,
    batch_size: int | None = None,
    layout: str | None = None,
    threads: int | None = None,
    seconds: float = 20.0,
    latency_stat: str = "p95",
) -> dict[str, Any]:
    """Measure an export beside its dense network, interleaved, on this device.

    Args:
        path: Directory written by :func:`export`.
        device: Device to measure on; None for the one it was searched for.
        batch_size: Images per call; None likewise.
        layout: Memory layout; None likewise.
        threads: CPU threads; None likewise, but no more than there are cores.
        seconds: Longest time to spend.
        latency_stat: Statistic over inputs whose ratio is reported.
    """
    from autogate.export import reload
    from autogate.latency import compare, resolve_device, setting_of
    from autogate.latency.device import usable_cores
    from autogate.search.finalists import FIXED_INPUTS, VARYING_INPUTS, policy_varies

    exported = reload(Path(path))
    searched = exported.report["setting"]
    setting = setting_of(
        resolve_device(device or searched["device"]),
        batch_size=searched["batch_size"] if batch_size is None else batch_size,
        dtype=searched["dtype"], layout=layout or searched["layout"],
        threads=min(int(searched["threads"]), usable_cores()) if threads is None else threads,
    )  # fmt: skip
    size = setting.batch_size
    images = exported.images.repeat(-(-size // len(exported.images)), 1, 1, 1)
    varies = policy_varies(exported.policy)
    inputs = [images[i : i + size] for i in range(0, len(images) - size + 1, size)]
    inputs = inputs[: VARYING_INPUTS if varies else FIXED_INPUTS]
    comparison = compare(
        exported.dense, exported.gated, inputs, setting, varies=varies,
        stat=latency_stat, seconds=seconds,  # type: ignore[arg-type]
    )  # fmt: skip
    return {
        "schema": "autogate.measure/1",
        "label": "measured",
        "policy_digest": exported.policy.digest,
        **comparison.to_json(),
    }


def apply(model: nn.Module, policy: Policy, input_shape: tuple[int, int, int] = (3, 224, 224)) -> fx.GraphModule:
    """Return ``model`` with the policy's gates in training form; it shares the model's weights.

    Args:
        model: A network that takes one image batch.
        policy: The policy; every gate must fit its site.
        input_shape: Channels, height and width of one input.

    Raises:
        PolicyError: If a gate does not fit.
    """
    return _forms(model, policy, input_shape)[0]


def compact(model: nn.Module, policy: Policy, input_shape: tuple[int, int, int] = (3, 224, 224)) -> fx.GraphModule:
    """Return ``model`` rebuilt without the gated work, as it would run; gates with weights start untrained.

    Arguments and errors as in :func:`apply`; the result has weights of its own.
    """
    from autogate.surgery import compact_form

    _, network, complete, gates = _forms(model, policy, input_shape)
    return compact_form(network, complete, gates)


def doctor(*, storage: str | None = None) -> dict[str, Any]:
    """Return versions, devices and the state of the machine, as they matter for measuring."""
    import torch

    from autogate.latency.device import device_name, usable_cores

    packages = ("torch", "torchvision", "optuna", "sqlalchemy", "timm", "ray", "onnx")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    url = storage or default_storage()
    try:
        known: Any = Store(url).study_names()
    except AutoGateError as error:
        known = str(error)
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "schema": "autogate.doctor/1",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        "cpu": device_name(torch.device("cpu")),
        "gpus": gpus,
        "load": load,
        "quiet": load is None or load < 0.5 * usable_cores(),
        "studies": known,
    }


def _run(
    store: Store,
    name: str,
    config: SearchConfig,
    reporter: Reporter,
    task: Task,
    train_fn: TrainFunction | None,
    score_fn: ScoreFunction | None,
) -> Study:
    from autogate.search.run import run_search

    before: dict[str, float] = {}
    if name in store.study_names():
        store.set_config(name, config.to_json())
        before = dict(store.study(name)[1].get("seconds", {}))
    reporter.begin(name)
    try:
        run_search(store, name, config, reporter, task, trials=config.trials, train_fn=train_fn, score_fn=score_fn)
    finally:
        if name in store.study_names():
            spent = {stage: before.get(stage, 0.0) + seconds for stage, seconds in reporter.seconds.items()}
            store.set_facts(name, {"seconds": {**before, **spent}})
    return Study(name, store.url)


def _refuse_other(store: Store, name: str, config: SearchConfig) -> None:
    """Refuse a study of this name that was made with another configuration."""
    if name not in store.study_names():
        return
    if different := config.differences(SearchConfig.model_validate(store.study(name)[0])):
        raise StudyError(
            f"study {name!r} exists with another configuration: {'; '.join(different)}; choose another --study, or "
            f"continue it with `autogate resume {name}`"
        )


def _fresh_name(store: Store, config: SearchConfig) -> str:
    known = set(store.study_names())
    stem = f"{config.model.split(':')[-1].lower()}-{Path(config.data).name}"
    return next(name for i in range(1, len(known) + 2) if (name := f"{stem}-{i}") not in known)


def _task_of(model: str | nn.Module, data: Any, config: SearchConfig, reporter: Reporter) -> Task:
    """Load what was given by name, and take what was given as it is."""
    from autogate.data import ImageData, from_datasets, load_data
    from autogate.latency import resolve_device
    from autogate.models import load_model
    from autogate.search.task import Task, load_untrained
    from autogate.sites import find_sites

    if isinstance(model, str) and isinstance(data, str):
        return load_untrained(config, reporter)
    if isinstance(data, str):
        data = load_data(data, seed=config.seed, memory_limit_bytes=config.memory_limit_bytes)
    elif not isinstance(data, ImageData):
        if len(data) not in (2, 3):
            raise DataError(f"data must be (train, test) or (train, val, test), not {len(data)} parts")
        val = data[1] if len(data) == 3 else None
        data = from_datasets(data[0], data[-1], val=val, seed=config.seed)
    if isinstance(model, str):
        loaded = load_model(model, num_classes=data.num_classes, weights=config.weights, new_head=config.new_head)
        model = loaded.module
    size = data.preprocessing.input_size
    target = resolve_device(config.device)
    trainer = resolve_device(config.train_device or str(target))
    network = find_sites(model, (3, size, size))
    return Task(network, data, data.preprocessing, target, trainer, config.model, config.seed)


def _policy_of(opened: Study, policy: str | Policy) -> tuple[Policy, Any]:
    """Return a policy and what is known of its decisions."""
    import json

    if isinstance(policy, Policy):
        return policy, None
    if policy.endswith(".json"):
        try:
            return Policy.from_json(json.loads(Path(policy).read_text(encoding="utf-8"))), None
        except (OSError, ValueError) as error:
            raise PolicyError(f"cannot read policy {policy}: {error}") from None
    if policy == "best":
        finalist = opened.finalist("best")
        return finalist.policy, finalist.realisation
    for trial in opened.trials():
        if str(trial.number) == policy and trial.policy is not None:
            return trial.policy, None
    raise StudyError(f"study {opened.name!r} has no trial {policy!r}; give a number, best, or a policy.json")


def _rebuild(opened: Study, finalist: FinalistRecord) -> tuple[Task, fx.GraphModule]:
    """Load a finalist's weights into its network and return its compact form."""
    from autogate.search.task import load_untrained
    from autogate.search.weights_io import unpack
    from autogate.surgery import attach_gates, compact_form, gate_path

    config = opened.config
    if config.model.startswith("python:"):
        raise ExportError(f"{config.model} was given as a module, which cannot be built again by name")
    task = load_untrained(config, Reporter())
    gates = attach_gates(task.network, finalist.policy)
    modules = {gate_path(site): gate for site, gate in gates.items()}
    unpack(opened.store.artifact(finalist.artifact), task.network.model, modules)
    return task, compact_form(task.network, finalist.policy, gates)


def _forms(
    model: nn.Module, policy: Policy, input_shape: tuple[int, int, int]
) -> tuple[fx.GraphModule, Any, Policy, dict[str, TrainingGate]]:
    from autogate.sites import find_sites
    from autogate.surgery import attach_gates, canonical, training_form

    network = find_sites(model, input_shape)
    complete = canonical(policy, network.sites, strict=True)
    gates = attach_gates(network, complete)
    return training_form(network, gates), network, complete, gates


def _write_text(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AutoGateError(f"cannot write {path}: {error.strerror}; choose another file") from None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


__all__ = [
    "Study", "apply", "compact", "doctor", "dry_run", "export", "measure", "pareto", "predict", "profile",
    "resume", "search", "show", "sites", "spaces", "studies",
]  # fmt: skip
