"""What a study found out about its task and its target on the way; stored with it, and written whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from autogate.records.profiles import Setting
from autogate.records.sites import Preprocessing

_CONFIG = ConfigDict(extra="forbid")
TrainDtype = Literal["float32", "bfloat16"]
VERSION = 1
"""Version of the stored form of :class:`StudyFacts`; a migration rewrites older ones."""


@dataclass(frozen=True, config=_CONFIG)
class TaskFacts:
    """The network and the data that a study searches on; they never change.

    Attributes:
        digest: Identity of network, weights, data and split.
        training_functions: Identities of the caller's own functions for training and score; empty without any.
        val_images: Number of validation images.
        preprocessing: How an image becomes an input.
        class_names: Names of the classes, by index.
    """

    digest: str
    training_functions: tuple[str, ...] = ()
    val_images: int = 0
    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, config=_CONFIG)
class TargetFacts:
    """The device that a study searches for; replaced as a whole when the study continues for another one.

    Attributes:
        profile: Identity of the profile that latencies are predicted with.
        latency_model: Version of the latency model.
        foreign: Whether the profile is another device's; results then stay predicted.
        setting: How networks run on the device.
        dense_latency_ms: Predicted latency of the dense network.
        slowdown: By which factor the device is slower now than when it was profiled; None if that was not looked at.
        stale_error: Relative error of a profile of other versions that was measured again; None for any other.
        unpaying_gates: One line per gate that cannot run faster than dense on the device, with the reason.
        budget_ms: The latency budget in milliseconds of the predicted dense network; None without one.
        budget_binding: Whether the budgets rule out the dense network.
    """

    profile: str
    latency_model: str
    foreign: bool
    setting: Setting
    dense_latency_ms: float
    slowdown: float | None = None
    stale_error: float | None = None
    unpaying_gates: tuple[str, ...] = ()
    budget_ms: float | None = None
    budget_binding: bool = True


@dataclass(frozen=True, config=_CONFIG)
class RuntimeTime:
    """What the dense network takes in one of the runtimes that a study could have searched in.

    Attributes:
        runtime: Name of the runtime.
        dense_ms: Median time of a batch in its fastest memory layout, in milliseconds; None if it cannot run there.
        layout: That layout.
        reason: Why it cannot run there.
    """

    runtime: str
    dense_ms: float | None = None
    layout: str | None = None
    reason: str | None = None


@dataclass(frozen=True, config=_CONFIG)
class MeasuredCandidate:
    """A candidate that was measured before it was trained, so that the latency model learns from it.

    Attributes:
        policy: Digest of its policy.
        rows: Samples of its units and of the whole, as a profile stores them.
    """

    policy: str
    rows: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, config=_CONFIG)
class DenseFacts:
    """The dense network.

    Attributes:
        val_accuracy: Accuracy on validation images, as a fraction, or the caller's own score.
        test_accuracy: The same on test images; None before there is a finalist to report.
        macs: MACs per image.
        params: Number of weights.
        peak_memory_bytes: Peak memory of one forward pass on the target; None where that is another device.
    """

    val_accuracy: float
    test_accuracy: float | None = None
    macs: int | None = None
    params: int | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, config=_CONFIG)
class ChoiceLoss:
    """What one choice of the search space costs in accuracy, alone and without training.

    Attributes:
        decision: Name of the decision.
        choice: The choice.
        loss_increase: Increase of the validation loss.
    """

    decision: str
    choice: str
    loss_increase: float


@dataclass(frozen=True, config=_CONFIG)
class StudyFacts:
    """Everything a study found out, apart from its trials and finalists.

    Attributes:
        task: Network and data; None before the study's first run has loaded them.
        runtimes: The runtimes that the study chose its own among; none if one was asked for.
        target: The device searched for; None before it is known, and after the study moved to another one.
        dense: The dense network; None before it is scored.
        train_dtype: Element type that trainings compute in; None before that is decided, which is float32.
        dense_artifact: SHA-256 of the dense weights, if the study trained them.
        shared_artifact: SHA-256 of the weights that all candidates start from.
        sensitivity: What each choice costs alone.
        short_floor: Under a largest accuracy drop, the lowest accuracy worth having after short training.
        measured_candidates: Candidates that the latency model learnt from, on the present target.
        failed_finalists: Why finalists could not be trained, by trial number.
        stage_seconds: Time spent in each stage, by its name.
        ended: Whether the last run came to its end; None if no run said so.
        version: Version of this form.
    """

    task: TaskFacts | None = None
    runtimes: tuple[RuntimeTime, ...] = ()
    target: TargetFacts | None = None
    dense: DenseFacts | None = None
    train_dtype: TrainDtype | None = None
    dense_artifact: str | None = None
    shared_artifact: str | None = None
    sensitivity: tuple[ChoiceLoss, ...] = ()
    short_floor: float | None = None
    measured_candidates: tuple[MeasuredCandidate, ...] = ()
    failed_finalists: Mapping[str, str] | None = None
    stage_seconds: Mapping[str, float] | None = None
    ended: bool | None = None
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON-ready data."""
        data: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StudyFacts:
        """Rebuild facts from :meth:`to_json`.

        Raises:
            ValueError: If they are no facts of this version.
        """
        return _ADAPTER.validate_python(dict(data))

    @property
    def task_digest(self) -> str:
        """Identity of network and data; empty before they are known."""
        return "" if self.task is None else self.task.digest

    @property
    def own_task(self) -> bool:
        """Whether training and score are both the caller's, so that targets need not be classes."""
        functions = () if self.task is None else self.task.training_functions
        return {"train_fn", "score_fn"} <= {name.split()[0] for name in functions}

    @property
    def artifacts(self) -> frozenset[str]:
        """SHA-256 of all weights that the facts name."""
        return frozenset({self.dense_artifact, self.shared_artifact} - {None})  # type: ignore[arg-type]


_ADAPTER = TypeAdapter(StudyFacts)
