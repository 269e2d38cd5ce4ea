"""Recorded studies, searched again."""

from __future__ import annotations

import shlex

from autogate.api.progress import default_reporter
from autogate.api.study import open_store
from autogate.api.study_results import ReplayResult
from autogate.store import check_name
from autogate.studies import Reporter


def replay(
    study: str,
    *,
    name: str,
    trials: int | None = None,
    sampler: str | None = None,
    seed: int | None = None,
    workers: int | None = None,
    delay_s: float = 0.0,
    storage: str | None = None,
    reporter: Reporter | None = None,
    progress: bool = False,
) -> ReplayResult:
    """Search a recorded study's space again and train nothing; return what was reached, and the time it took.

    Its evaluations answer in the place of trainings: to compare samplers and seeds, or to see what a team can do.
    Everything is stored as a study of its own; one of that name is continued.

    Args:
        study: Name of the recorded study.
        name: Name of the replay.
        trials: Proposals; None for as many as the recorded study had.
        sampler: ``tpe``, ``random``, ``gp``, ``nsgaii`` or ``package.module:factory``; None for the recorded one.
        seed: Seed of the proposals; None for the recorded one.
        workers: Processes that answer; None for this one.
        delay_s: Seconds that each evaluation is made to take, as if it were a training.
        storage: SQLAlchemy URL of the database.
        reporter: Receives progress; None logs it to the logger ``autogate``.
        progress: Whether to draw bars instead, or where nobody watches to write lines to standard error.

    Raises:
        StudyError: If there is no such study, or it has nothing to replay.
    """
    from autogate.analysis import add_replay, run_replay

    store, reporter = open_store(storage), default_reporter(reporter, progress=progress)
    check_name(name)
    store.study(study)
    with store.running(name):
        if name not in store.study_names():
            asked = {"trials": trials, "sampler": sampler, "seed": seed}
            changes = {key: value for key, value in asked.items() if value is not None}
            add_replay(
                store,
                study,
                name,
                workers=workers,
                backend="local",
                replay_s=delay_s,
                timeout_s=None,
                trainings=None,
                **changes,
            )
        config = store.study(name).config
        if trials is not None and trials != config.trials:
            config = config.model_copy(update={"trials": trials})
            store.set_config(name, config)
        store.claim(name)
        reporter.begin(name, f"{store.command('replay', study)} --name {shlex.quote(name)}")
        times = run_replay(store, name, config, reporter)
    fronts = store.fronts(name)
    return ReplayResult(
        {
            "schema": "autogate.replay/1",
            "study": name,
            "of": study,
            "sampler": config.sampler,
            "seed": config.seed,
            "trials": store.count_trials(name),
            "best_trial": fronts[-1].best_trial if fronts else None,
            "best_val_accuracy": fronts[-1].best_val_accuracy if fronts else None,
            "hypervolume": fronts[-1].hypervolume if fronts else 0.0,
            **times,
        }
    )
