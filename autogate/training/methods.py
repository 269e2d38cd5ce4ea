"""How networks are trained and scored: the built-in way, or by the caller's functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from autogate.data import Split
from autogate.device_lock import training_step
from autogate.errors import AutoGateError, TrainingError
from autogate.records import Realisation
from autogate.system import one_line
from autogate.training.loop import Progress, TrainingCallback, gates_of, score, trace_decisions, train
from autogate.training.recipe import Recipe
from autogate.training.state import Checkpointer
from autogate.training.threads import TrainingThreads

Fidelity = Literal["base", "short", "full"]
"""How thoroughly to train: the dense network from random weights, a candidate, or a finalist."""
Part = Literal["val", "test"]
TrainFunction = Callable[[nn.Module, Fidelity], None]
ScoreFunction = Callable[[nn.Module, Part], float]


@dataclass(frozen=True)
class TrainingBackend:
    """Training and scoring.

    Attributes:
        train_fn: Trains a network in place, instead of the built-in recipes; called with network and fidelity.
        score_fn: Scores a network, higher is better, instead of its accuracy; called with network and part.
        scope: Where equal names of functions mean equal functions: the study.
        output: Place of the scores of the classes among what the network returns, as in :func:`class_scores`.
        threads: Sets the number of CPU threads of each step; None for torch's own.
    """

    train_fn: TrainFunction | None = None
    score_fn: ScoreFunction | None = None
    scope: str = ""
    output: str | None = None
    threads: TrainingThreads | None = None

    @property
    def names(self) -> list[str]:
        """Names of the caller's functions, if there are any: part of what an accuracy depends on."""
        functions = {"train_fn": self.train_fn, "score_fn": self.score_fn}
        named = [f"{role} {_name(fn)}" for role, fn in functions.items() if fn is not None]
        return [f"study {self.scope}", *named] if named else []

    def train(
        self,
        form: nn.Module,
        split: Split,
        recipe: Recipe,
        fidelity: Fidelity,
        *,
        seed: int,
        device: torch.device,
        progress: Progress | None = None,
        checkpointer: Checkpointer | None = None,
        callback: TrainingCallback | None = None,
    ) -> None:
        """Train ``form`` in place, as :func:`autogate.training.loop.train` does.

        A caller's function always runs from the start to the end.

        Raises:
            TrainingError: If the loss stops being finite, memory is short, or the caller's function fails.
        """
        try:
            if fidelity == "full":
                for gate in gates_of(form).values():
                    # A caller's loop does not update slices, so they are left out.
                    if self.train_fn is None or not gate.slices:
                        gate.begin()
            if self.train_fn is None:
                train(
                    form,
                    split,
                    recipe,
                    seed=seed,
                    device=device,
                    progress=progress,
                    checkpointer=checkpointer,
                    callback=callback,
                    output=self.output,
                    threads=self.threads,
                )
            else:
                form.to(device).train()
                with training_step(device):
                    self.train_fn(form, fidelity)
        except torch.OutOfMemoryError:
            raise TrainingError(
                f"{device} has too little memory to train batches of {recipe.batch_size}; choose another --train-device"
            ) from None
        except AutoGateError:
            raise
        except Exception as error:
            if self.train_fn is None:
                raise
            raise TrainingError(f"train_fn failed: {one_line(error, with_type=True)}") from error
        if not all(p.isfinite().all() for p in form.parameters()):
            raise TrainingError("weights are no longer finite after training; try a lower --lr")

    def score(self, form: nn.Module, split: Split, part: Part, *, device: torch.device) -> tuple[float, Realisation]:
        """Return the score of ``form`` on ``split``, and the decisions of its varying gates.

        Raises:
            TrainingError: If the caller's function fails.
        """
        if self.score_fn is None:
            return score(form, split, device=device, output=self.output)
        form.to(device).eval()
        try:
            value = float(self.score_fn(form, part))
        except Exception as error:
            raise TrainingError(f"score_fn failed: {one_line(error, with_type=True)}") from error
        if not math.isfinite(value):
            raise TrainingError(f"score_fn returned {value}; it must return a finite number")
        return value, trace_decisions(form, split, device=device)


def _name(fn: object) -> str:
    """Return the name of a function, or of the class of anything else that can be called."""
    named = fn if hasattr(fn, "__qualname__") else type(fn)
    return f"{named.__module__}.{named.__qualname__}"
