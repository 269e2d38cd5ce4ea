"""What a caller brings to a study as an object instead of naming it: network, data, training, score, sampler."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from autogate.errors import StudyError
from autogate.goals import SearchConfig
from autogate.nas.evaluating.task import OwnData
from autogate.training import ScoreFunction, TrainFunction

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@dataclass(frozen=True)
class CallerInputs:
    """What a caller brings instead of naming it."""

    model: nn.Module | None = None
    data: OwnData | None = None
    train_fn: TrainFunction | None = None
    score_fn: ScoreFunction | None = None
    sampler: BaseSampler | None = None

    @classmethod
    def among(cls, model: str | nn.Module, data: str | Path | OwnData) -> CallerInputs:
        """Return what is brought along, of a network and data that may also be named."""
        return cls(None if isinstance(model, str) else model, None if isinstance(data, str | Path) else data)

    @property
    def own_task(self) -> bool:
        """Whether training and score are both the caller's, so that targets need not be classes."""
        return self.train_fn is not None and self.score_fn is not None

    def check(self, study: str, config: SearchConfig) -> None:
        """Refuse to go on without what every evaluation needs and the study was started with: network and data."""
        missing = [name for name, needed in config.brought.items() if needed and getattr(self, name) is None]
        if missing:
            raise StudyError(
                f"study {study!r} was started from Python with its own {' and '.join(missing)}; pass "
                f"{' and '.join(f'{name}=…' for name in missing)} from Python again"
            )
