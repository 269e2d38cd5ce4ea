"""Facts that travel between the parts of AutoGate, as plain data without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from autogate.policy import Policy

SiteKind = Literal["block", "map", "group"]
ExecutionPlan = Mapping[str, str]
"""Which executor runs at a site, where it is not the default one; executors give equal output."""
LatencyStat = Literal["mean", "p50", "p95", "max"]


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input.

    Attributes:
        input_size: Height and width of the square input, in pixels.
        mean: Mean per RGB channel, for values in [0, 1].
        std: Standard deviation per RGB channel.
    """

    input_size: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON-ready data."""
        return {"input_size": self.input_size, "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Preprocessing:
        """Rebuild the record from :meth:`to_json`."""
        mean, std = (tuple(float(v) for v in data[key]) for key in ("mean", "std"))
        return cls(int(data["input_size"]), mean, std)  # type: ignore[arg-type]


@dataclass(frozen=True)
class ConvSpec:
    """Shape of one convolution.

    Attributes:
        name: Module path in the network.
        in_channels: Channels read.
        out_channels: Channels written.
        kernel: Kernel height and width.
        stride: Stride of height and width.
        groups: Channel groups.
        macs: Multiply-accumulates per image.
    """

    name: str
    in_channels: int
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    groups: int
    macs: int


@dataclass(frozen=True)
class Coupling:
    """How much of a layer belongs to a group of channels.

    Attributes:
        name: Module path of the layer.
        reads: Share of its input channels.
        writes: Share of its output channels.
    """

    name: str
    reads: float
    writes: float

    def left(self, kept: float) -> float:
        """Return the share of the layer's work that is left when a share ``kept`` of the group stays."""
        return (1 - self.reads * (1 - kept)) * (1 - self.writes * (1 - kept))


