"""One search from start to verdict; a resumed study takes the same way and skips what is done."""

from __future__ import annotations

from typing import Any

from autogate.errors import StudyError
from autogate.policy import DENSE
from autogate.search.config import SearchConfig
from autogate.search.costs import dense_macs, parameter_count
from autogate.search.driver import Driver
from autogate.search.evaluator import Evaluator, ScoreFunction, TrainFunction
from autogate.search.finalists import FinalStage
from autogate.search.objective import Objective
from autogate.search.prepare import Ground, check_feasible, prepare_ground
from autogate.search.proposals import Proposer, Sensitivity, savings
from autogate.search.reporter import Reporter
from autogate.search.task import Task, train_base
from autogate.search.verdict import standard_error
from autogate.search.weights_io import bank_paths, pack, unpack
from autogate.store import Store, TrialRecord
from autogate.surgery import compact_form
from autogate.training import (
    clone,
    full_recipe,
    make_bank,
    recalibrate,
    score,
    shared_recipe,
    short_recipe,
    train_shared,
)


def run_search(
    store: Store,
    study: str,
    config: SearchConfig,
    reporter: Reporter,
    task: Task,
    *,
    trials: int,
    train_fn: TrainFunction | None = None,
    score_fn: ScoreFunction | None = None,
) -> None:
    """Run or continue ``study`` until ``trials`` proposals are done and its finalists are measured.

    Every step is stored when it is finished.

    Args:
        store: The study database; the study is added to it once the budget is known to be reachable.
        study: Name of the study.
        config: Its configuration.
        reporter: Hears of progress.
        task: Network and data.
        trials: Proposals to end complete, rejected or reused, those of earlier runs included.
        train_fn: Trains a network in place, instead of the built-in recipes.
        score_fn: Scores a network, instead of validation accuracy.

    Raises:
        BudgetInfeasibleError: If no policy meets the budget; before any training.
        AutoGateError: If anything else the user asked for cannot be had.
    """
    known = study in store.study_names()
    facts: dict[str, Any] = store.study(study)[1] if known else {"task": task.digest}
    if facts["task"] != task.digest:
        raise StudyError(
            f"network, weights or data of study {study!r} changed since it began; bring them back, or start a new study"
        )
    ground = prepare_ground(config, task.network, task.target, store, facts, reporter)
    for line in ground.unpaying:
        reporter.note(f"left out: {line}")
    objective = Objective.of(config, ground.latency.dense_ms, None)
    check_feasible(objective, ground)
    if not known:
        store.create_study(study, config.to_json())
    facts["foreign"] = ground.foreign
    facts["setting"] = ground.latency.profile.setting.to_json()
    facts["dense_predicted_ms"] = ground.latency.dense_ms
    facts["budget_ms_search"] = objective.limit_ms
    facts["budget_binding"] = _binds(objective, ground)
    store.set_facts(study, facts)
    if not facts["budget_binding"]:
        reporter.note("dense meets this budget already; the fastest policy of equal accuracy is looked for")

    train_base(config, task, store, facts, reporter)
    store.set_facts(study, facts)
    if "dense" not in facts:
        with reporter.stage("score dense"):
            facts["dense"] = _describe_dense(task)
        facts["val_images"] = len(task.data.val)
        facts["preprocessing"] = task.preprocessing.to_json()
        facts["class_names"] = list(task.data.class_names)
    store.set_facts(study, facts)
    objective = Objective.of(config, ground.latency.dense_ms, facts["dense"]["val_accuracy"])
    evaluator = _evaluator(config, task, ground, store, facts, reporter, train_fn, score_fn)
    store.set_facts(study, facts)

    proposer = _proposer(config, ground, objective, facts, evaluator, reporter)
    store.set_facts(study, facts)
    recipe = short_recipe(len(task.data.train), config.lr)
    driver = Driver(store, study, objective, ground.latency, proposer, evaluator, recipe, reporter, config.seed)
    with reporter.stage("search"):
        driver.run(trials, trainings=config.trainings, timeout_s=config.timeout_s)

    full = full_recipe(len(task.data.train), config.epochs, config.lr)
    final = FinalStage(
        store, study, evaluator, full, ground.latency, ground.profile_digest, config.budget,
        objective.floor, config.latency_stat, reporter,
    )  # fmt: skip
    if not ground.foreign:
        candidates = rank_candidates(store.trials(study), objective, bool(facts["budget_binding"]), len(task.data.val))
        final.run(candidates, config.finalists)
        # Test images are touched only now that there is something to report.
        facts["dense"]["test_accuracy"] = score(task.network.model, task.data.test, device=task.trainer)[0]
        store.set_facts(study, facts)


