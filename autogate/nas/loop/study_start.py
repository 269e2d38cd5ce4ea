"""Start a study, or continue one, with what the caller named or brings along."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from autogate.errors import AutoGateError, StudyError, StudyRunningError
from autogate.goals import AUTO, BUDGETS, TARGET, SearchConfig
from autogate.nas.evaluating import CallerInputs, Task
from autogate.records import RuntimeTime, StudyFacts
from autogate.space import AUTO_STEP
from autogate.store import Store, check_place, holds_studies
from autogate.store.transfer import delete_if_empty
from autogate.studies import Reporter, StudyRun
from autogate.system import code_version, usable_cores

if TYPE_CHECKING:
    import torch

    from autogate.space.bound import BoundSpace
    from autogate.training import TrainingBackend


class Rehearsal(Protocol):
    """Takes a network through all that a search will do."""

    def __call__(
        self, task: Task, space: BoundSpace, backend: TrainingBackend, reporter: Reporter, batch_size: int
    ) -> None:
        """Raise an error if anything fails."""


def start(
    url: str,
    name: str | None,
    config: SearchConfig,
    reporter: Reporter,
    own: CallerInputs,
    *,
    artifacts: str | None = None,
    judged_anew: bool = False,
    rehearse: Rehearsal | None = None,
) -> str:
    """Run a search to its end and return the study's name; without one, a fresh name is made.

    The database is made only once everything the user named was found.

    Args:
        url: SQLAlchemy URL of the database.
        name: Name of the study, new or known; None for a fresh one.
        config: Its configuration.
        reporter: Receives progress.
        own: What the caller brings instead of naming it.
        artifacts: URL for the weights of the database; None for the usual place.
        judged_anew: Whether a known study may get other budgets, or another target.
        rehearse: Tries out the network of a new study, before anything is written or measured.

    Raises:
        BudgetInfeasibleError: If no policy meets the budget; before any training.
        AutoGateError: If anything asked for is unknown, damaged or does not fit.
    """
    from autogate.latency.hardware import resolve_device
    from autogate.nas.evaluating import load_task
    from autogate.nas.loop.search import run_search
    from autogate.nas.profiles import (
        at_step_there,
        check_resources,
        check_setting,
        named_profile,
        searched_space,
        settled_runtime,
        settled_space,
    )
    from autogate.nas.proposing import load_sampler
    from autogate.training import TrainingBackend, TrainingThreads

    check_place(url)
    there = Store(url) if holds_studies(url) else None
    known = there if there is not None and name in there.study_names() else None
    new_goal = judged_anew and known is not None and name is not None and _is_judged_otherwise(known, name, config)
    if known is None or new_goal:
        check_resources(config, resolve_device(config.device))
    task = load_task(config, reporter, own.model, own.data, own_task=own.own_task)
    drawn = 0 if known is None or name is None else known.count_trials(name)["total"]
    sampler = own.sampler or load_sampler(config.sampler, config.seed, drawn)
    runtimes: tuple[RuntimeTime, ...] = ()
    if config.space.get("align") == AUTO_STEP and known is not None and name is not None:
        config = config.model_copy(update={"space": at_step_there(config.space, known.study(name).config.space)})
    if config.runtime == AUTO and known is not None and name is not None:
        config = config.model_copy(update={"runtime": known.study(name).config.runtime})
    else:
        config, runtimes = settled_runtime(config, task.network, task.target, reporter)
    check_setting(config, task.network, task.target)
    config = settled_space(config, task.target, reporter, there)
    if config.profile is not None and (known is None or new_goal):
        named_profile(config, task.network)
    with _no_empty_study_left() as begun, ExitStack() as stack:
        threads = stack.enter_context(TrainingThreads(config.train_threads))
        backend = TrainingBackend(own.train_fn, own.score_fn, output=config.score_output, threads=threads)
        if known is None and rehearse is not None:
            with reporter.stage("try out"):
                rehearse(task, searched_space(config, task.network), backend, reporter, config.batch_size)
        if known is None:
            config = _beside_other_work(config, task.target, reporter)
        store = Store(url, create=True)
        if artifacts is not None:
            store.place_artifacts(artifacts)
        given, name = name, reserve(store, name, config, stack, task.digest)
        run = StudyRun(store, name, config, reporter)
        if run.is_stored and given is None:
            reporter.note(
                f"study {name}, the same as this one, was interrupted before its first trial; going on with it"
            )
        if run.is_stored:
            _continue(run, (*BUDGETS, *TARGET) if judged_anew else ())
        else:
            begun.append(run)
            run.update(lambda facts: replace(facts, runtimes=runtimes))
        before = dict(run.facts.stage_seconds or {})
        try:
            run_search(run, task, replace(backend, scope=name), sampler)
        finally:
            if run.is_stored:
                spent = {stage: before.get(stage, 0.0) + seconds for stage, seconds in reporter.seconds.items()}
                run.update(lambda facts: replace(facts, stage_seconds={**before, **spent}))
    return name


def _beside_other_work(config: SearchConfig, target: torch.device, reporter: Reporter) -> SearchConfig:
    """Return the configuration with a thread for each core that is free, where other work keeps some busy all the time.

    What nobody asked for cannot be missed: with a thread on a busy core, networks cannot be measured at all.
    """
    from autogate.latency.hardware import steadily_busy_cores

    if config.threads is not None or config.profile is not None or target.type != "cpu":
        return config
    cores = usable_cores()
    free = max(1, cores - steadily_busy_cores()) if cores > 1 else cores
    if free == cores:
        return config
    reporter.note(
        f"other work keeps {cores - free} of {cores} cores busy, so networks are measured with {free} "
        f"thread{'' if free == 1 else 's'}; for all cores, stop it and search again, or wait with --threads {cores}"
    )
    return config.model_copy(update={"threads": free})


@contextmanager
def _no_empty_study_left() -> Iterator[list[StudyRun]]:
    """Yield a list for a study that begins; if it fails before anything was finished, it is removed again."""
    begun: list[StudyRun] = []
    try:
        yield begun
    except Exception:
        for run in begun:
            if run.is_stored:
                with suppress(AutoGateError):  # what made it fail is what matters
                    delete_if_empty(run.store, run.name)
        raise


def _continue(run: StudyRun, changeable: Iterable[str]) -> None:
    """Become the driver of a stored study, under the configuration that is asked for now.

    What is known of its device is forgotten if another one is asked for.

    Raises:
        StudyError: If another setting changed than a run of it may.
    """
    store, name = run.store, run.name
    check_same_config(store, name, run.config, changeable)
    store.claim(name)
    run.reporter.begin(name, store.command("resume", name))
    changed = run.config.changed(store.study(name).config)
    same_target = set(TARGET).isdisjoint(changed)
    run.reconfigure(code_version(), None if same_target else _without_target)


def _without_target(facts: StudyFacts) -> StudyFacts:
    return replace(facts, target=None, measured_candidates=())


def _is_judged_otherwise(store: Store, name: str, config: SearchConfig) -> bool:
    changed = config.changed(store.study(name).config)
    return not {*BUDGETS, *TARGET}.isdisjoint(changed)


def check_same_config(store: Store, name: str, config: SearchConfig, but: Iterable[str] = ()) -> None:
    """Refuse a study of this name that was made with another configuration, ``but`` for these settings.

    Raises:
        StudyError: If there is one; names what differs, and what to do.
    """
    if name not in store.study_names():
        return
    if different := config.differences(store.study(name).config, but):
        raise StudyError(
            f"study {name!r} exists with another configuration: {'; '.join(different)}; choose another --study, or "
            f"continue it with `{store.command('resume', name)}`"
        )


def reserve(
    store: Store, name: str | None, config: SearchConfig, stack: ExitStack, task_digest: str | None = None
) -> str:
    """Become the only driver of a study, until the stack is left, and return its name.

    Args:
        store: The study database.
        name: Name of the study; None for a fresh one, or for one that was killed before its first trial.
        config: What is asked for.
        stack: Holds the lock.
        task_digest: Identity of network and data.
    """
    if name is not None:
        stack.enter_context(store.running(name))
        return name
    stem = f"{config.model.split(':')[-1].lower()}-{Path(config.data).name}"
    for number in itertools.count(1):
        fresh = f"{stem}-{number}"
        with suppress(StudyRunningError), ExitStack() as attempt:
            attempt.enter_context(store.running(fresh))
            if fresh not in store.study_names() or _is_killed_early(store, fresh, config, task_digest):
                stack.enter_context(attempt.pop_all())
                return fresh
    raise AssertionError("numbers do not end")


def _is_killed_early(store: Store, name: str, config: SearchConfig, task_digest: str | None) -> bool:
    """Whether a study that nobody runs has no trial yet, and is the one that is asked for now."""
    record = store.study(name)
    task = record.facts.task
    if task is None or task.digest != task_digest or len(task.training_functions) > 1 or record.facts.ended:
        return False
    if record.config.changed(config) or store.count_trials(name)["total"]:
        return False
    try:
        store.check_host(name)
    except StudyError:
        return False
    return True
