"""What became of policies in a study."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from autogate.policy import Policy
from autogate.records.latencies import Comparison, ExecutionPlan


@dataclass(frozen=True)
class Realisation:
    """What a trained policy turned out to do where its cost varies.

    Attributes:
        decisions: Kept count per validation image, by site: 0 or 1 for a block, channels for a map. Empty
            for policies of fixed cost. All lists follow the same order of images.
    """

    decisions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def mean(self, site: str) -> float | None:
        """Return the mean kept count at ``site``, or None if its cost is fixed."""
        trace = self.decisions.get(site)
        return sum(trace) / len(trace) if trace else None

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON-ready data: by site, base64 of zlib of the counts, two little-endian bytes each."""
        return {site: _packed(trace) for site, trace in self.decisions.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Realisation:
        """Rebuild the record from :meth:`to_json`, or from plain lists of counts, as older records have them."""
        return cls({site: _unpacked(kept) if isinstance(kept, str) else tuple(kept) for site, kept in data.items()})


def _packed(trace: Sequence[int]) -> str:
    return base64.b64encode(zlib.compress(struct.pack(f"<{len(trace)}H", *trace), level=9)).decode("ascii")


def _unpacked(packed: str) -> tuple[int, ...]:
    counts = zlib.decompress(base64.b64decode(packed))
    return struct.unpack(f"<{len(counts) // 2}H", counts)


@dataclass(frozen=True)
class EvaluationKey:
    """What an accuracy depends on; equal keys are never trained twice in one database."""

    policy: str
    task: str
    recipe: str
    fidelity: str
    seed: int


@dataclass(frozen=True)
class Evaluation:
    """Accuracy of a trained policy on the validation images.

    Attributes:
        key: What the accuracy depends on.
        val_accuracy: The accuracy, as a fraction.
        realisation: Decisions of varying gates.
        seconds: Time it took.
        artifact: Identity of the stored weights, if they were kept.
        macs_paper: MACs per image as the papers count them, with these decisions.
    """

    key: EvaluationKey
    val_accuracy: float
    realisation: Realisation
    seconds: float
    artifact: str | None = None
    macs_paper: int | None = None


@dataclass(frozen=True)
class TrialRecord:
    """What became of one proposal.

    Attributes:
        number: Number in the study.
        outcome: ``complete``, ``rejected``, ``reused``, ``stopped`` or ``failed``.
        policy: The canonical policy, if one could be drawn.
        val_accuracy: Accuracy on validation images, as a fraction; None if it was not trained.
        predicted: Predicted latency statistics in milliseconds.
        costs: MACs per image as the paper counts them (``macs_paper``), and peak memory (``peak_memory_bytes``).
        reason: Why it was rejected or failed.
        seconds: Time it took.
    """

    number: int
    outcome: str
    policy: Policy | None
    val_accuracy: float | None
    predicted: Mapping[str, float] | None
    costs: Mapping[str, float] | None
    reason: str | None
    seconds: float


@dataclass(frozen=True)
class FrontRecord:
    """What a study had reached when one of its trials ended, by prediction and short training.

    Attributes:
        trial: Number of the trial.
        hypervolume: Area that the front covers, of accuracy times the share of dense latency saved; in [0, 1] for
            accuracies that are fractions.
        best_trial: Number of the best candidate within the budget, if any.
        best_val_accuracy: Its accuracy on validation images.
        front: Numbers of the trials on the front, fastest first.
    """

    trial: int
    hypervolume: float
    best_trial: int | None
    best_val_accuracy: float | None
    front: tuple[int, ...]


@dataclass(frozen=True)
class Verdict:
    """Whether a measured finalist is an answer to what was asked.

    Attributes:
        question: What was asked: budgets and lowest accuracy, as text; a verdict holds for equal questions.
        met: Whether peak memory, and the upper ends of the 95 % intervals of latency and energy, are within their
            budgets. Where the target is not at hand, the latency's interval is that of the prediction.
        excess: How far the worst of them is above its budget, relative to it; at most 0 if met, infinite for what was
            never measured.
        accepted: Whether the finalist may win: all budgets are met, it is faster than dense or dense itself, and no
            less accurate than asked.
    """

    question: str
    met: bool
    excess: float
    accepted: bool

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready data; an infinite excess is None."""
        return {**asdict(self), "excess": self.excess if math.isfinite(self.excess) else None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """Rebuild the verdict from :meth:`to_json`."""
        return cls(**{**data, "excess": math.inf if data["excess"] is None else data["excess"]})


@dataclass(frozen=True)
class FinalistRecord:
    """A fully trained policy, measured if the target is at hand.

    Attributes:
        policy: The canonical policy.
        profile: Identity of the profile it was predicted with.
        trial: Number of the trial that proposed it.
        val_accuracy: Accuracy on validation images, as a fraction.
        test_accuracy: Accuracy on test images, as a fraction.
        costs: MACs per image as the paper counts them and as executed, and parameters.
        predicted: Predicted latency statistics in milliseconds; ``dense`` is the dense network's.
        comparison: Dense and gated, measured; None if the profile is another device's.
        realisation: Decisions of varying gates.
        artifact: Identity of the stored weights.
        plan: Which executor ran each site when it was measured; None for finalists of older versions.
        verdict: Whether it is an answer to what was asked when it was measured; None for finalists of older versions.
    """

    policy: Policy
    profile: str
    trial: int
    val_accuracy: float
    test_accuracy: float
    costs: Mapping[str, float]
    predicted: Mapping[str, float]
    comparison: Comparison | None
    realisation: Realisation
    artifact: str
    plan: ExecutionPlan | None = None
    verdict: Verdict | None = None

    @property
    def ratio(self) -> float:
        """Gated over dense latency: measured, or else predicted."""
        if self.comparison is not None:
            return self.comparison.ratio
        return self.predicted["p50"] / self.predicted["dense"]
