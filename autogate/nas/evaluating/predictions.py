"""Judge what a study has tried by another profile or another latency model; nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping

from autogate.errors import ProfileError
from autogate.goals import Objective
from autogate.latency.model import LatencyModel
from autogate.nas.evaluating.peak_memory import CandidateMemory
from autogate.records import TargetFacts
from autogate.resources import predicted_statistics
from autogate.studies import StudyRun


def rescore_trials(
    run: StudyRun,
    target: TargetFacts,
    latency: LatencyModel,
    objective: Objective,
    memory: CandidateMemory | None,
) -> None:
    """Store a prediction of every policy that a study has tried; accuracies stay as they are.

    A policy with a gate that was not profiled there has no prediction, and is no candidate any more.

    Args:
        run: The study.
        target: The device it is for now, and by which model it is predicted.
        latency: The latency model to judge by.
        objective: What the study is after now.
        memory: Peak memory on the target; None if it is not at hand.
    """
    store, study = run.store, run.name
    found: dict[str, Mapping[str, float]] = {}
    peaks: dict[str, int] = {}
    trials = [trial for trial in store.trials(study) if trial.policy is not None]
    trained = {trial.policy for trial in trials if trial.val_accuracy is not None}
    for policy in {trial.policy for trial in trials}:
        assert policy is not None  # noqa: S101 - looked above
        try:
            estimate = latency.predict(policy, store.realisation(policy))
        except ProfileError:
            continue
        if memory is not None and policy in trained:
            peaks[policy.digest] = memory.peak_bytes(policy)
        found[policy.digest] = predicted_statistics(estimate, objective.stat)
    store.add_predictions(study, target.profile, target.latency_model, found)
    store.set_peak_memory(study, peaks)
