"""In which element type a study trains: decided once, and kept with it, since accuracies depend on it."""

from __future__ import annotations

from dataclasses import replace

from autogate.goals import SearchConfig
from autogate.nas.evaluating.task import Task
from autogate.records import TrainDtype
from autogate.resources import dense_macs
from autogate.studies import Reporter, StudyRun
from autogate.surgery import training_form
from autogate.training import (
    TrainingBackend,
    base_recipe,
    bfloat16_time_ratio,
    full_recipe,
    shared_recipe,
    short_recipe,
)

# Steps in bfloat16 must take less than this share of the time in float32.
_WORTH_IT = 0.85
# MACs of a training that is over before the comparison has paid.
_SHORT_MACS = 2e12
# A forward and a backward pass, in forward passes.
_STEP_PASSES = 3
# Policies that a step of the shared training runs.
_SHARED_PASSES = 3


def settle_train_dtype(run: StudyRun, task: Task, backend: TrainingBackend) -> None:
    """Decide in which element type the study trains, and store it; what an earlier run decided stays.

    Args:
        run: The study.
        task: Network, data and the device that trains.
        backend: How to train; a caller's own function decides itself.
    """
    if run.facts.train_dtype is not None:
        return
    began = run.facts.dense is not None or run.facts.dense_artifact is not None
    if began or backend.train_fn is not None:
        chosen: TrainDtype = "float32"
    else:
        chosen = choose_train_dtype(run.config, task, planned_images(run.config, len(task.data.train)), run.reporter)
    run.update(lambda facts: replace(facts, train_dtype=chosen))


def choose_train_dtype(config: SearchConfig, task: Task, images: int, reporter: Reporter) -> TrainDtype:
    """Return the element type that was asked for; else bfloat16 if a step is clearly faster in it, else float32.

    Args:
        config: The search's configuration.
        task: Network, data and the device that trains.
        images: Images that are to be trained on, repetitions counted.
        reporter: Is told what was found.
    """
    if config.train_dtype != "auto":
        return config.train_dtype
    if _STEP_PASSES * dense_macs(task.network) * images < _SHORT_MACS:
        return "float32"
    batch_size = short_recipe(len(task.data.train), None).batch_size
    form, shape = training_form(task.network, {}), task.preprocessing.input_shape
    ratio = bfloat16_time_ratio(form, shape, batch_size, task.trainer)
    chosen: TrainDtype = "bfloat16" if ratio < _WORTH_IT else "float32"
    reporter.info(f"training in {chosen}: a step in bfloat16 takes {ratio:.2f} of its time in float32")
    return chosen


def planned_images(config: SearchConfig, train_images: int) -> int:
    """Return about how many images a search trains on, repetitions counted."""
    base = base_recipe(train_images, None, None).images if config.weights is None else 0
    candidates = min(config.trials, config.trainings or config.trials)
    return (
        base
        + _SHARED_PASSES * shared_recipe(train_images, None).images
        + candidates * short_recipe(train_images, None, config.trial_epochs).images
        + config.finalists * full_recipe(train_images, config.epochs, None).images
    )