@dataclass(frozen=True)
class Site:
    """A place in a network where a gate can stand.

    Attributes:
        name: ``block:PATH``, ``map:PATH`` or ``group:PATH``, unique in the network.
        kind: ``block`` for a shape-preserving unit, ``map`` for a feature map that one convolution reads, ``group``
            for channels that several layers share.
        stage: Tie group; sites whose tensors have the same resolution share it.
        shape: Channels, height and width of the gated tensor: the block's input, the map, or the group where it is
            written first.
        macs: Multiply-accumulates per image that the gate controls: the block's, or those of the
            convolutions that write and read the map, or the shares of all layers that belong to the group.
        convs: Convolutions of the block, the producer (if any) and the consumer of the map, or all of the group.
        residual: Block sites: whether the unit adds its input to its result.
        has_producer: Map and group sites: whether a single convolution writes all of the channels.
        plain_chain: Block sites: whether the unit is one chain of convolutions (dense or depthwise), batch
            normalisations and activations. Map sites:
            whether nothing with per-channel weights, except batch normalisation that folds into the
            producer, lies between producer and consumer.
        inside: Map and group sites: names of the block sites without whose branch the site's gate has no effect or no
            stable shape.
        along: Group sites: names of the residual block sites that the group's channels run past.
        index: Block sites: which of the blocks of its width and resolution it is, counted from 0; a block that is no
            site, such as one that changes the width, counts too.
        couplings: Group sites: the layers that hold the channels.
    """

    name: str
    kind: SiteKind
    stage: str
    shape: tuple[int, int, int]
    macs: int
    convs: tuple[ConvSpec, ...]
    residual: bool = False
    has_producer: bool = False
    plain_chain: bool = True
    inside: tuple[str, ...] = ()
    along: tuple[str, ...] = ()
    index: int = 0
    couplings: tuple[Coupling, ...] = ()

    @property
    def channels(self) -> int:
        """Channels of the gated tensor."""
        return self.shape[0]

    @property
    def consumer(self) -> ConvSpec:
        """The convolution that reads the map."""
        return self.convs[-1]


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
        """Return the record as JSON-ready data."""
        return {site: list(trace) for site, trace in self.decisions.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Realisation:
        """Rebuild the record from :meth:`to_json`."""
        return cls({site: tuple(int(v) for v in trace) for site, trace in data.items()})


@dataclass(frozen=True)
class Setting:
    """How a network is executed: everything on which a latency depends, besides the network.

    Attributes:
        device: Device name as torch writes it, such as ``cpu`` or ``cuda:0``.
        device_name: The hardware's own name.
        batch_size: Images per call.
        dtype: Element type, such as ``float32``.
        layout: ``contiguous`` or ``channels_last``.
        threads: CPU threads used by one call.
        runtime: ``eager``.
        versions: Versions of what runs the network: torch, and the driver on a GPU.
    """

    device: str
    device_name: str
    batch_size: int
    dtype: str
    layout: str
    threads: int
    runtime: str
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON-ready data."""
        return {**asdict(self), "versions": dict(self.versions)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Setting:
        """Rebuild the record from :meth:`to_json`."""
        return cls(**{**data, "versions": dict(data["versions"])})

    def differences(self, other: Setting) -> list[str]:
        """Return one line per field in which the two settings differ."""
        ours, theirs = self.to_json(), other.to_json()
        return [f"{key} is {theirs[key]!r}, not {ours[key]!r}" for key in ours if ours[key] != theirs[key]]


@dataclass(frozen=True)
class UnitSample:
    """Time of one unit of a network, in place.

    Attributes:
        key: What ran: the unit's type and the gates in it.
        ms: Median over passes, in milliseconds.
        iqr_ms: Interquartile range over passes.
        passes: Number of passes.
        network: Number of the network, within the profile, in which the unit ran.
    """

    key: str
    ms: float
    iqr_ms: float
    passes: int
    network: int


@dataclass(frozen=True)
class NetworkSample:
    """Time of one whole network.

    Attributes:
        policy: The policy, as JSON-ready data.
        keys: Keys of its units, in order.
        ms: Median over passes, in milliseconds.
        iqr_ms: Interquartile range over passes.
        passes: Number of passes.
        network: Number of the network within the profile.
    """

    policy: Mapping[str, Any]
    keys: tuple[str, ...]
    ms: float
    iqr_ms: float
    passes: int
    network: int


@dataclass(frozen=True)
class Profile:
    """Measurements of one network's units and of whole gated networks, from one device in one setting."""

    setting: Setting
    model: str
    input_shape: tuple[int, int, int]
    created_utc: str
    units: tuple[UnitSample, ...]
    networks: tuple[NetworkSample, ...]


@dataclass(frozen=True)
class Estimate:
    """A predicted latency in milliseconds: statistics over inputs, and bounds on each.

    Attributes:
        mean: Mean over inputs.
        p50: Median over inputs.
        p95: 95th percentile over inputs.
        max: Slowest input.
        error: Relative half-width of the 95 % prediction interval.
    """

    mean: float
    p50: float
    p95: float
    max: float
    error: float

    def stat(self, name: LatencyStat) -> float:
        """Return one statistic over inputs, in milliseconds."""
        return float(getattr(self, name))

    def upper(self, name: LatencyStat) -> float:
        """Return the one-sided 95 % upper bound of a statistic, in milliseconds."""
        return self.stat(name) * (1.0 + self.error)


@dataclass(frozen=True)
class Measurement:
    """A measured latency in milliseconds: statistics over inputs of each input's median over repeats.

    Attributes:
        mean: Mean over inputs.
        p50: Median over inputs.
        p95: 95th percentile over inputs.
        max: Slowest input.
        interval: 95 % bootstrap interval of the statistic the budget binds.
        inputs: Number of different inputs.
        repeats: Repeats of each input.
    """

    mean: float
    p50: float
    p95: float
    max: float
    interval: tuple[float, float]
    inputs: int
    repeats: int

    def stat(self, name: LatencyStat) -> float:
        """Return one statistic over inputs, in milliseconds."""
        return float(getattr(self, name))

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON-ready data."""
        return {**asdict(self), "interval": list(self.interval)}


@dataclass(frozen=True)
class Comparison:
    """Dense and gated, measured interleaved in one run.

    Attributes:
        dense: The dense network.
        gated: The gated network.
        ratio: Gated over dense, of the chosen statistic.
        ratio_interval: 95 % bootstrap interval of the ratio.
        setting: How both ran.
    """

    dense: Measurement
    gated: Measurement
    ratio: float
    ratio_interval: tuple[float, float]
    setting: Setting

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON-ready data."""
        return {
            "dense": self.dense.to_json(),
            "gated": self.gated.to_json(),
            "ratio": self.ratio,
            "ratio_interval": list(self.ratio_interval),
            "setting": self.setting.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Comparison:
        """Rebuild the record from :meth:`to_json`."""

        def measurement(part: Mapping[str, Any]) -> Measurement:
            return Measurement(**{**part, "interval": tuple(part["interval"])})

        return cls(
            measurement(data["dense"]), measurement(data["gated"]), float(data["ratio"]),
            (float(data["ratio_interval"][0]), float(data["ratio_interval"][1])), Setting.from_json(data["setting"]),
        )  # fmt: skip


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
    """

    key: EvaluationKey
    val_accuracy: float
    realisation: Realisation
    seconds: float
    artifact: str | None = None


@dataclass(frozen=True)
class TrialRecord:
    """What became of one proposal.

    Attributes:
        number: Number in the study.
        outcome: ``complete``, ``rejected``, ``reused`` or ``failed``.
        policy: The canonical policy, if one could be drawn.
        val_accuracy: Accuracy on validation images, as a fraction; None if it was not trained.
        predicted: Predicted latency statistics in milliseconds.
        costs: MACs per image as the paper counts them.
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

    @property
    def ratio(self) -> float:
        """Gated over dense latency: measured, or else predicted."""
        if self.comparison is not None:
            return self.comparison.ratio
        return self.predicted["p50"] / self.predicted["dense"]
