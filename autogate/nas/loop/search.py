"""One search from start to verdict; a resumed study takes the same way and skips what is done."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from autogate.errors import StudyError
from autogate.goals import Objective, SearchConfig, binds
from autogate.latency.model import VERSION as LATENCY_MODEL
from autogate.nas.evaluating import (
    Task,
    TrainingEvaluator,
    has_weights_in,
    make_evaluator,
    rescore_trials,
    train_base,
    train_shared_weights,
)
from autogate.nas.executors import Executor, check_executor, make_executor, wait_for_evaluation
from autogate.nas.loop.candidate_measurement import CandidateMeasurer
from autogate.nas.loop.driver import SHORT, Driver, Limits
from autogate.nas.loop.finalists import FinalStage
from autogate.nas.loop.prepare import Ground, check_feasible, prepare_ground
from autogate.nas.profiles import searched_space
from autogate.nas.proposing import OptunaTrials, Proposer, Sampler, Sensitivity, picker, savings
from autogate.policy import DENSE
from autogate.resources import dense_macs, parameter_count
from autogate.store import Store
from autogate.studies import Reporter, floor_of
from autogate.surgery import compact_form
from autogate.system import code_version
from autogate.training import TrainingBackend
from autogate.units import parse_drop

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def run_search(
    store: Store,
    study: str,
    config: SearchConfig,
    reporter: Reporter,
    task: Task,
    methods: TrainingBackend,
    *,
    trials: int,
    sampler: BaseSampler | None = None,
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
        sampler: A sampler to ask instead of the built-in one that the configuration names.

    Raises:
        BudgetInfeasibleError: If no policy meets the budget; before any training.
        AutoGateError: If anything else the user asked for cannot be had.
    """
    check_executor(config, task.trainer, methods)
    facts, ground, objective = _begin(store, study, config, reporter, task, methods)
    train_base(config, task, methods, store, study, facts, reporter)
    store.set_facts(study, facts)
    if "dense" not in facts:
        with reporter.stage("score dense"):
            facts["dense"] = _describe_dense(task, methods, ground)
        store.set_facts(study, facts)
    content = train_shared_weights(config, task, methods, ground.space, ground.fastest, store, study, facts, reporter)
    ground.space = ground.space.restricted(has_weights_in(content))
    evaluator = make_evaluator(config, task, methods, ground.space, content, facts["shared_artifact"], facts["task"])
    with make_executor(config, store, study, evaluator, task.trainer, reporter) as executor:
        if (floor := floor_of(config, facts)) is not None:
            facts["short_floor"] = _short_floor(config, floor, evaluator, store, study, executor, reporter)
            objective = replace(objective, floor=facts["short_floor"])
        proposer = _proposer(config, ground, objective, facts, evaluator, reporter)
        store.set_facts(study, facts)
        _search(
            store,
            study,
            config,
            ground,
            objective,
            proposer,
            evaluator,
            executor,
            Limits(trials, config.trainings, config.timeout_s),
            reporter,
            sampler,
        )
        _finish(store, study, config, facts, ground, objective, evaluator, executor, reporter)
    store.set_facts(study, {"ended": True})


