"""What is said of studies as a whole: in a list, alone, over time, and while they run; from the database alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from autogate.goals import SearchConfig
from autogate.store import Store
from autogate.studies.documents import device_name, latency_label


def history_document(store: Store, study: str) -> dict[str, Any]:
    """Return what a study had reached after each of its trials, by prediction and short training.

    Args:
        store: The study database.
        study: Name of the study.

    Raises:
        StudyError: If there is no such study.
    """
    record = store.study(study)
    return {
        "schema": "autogate.history/1",
        "study": study,
        "label": "predicted",
        "goal": goal_of(record.config),
        "device": device_name(record.facts),
        "batch_size": record.config.batch_size,
        "points": [{**asdict(front), "front": list(front.front)} for front in store.fronts(study)],
    }


def goal_of(config: SearchConfig) -> str:
    """Return in a few words what a study is after."""
    goals = [config.latency_budget or (f"max drop {config.max_drop}" if config.max_drop else "pareto")]
    further = {"memory": config.memory_budget, "energy": config.energy_budget}
    return ", ".join([*goals, *(f"{what} {budget}" for what, budget in further.items() if budget is not None)])


def study_line(store: Store, study: str) -> dict[str, Any]:
    """Return what a list says of a study."""
    config = store.study(study).config
    counts = store.count_trials(study)
    return {
        "study": study,
        "model": config.model,
        "data": config.data,
        "goal": goal_of(config),
        "batch_size": config.batch_size,
        "trials": counts["total"],
        "trained": counts["complete"],
        "wanted": config.trials,
        "finalists": len(store.finalists(study)),
    }


def describe_document(store: Store, study: str) -> dict[str, Any]:
    """Return what is kept of a study: when, where and by which code it ran, its configuration, and its size.

    Args:
        store: The study database.
        study: Name of the study.

    Raises:
        StudyError: If there is no such study.
    """
    record = store.study(study)
    facts = record.facts
    fronts, sizes = store.fronts(study), store.artifacts()
    weights = facts.artifacts | {finalist.artifact for finalist in store.finalists(study)}
    return {
        "schema": "autogate.study-overview/1",
        **study_line(store, study),
        "storage": store.shown_url,
        **store.origin(study),
        "device": device_name(facts),
        "label": latency_label(facts),
        "outcomes": store.count_trials(study),
        "front": len(fronts[-1].front) if fronts else 0,
        "hypervolume": fronts[-1].hypervolume if fronts else None,
        "seconds": dict(facts.stage_seconds or {}),
        "weights_bytes": sum(sizes.get(str(sha256), 0) for sha256 in weights),
        "config": record.config.to_json(),
    }


def watch_document(store: Store, study: str, latest: int) -> dict[str, Any]:
    """Return how far a study is, and its ``latest`` trials, newest first.

    It is finished when its last run came to an end, rather than being interrupted.

    Raises:
        StudyError: If there is no such study.
    """
    line, fronts, trials = study_line(store, study), store.fronts(study), store.trials(study)
    facts = store.study(study).facts
    reached = fronts[-1] if fronts else None
    best = (
        None
        if reached is None or reached.best_trial is None
        else {
            "trial": reached.best_trial,
            "val_accuracy": reached.best_val_accuracy,
        }
    )
    return {
        "schema": "autogate.watch/1",
        **line,
        "host": store.origin(study)["host"],
        "device": device_name(facts),
        "outcomes": store.count_trials(study),
        "finished": line["trials"] >= line["wanted"] and line["finalists"] > 0 if facts.ended is None else facts.ended,
        "best": best,
        "workers": [
            {key: value for key, value in vars(worker).items() if key != "id"} for worker in store.workers(study)
        ],
        "hypervolumes": [front.hypervolume for front in fronts],
        "latest": [
            {
                "trial": trial.number,
                "outcome": trial.outcome,
                "val_accuracy": trial.val_accuracy,
                "predicted_p50_ms": (trial.predicted or {}).get("p50"),
                "seconds": trial.seconds,
            }
            for trial in reversed(trials[-latest:])
        ],
    }