def rank_candidates(
    trials: list[TrialRecord], objective: Objective, binding: bool, val_images: int
) -> list[TrialRecord]:
    """Return the candidates worth finishing, best first.

    Under a budget that dense already meets, accuracy decides only beyond one standard error of the best;
    within it, the fastest comes first.
    """
    complete: dict[str, TrialRecord] = {}
    for trial in trials:
        if trial.val_accuracy is None or trial.policy is None or trial.predicted is None or trial.policy.is_dense:
            continue
        if objective.acceptable(trial.val_accuracy, trial.predicted["upper"]):
            complete.setdefault(trial.policy.digest, trial)

    def rank(trial: TrialRecord) -> tuple[float, float]:
        assert trial.val_accuracy is not None  # noqa: S101 - filtered above
        assert trial.predicted is not None  # noqa: S101
        return objective.rank(trial.val_accuracy, trial.predicted[objective.stat])

    ranked = sorted(complete.values(), key=rank)
    if objective.mode == "budget" and not binding and ranked:
        best = float(ranked[0].val_accuracy or 0.0)
        error = standard_error(best, val_images)
        near = [t for t in ranked if (t.val_accuracy or 0.0) >= best - error]
        near.sort(key=lambda t: (t.predicted or {})[objective.stat])
        ranked = [*near, *(t for t in ranked if t not in near)]
    return ranked


def _binds(objective: Objective, ground: Ground) -> bool:
    return objective.limit_ms is None or ground.latency.dense_ms > objective.limit_ms


def _describe_dense(task: Task) -> dict[str, Any]:
    task.network.model.to(task.trainer)
    val, _ = score(task.network.model, task.data.val, device=task.trainer)
    params = parameter_count(compact_form(task.network, DENSE, {}))
    return {"val_accuracy": val, "test_accuracy": None, "macs": dense_macs(task.network), "params": params}


def _evaluator(
    config: SearchConfig,
    task: Task,
    ground: Ground,
    store: Store,
    facts: dict[str, Any],
    reporter: Reporter,
    train_fn: TrainFunction | None,
    score_fn: ScoreFunction | None,
) -> Evaluator:
    """Train the shared weights, or load those of an earlier run, and return what judges candidates."""
    shared, _ = clone(task.network, {})
    bank = make_bank(shared, ground.space, config.seed)
    if "shared_artifact" in facts:
        unpack(store.artifact(facts["shared_artifact"]), shared.model, bank_paths(bank))
        for gate in bank.values():
            gate.to(task.trainer)
    else:
        recipe = shared_recipe(len(task.data.train), config.lr)
        with reporter.stage("train shared weights"):
            train_shared(
                shared, ground.space, bank, task.data.train, recipe, lightest=ground.lightest, seed=config.seed,
                device=task.trainer, progress=reporter.progress,
            )  # fmt: skip
            recalibrate(shared.model, task.data.train, seed=config.seed, device=task.trainer)
        facts["shared_artifact"] = store.add_artifact("shared", pack(shared.model, bank_paths(bank)))
    return Evaluator(task, facts["task"], shared, bank, facts["shared_artifact"], config.seed, train_fn, score_fn)


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
        objective.limit_ms, ground.latency.dense_ms, sensitivity, config.seed,
    )  # fmt: skip
