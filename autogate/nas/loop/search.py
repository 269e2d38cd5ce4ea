"""One search from start to verdict; a resumed study takes the same way and skips what is done."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from autogate.errors import StudyError
from autogate.nas.evaluating import (
    Evaluator,
    Task,
    TrainingEvaluator,
    about_given_weights,
    has_weights_in,
    make_evaluator,
    settle_train_dtype,
    train_base,
    train_shared_weights,
)
from autogate.nas.executors import Executor, check_executor, make_executor, wait_for_evaluation
from autogate.nas.loop.candidate_measurement import CandidateMeasurer
from autogate.nas.loop.context import SearchContext, begin_search, prepare_search
from autogate.nas.loop.driver import SHORT, Driver, Limits
from autogate.nas.loop.finalists import FinalStage
from autogate.nas.profiles import searched_space
from autogate.nas.proposing import OptunaTrials, ProposalLimits, Proposer, Sampler, Sensitivity, picker, savings
from autogate.policy import DENSE
from autogate.records import ChoiceLoss, DenseFacts, TaskFacts
from autogate.resources import dense_macs, parameter_count
from autogate.studies import StudyRun, floor_of
from autogate.surgery import compact_form
from autogate.system import code_version
from autogate.training import TrainingBackend, TrainingThreads

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def run_search(run: StudyRun, task: Task, backend: TrainingBackend, sampler: BaseSampler | None = None) -> None:
    """Run or continue a study until its proposals are done and its finalists are measured.

    Every step is stored when it is finished.

    Args:
        run: The study; it is added to the database once the budget is known to be reachable.
        task: Network and data.
        backend: How to train and score.
        sampler: A sampler to ask instead of the built-in one that the configuration names.

    Raises:
        BudgetInfeasibleError: If no policy meets the budget; before any training.
        AutoGateError: If anything else the user asked for cannot be had.
    """
    config, store = run.config, run.store
    check_executor(config, task.trainer, backend)
    _check_task(run, task, backend)
    context = prepare_search(run, task.network, task.target)
    begin_search(context)
    if not run.is_stored:
        run.create(code_version())
    settle_train_dtype(run, task, backend)
    train_base(run, task, backend)
    if run.facts.dense is None:
        with run.reporter.stage("score dense"):
            dense = _describe_dense(context, task, backend)
        run.update(lambda facts: replace(facts, dense=dense))
        if backend.score_fn is None:
            for note in about_given_weights(config, task.data, dense.val_accuracy):
                run.reporter.note(note)
    content = train_shared_weights(run, task, backend, context.space, context.fastest)
    context = replace(context, space=context.space.restricted(has_weights_in(content)))
    evaluator = make_evaluator(config, run.facts, task, backend, context.space, content)
    threads = backend.threads or TrainingThreads(config.train_threads)
    with make_executor(config, store, run.name, evaluator, task.trainer, run.reporter, threads) as executor:
        if (floor := floor_of(config, run.facts)) is not None:
            short_floor = _short_floor(run, floor, evaluator, executor)
            run.update(lambda facts: replace(facts, short_floor=short_floor))
            context = replace(context, objective=replace(context.objective, floor=short_floor))
        sensitivity = _sensitivity(context, evaluator)
        measurer = None if context.target.foreign else CandidateMeasurer(run, context.latency, context.objective)
        with run.reporter.stage("search"):
            limits = Limits(config.trials, config.trainings, config.timeout_s)
            driver = make_driver(context, evaluator, sensitivity, limits, measurer, sampler)
            _drive(driver, executor)
        _finish(context, evaluator, executor)
    store.end_checkpoints(run.name)
    run.update(lambda facts: replace(facts, ended=True))


def _check_task(run: StudyRun, task: Task, backend: TrainingBackend) -> None:
    """Store what the study is about, or check that it is still that.

    Raises:
        StudyError: If network, weights, data or the caller's functions are others than the study began with.
    """
    here = TaskFacts(
        task.digest, tuple(backend.names), len(task.data.val), task.preprocessing, tuple(task.data.class_names)
    )
    there = run.facts.task
    if there is not None and there.training_functions != here.training_functions:
        brought = ", ".join(there.training_functions[1:]) or "the built-in training and score"
        raise StudyError(
            f"study {run.name!r} was started with {brought}; continue it from Python with the same functions"
        )
    if there is not None and there.digest != here.digest:
        raise StudyError(
            f"network, weights or data of study {run.name!r} changed since it began; bring them back, or start a new "
            "study"
        )
    run.update(lambda facts: replace(facts, task=here))


def _describe_dense(context: SearchContext, task: Task, backend: TrainingBackend) -> DenseFacts:
    task.network.model.to(task.trainer)
    accuracy, _ = backend.score(task.network.model, task.data.val, "val", device=task.trainer)
    return DenseFacts(
        val_accuracy=accuracy,
        macs=dense_macs(task.network),
        params=parameter_count(compact_form(task.network, DENSE, {})),
        peak_memory_bytes=None if context.memory is None else context.memory.dense_bytes,
    )


def _short_floor(run: StudyRun, floor: float, evaluator: TrainingEvaluator, executor: Executor) -> float:
    """Return the lowest accuracy worth having after short training: that of dense, as briefly trained, less the drop.

    Short training leaves every candidate below what it can reach, dense too; so dense is what to compare with.
    """
    with run.reporter.stage("score dense"):
        known = wait_for_evaluation(run.store, evaluator, run.name, 0, DENSE, SHORT, executor)
    short_floor = run.config.goal.floor(known.val_accuracy)
    assert short_floor is not None  # noqa: S101 - there is a largest drop, since there is a floor
    return min(floor, short_floor)


def _sensitivity(context: SearchContext, evaluator: TrainingEvaluator) -> Sensitivity:
    """Return cost and saving of each choice alone; what an earlier run measured is not measured again."""
    run = context.run
    saved = savings(context.space, context.latency)
    known = {(one.decision, one.choice): one.loss_increase for one in run.facts.sensitivity}
    if not saved.keys() <= known.keys():  # there are more on another device
        with run.reporter.stage("sensitivity"):
            known |= evaluator.sensitivities(context.space, run.reporter)
        losses = tuple(ChoiceLoss(decision, choice, loss) for (decision, choice), loss in known.items())
        run.update(lambda facts: replace(facts, sensitivity=losses))
    return Sensitivity({key: known[key] for key in saved}, saved)


def _drive(driver: Driver, executor: Executor) -> None:
    executor.run(driver)
    driver.give_up()


def _finish(context: SearchContext, evaluator: TrainingEvaluator, executor: Executor) -> None:
    """Train and measure the finalists; where dense itself is an answer, it is one of them."""
    run, task, binding = context.run, evaluator.task, context.target.budget_binding
    store, floor = run.store, floor_of(run.config, run.facts)
    final = FinalStage(context, evaluator, executor, floor)
    trials = store.trials(run.name)
    pick = picker(trials, context.objective, binding=binding, val_images=len(task.data.val), floor=floor)
    found = final.run(pick, run.config.finalists)
    dense_fits = context.memory is None or context.memory.fits(DENSE)
    if not binding or (not found and run.config.budgets.latency is None and dense_fits):
        number = next((t.number for t in trials if t.policy is not None and t.policy.is_dense), 0)
        final.finish(number, DENSE)
    final.judge_again()
    # Test images are touched only now that there is something to report.
    dense = run.facts.dense
    if dense is not None and dense.test_accuracy is None and store.finalists(run.name):
        score, _ = evaluator.backend.score(task.network.model, task.data.test, "test", device=task.trainer)
        run.update(lambda facts: replace(facts, dense=replace(dense, test_accuracy=score)))


def make_driver(
    context: SearchContext,
    evaluator: Evaluator,
    sensitivity: Sensitivity,
    limits: Limits,
    measurer: CandidateMeasurer | None = None,
    sampler: BaseSampler | None = None,
) -> Driver:
    """Return what drives a study: its proposer, its sampler and its Optuna trials, wired to each other.

    Args:
        context: What the search works with.
        evaluator: Knows under which key a candidate is evaluated.
        sensitivity: Cost and saving of each choice of the context's space alone.
        limits: When to stop.
        measurer: Measures candidates that the latency model is not sure about; None if the target is not at hand.
        sampler: A sampler to ask instead of the built-in one that the configuration names.
    """
    config, latency, objective, memory = context.run.config, context.latency, context.objective, context.memory
    keep_within = ProposalLimits(
        lambda policy: latency.expected(policy).upper(objective.stat),
        objective.limit_ms,
        latency.dense_ms,
        context.fastest,
        None if memory is None or context.smallest is None else memory.fits,
        context.smallest,
    )
    proposer = Proposer(context.space, latency.network.sites, keep_within, sensitivity, config.seed)
    # All choices that may pay on some device, since the study can continue for another one.
    declared = searched_space(config, latency.network).all_choices()
    log = OptunaTrials(context.run.store, context.run.name, objective.directions, declared)
    choices = log.within(context.space.all_choices())
    asked = Sampler(
        config.sampler, config.seed, objective.directions, choices, parallel=config.has_team, custom=sampler
    )
    return Driver(context, proposer, evaluator, log, asked, limits, measurer)