def _begin(
    store: Store, study: str, config: SearchConfig, reporter: Reporter, task: Task, methods: TrainingBackend
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
    before = facts.get("profile"), facts.get("latency_model")
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
        "ended": False,
        "latency_model": LATENCY_MODEL,
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
        if before != (facts["profile"], LATENCY_MODEL):
            with reporter.stage("predict anew"):
                rescore_trials(store, study, ground.latency, objective, memory, facts)
        store.set_facts(study, facts)
    else:
        store.create_study(study, config.to_json(), facts, code_version=code_version())
        store.claim(study)
        reporter.begin(study, store.command("resume", study))
    return facts, ground, objective


def _describe_dense(task: Task, methods: TrainingBackend, ground: Ground) -> dict[str, Any]:
    task.network.model.to(task.trainer)
    val, _ = methods.score(task.network.model, task.data.val, "val", device=task.trainer)
    params = parameter_count(compact_form(task.network, DENSE, {}))
    return {
        "val_accuracy": val,
        "test_accuracy": None,
        "macs": dense_macs(task.network),
        "params": params,
        "peak_memory_bytes": None if ground.memory is None else ground.memory.dense_bytes,
    }


def _short_floor(
    config: SearchConfig,
    floor: float,
    evaluator: TrainingEvaluator,
    store: Store,
    study: str,
    executor: Executor,
    reporter: Reporter,
) -> float:
    """Return the lowest accuracy worth having after short training: that of dense, as briefly trained, less the drop.

    Short training leaves every candidate below what it can reach, dense too; so dense is what to compare with.
    """
    assert config.max_drop is not None  # noqa: S101 - there is a floor
    with reporter.stage("score dense"):
        known = wait_for_evaluation(store, evaluator, study, 0, DENSE, SHORT, executor)
    return min(floor, known.val_accuracy - parse_drop(config.max_drop))


def _proposer(
    config: SearchConfig,
    ground: Ground,
    objective: Objective,
    facts: dict[str, Any],
    evaluator: TrainingEvaluator,
    reporter: Reporter,
) -> Proposer:
    saved = savings(ground.space, ground.latency)
    known = {(decision, choice): float(loss) for decision, choice, loss in facts.get("sensitivity", [])}
    if not saved.keys() <= known.keys():  # there are more on another device
        with reporter.stage("sensitivity"):
            known |= evaluator.sensitivities(ground.space, reporter)
        facts["sensitivity"] = [[decision, choice, loss] for (decision, choice), loss in known.items()]
    return Proposer(
        ground.space,
        ground.latency.network.sites,
        lambda policy: ground.latency.expected(policy).upper(objective.stat),
        objective.limit_ms,
        ground.latency.dense_ms,
        Sensitivity({key: known[key] for key in saved}, saved),
        ground.fastest,
        config.seed,
        None if ground.memory is None or ground.smallest is None else ground.memory.fits,
        ground.smallest,
    )


def _search(
    store: Store,
    study: str,
    config: SearchConfig,
    ground: Ground,
    objective: Objective,
    proposer: Proposer,
    evaluator: TrainingEvaluator,
    executor: Executor,
    limits: Limits,
    reporter: Reporter,
    custom: BaseSampler | None,
) -> None:
    # Whatever pays on any device that the study may be continued for.
    declared = searched_space(config, ground.latency.network).all_choices()
    log = OptunaTrials(store, study, objective.directions, declared)
    sampler = Sampler(
        config.sampler,
        config.seed,
        objective.directions,
        log.within(ground.space.all_choices()),
        parallel=config.has_team,
        custom=custom,
    )
    feedback = None if ground.foreign else CandidateMeasurer(store, study, ground.latency, objective, reporter)
    with reporter.stage("search"):
        driver = Driver(
            store,
            study,
            objective,
            ground.latency,
            proposer,
            evaluator,
            log,
            sampler,
            reporter,
            config.seed,
            limits,
            feedback,
            ground.memory,
        )
        executor.run(driver)
        driver.give_up()


def _finish(
    store: Store,
    study: str,
    config: SearchConfig,
    facts: dict[str, Any],
    ground: Ground,
    objective: Objective,
    evaluator: TrainingEvaluator,
    executor: Executor,
    reporter: Reporter,
) -> None:
    """Train and measure the finalists; where dense itself is an answer, it is one of them."""
    task, binding, floor = evaluator.task, bool(facts["budget_binding"]), floor_of(config, facts)
    final = FinalStage(
        store,
        study,
        evaluator,
        executor,
        ground.latency,
        ground.profile_digest,
        ground.memory,
        config.budgets,
        floor,
        config.latency_stat,
        reporter,
    )
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
