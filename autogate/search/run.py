"""One search from start to verdict; a resumed study takes the same way and skips what is done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autogate.code_version import code_version
from autogate.errors import StudyError, TrainingError
from autogate.latency.model import VERSION as LATENCY_MODEL
from autogate.policy import DENSE
from autogate.search.config import SearchConfig
from autogate.search.costs import dense_macs, parameter_count
from autogate.search.document import floor_of
from autogate.search.driver import SHORT, Driver
from autogate.search.evaluator import Evaluator
from autogate.search.feedback import Feedback
from autogate.search.finalists import FinalStage
from autogate.search.objective import Objective
from autogate.search.prepare import Ground, check_feasible, prepare_ground
from autogate.search.proposals import Proposer, Sensitivity, savings
from autogate.search.ranking import picker
from autogate.search.reporter import Reporter
from autogate.search.task import Task, train_base
from autogate.search.verdict import binds
from autogate.search.weights_io import bank_paths, pack, unpack
from autogate.store import Store
from autogate.surgery import compact_form
from autogate.training import (
    Methods,
    Recipe,
    clone,
    full_recipe,
    make_bank,
    recalibrate,
    shared_recipe,
    short_recipe,
    train_shared,
)
from autogate.units import parse_drop


def run_search(
    store: Store, study: str, config: SearchConfig, reporter: Reporter, task: Task, methods: Methods, *, trials: int
) -> None:
    """Run or continue ``study`` until ``trials`` proposals are done and its finalists are measured.

    Every step is stored when it is finished.

    Args:
        store: The study database; the study is added to it once the budget is known to be reachable.
        study: Name of the study.
        config: Its configuration.
        reporter: Hears of progress.
        task: Network and data.
        methods: How to train and score.
        trials: Proposals to end complete, rejected or reused, those of earlier runs included.

    Raises:
        BudgetInfeasibleError: If no policy meets the budget; before any training.
        AutoGateError: If anything else the user asked for cannot be had.
    """
    facts, ground, objective = _begin(store, study, config, reporter, task, methods)
    train_base(config, task, methods, store, facts, reporter)
    store.set_facts(study, facts)
    if "dense" not in facts:
        with reporter.stage("score dense"):
            facts["dense"] = _describe_dense(task, methods, ground)
        store.set_facts(study, facts)
    evaluator = _evaluator(config, task, methods, ground, store, facts, reporter)
    store.set_facts(study, facts)
    recipe = short_recipe(len(task.data.train), config.lr)
    floor = floor_of(config, facts)
    if floor is not None:
        facts["short_floor"] = _short_floor(config, floor, evaluator, recipe, store, reporter)
        objective = replace(objective, floor=facts["short_floor"])

    proposer = _proposer(config, ground, objective, facts, evaluator, reporter)
    store.set_facts(study, facts)
    feedback = None if ground.foreign else Feedback(store, study, ground.latency, objective, reporter)
    driver = Driver(
        store, study, objective, ground.latency, proposer, evaluator, recipe, reporter, config.seed, feedback,
        ground.memory,
    )  # fmt: skip
    with reporter.stage("search"):
        driver.run(trials, trainings=config.trainings, timeout_s=config.timeout_s)

    _finish(store, study, config, facts, ground, objective, evaluator, reporter)


def _begin(
    store: Store, study: str, config: SearchConfig, reporter: Reporter, task: Task, methods: Methods
) -> tuple[dict[str, Any], Ground, Objective]:
    """Find out what the device can do, and store the study if the budget can be met."""
    known = study in store.study_names()
    facts: dict[str, Any] = store.study(study)[1] if known else {"task": task.digest, "methods": methods.names}
    if facts.get("methods", []) != methods.names:
        brought = ", ".join(facts["methods"][1:]) or "the built-in training and score"
        raise StudyError(f"study {study!r} was started with {brought}; continue it from Python with the same functions")
    if facts["task"] != task.digest:
        raise StudyError(
            f"network, weights or data of study {study!r} changed since it began; bring them back, or start a new study"
        )
    ground = prepare_ground(config, task.network, task.target, store, facts, reporter)
    for line in ground.unpaying:
        reporter.note(f"left out: {line}")
    objective = Objective.of(config, ground.latency.dense_ms)
    check_feasible(objective, ground)
    memory = ground.memory
    binding = binds(config.budgets, ground.latency.dense_ms, None if memory is None else memory.dense_bytes)
    if not binding:
        reporter.note("dense meets this budget already; the fastest policy of equal accuracy is looked for")
    facts |= {
        # Of the trials there are: predictions are stored, and found, under it.
        "latency_model": facts.get("latency_model", LATENCY_MODEL),
        "foreign": ground.foreign,
        "left_out": ground.unpaying,
        "setting": ground.latency.profile.setting.to_json(),
        "dense_predicted_ms": ground.latency.dense_ms,
        "budget_ms_search": objective.limit_ms,
        "budget_binding": binding,
        "val_images": len(task.data.val),
        "preprocessing": task.preprocessing.to_json(),
        "class_names": list(task.data.class_names),
    }
    if known:
        store.set_facts(study, facts)
    else:
        store.create_study(study, config.to_json(), facts, code_version=code_version())
        store.claim(study)
        reporter.begin(study, store.command("resume", study))
    return facts, ground, objective


def _describe_dense(task: Task, methods: Methods, ground: Ground) -> dict[str, Any]:
    task.network.model.to(task.trainer)
    val, _ = methods.score(task.network.model, task.data.val, "val", device=task.trainer)
    params = parameter_count(compact_form(task.network, DENSE, {}))
    return {
        "val_accuracy": val, "test_accuracy": None, "macs": dense_macs(task.network), "params": params,
        "peak_memory_bytes": None if ground.memory is None else ground.memory.dense_bytes,
    }  # fmt: skip


def _evaluator(
    config: SearchConfig,
    task: Task,
    methods: Methods,
    ground: Ground,
    store: Store,
    facts: dict[str, Any],
    reporter: Reporter,
) -> Evaluator:
    """Train the shared weights, or load those of an earlier run, and return what judges candidates.

    A caller's own training knows nothing of sharing: then every candidate starts from the dense weights.
    """
    shared = clone(task.network)
    bank = make_bank(shared, ground.space, config.seed)
    if "shared_artifact" in facts:
        unpack(store.artifact(facts["shared_artifact"]), shared.model, bank_paths(bank))
        for gate in bank.values():
            gate.to(task.trainer)
    else:
        if methods.train_fn is None:
            recipe = shared_recipe(len(task.data.train), config.lr)
            with reporter.stage("train shared weights"):
                try:
                    train_shared(
                        shared, ground.space, bank, task.data.train, recipe, lightest=ground.lightest,
                        seed=config.seed, device=task.trainer, progress=reporter.progress,
                    )  # fmt: skip
                except TrainingError as error:
                    raise TrainingError(f"training the shared weights: {error}, in a new --study") from None
                recalibrate(shared.model, task.data.train, seed=config.seed, device=task.trainer)
        facts["shared_artifact"] = store.add_artifact("shared", pack(shared.model, bank_paths(bank)))
    return Evaluator(task, facts["task"], shared, bank, facts["shared_artifact"], config.seed, methods)


def _short_floor(
    config: SearchConfig, floor: float, evaluator: Evaluator, recipe: Recipe, store: Store, reporter: Reporter
) -> float:
    """Return the lowest accuracy worth having after short training: that of dense, as briefly trained, less the drop.

    Short training leaves every candidate below what it can reach, dense too; so dense is what to compare with.
    """
    assert config.max_drop is not None  # noqa: S101 - there is a floor
    known = store.find_evaluation(evaluator.key(DENSE, recipe, SHORT))
    if known is None:
        with reporter.stage("score dense"):
            known, _ = evaluator.run(DENSE, recipe, SHORT, reporter)
        store.add_policy(DENSE)
        store.add_evaluation(known)
    return min(floor, known.val_accuracy - parse_drop(config.max_drop))


def _proposer(
    config: SearchConfig,
    ground: Ground,
    objective: Objective,
    facts: dict[str, Any],
    evaluator: Evaluator,
    reporter: Reporter,
) -> Proposer:
    if "sensitivity" not in facts:
        with reporter.stage("sensitivity"):
            losses = evaluator.sensitivities(ground.space, reporter)
        facts["sensitivity"] = [[decision, choice, loss] for (decision, choice), loss in losses.items()]
    known = {(decision, choice): float(loss) for decision, choice, loss in facts["sensitivity"]}
    sensitivity = Sensitivity(known, savings(ground.space, ground.latency))
    return Proposer(
        ground.space, ground.latency.network.sites, lambda policy: ground.latency.typical(policy).upper(objective.stat),
        objective.limit_ms, ground.latency.dense_ms, sensitivity, ground.lightest, config.seed,
        None if ground.memory is None or ground.smallest is None else ground.memory.fits, ground.smallest,
    )  # fmt: skip


def _finish(
    store: Store,
    study: str,
    config: SearchConfig,
    facts: dict[str, Any],
    ground: Ground,
    objective: Objective,
    evaluator: Evaluator,
    reporter: Reporter,
) -> None:
    """Train and measure the finalists; where dense itself is an answer, it is one of them."""
    task, binding, floor = evaluator.task, bool(facts["budget_binding"]), floor_of(config, facts)
    full = full_recipe(len(task.data.train), config.epochs, config.lr)
    final = FinalStage(
        store, study, evaluator, full, ground.latency, ground.profile_digest, ground.memory, config.budgets, floor,
        config.latency_stat, reporter,
    )  # fmt: skip
    trials = store.trials(study)
    pick = picker(trials, objective, binding=binding, val_images=len(task.data.val), floor=floor)
    found = final.run(pick, config.finalists)
    dense_fits = ground.memory is None or ground.memory.fits(DENSE)
    if not binding or (not found and config.budgets.latency is None and dense_fits):
        number = next((t.number for t in trials if t.policy is not None and t.policy.is_dense), 0)
        final.finish(number, DENSE)
    # Test images are touched only now that there is something to report.
    if facts["dense"]["test_accuracy"] is None and store.finalists(study):
        score, _ = evaluator.methods.score(task.network.model, task.data.test, "test", device=task.trainer)
        store.set_facts(study, {"dense": {**facts["dense"], "test_accuracy": score}})
