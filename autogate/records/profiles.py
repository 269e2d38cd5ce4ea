"""What was measured of a device and a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

_MODES = ("matmul_tf32", "cudnn_tf32", "cudnn_benchmark")


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
        runtime: Name of the runtime that ran it.
        versions: What runs the network, in which version and mode: torch, and on a GPU the driver, whether TF32 and
            cuDNN's benchmarking were on, and ``clocks`` where they were locked.
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
        """Return one line per field in which the two settings differ.

        A mode of which one of them does not say anything, as profiles of older versions, is no difference.
        """
        ours, theirs = self._facts(), other._facts()
        return [
            f"{key} is {theirs.get(key)!r}, not {ours.get(key)!r}"
            for key in dict.fromkeys([*ours, *theirs])
            if ours.get(key) != theirs.get(key) and not (key in _MODES and (key not in ours or key not in theirs))
        ]

    def agrees_with(self, other: Setting) -> bool:
        """Whether a latency in the one setting is one in the other: nothing differs."""
        return not self.differences(other)

    def is_stale(self, now: Setting) -> bool:
        """Whether nothing but the versions and modes of what runs the network has changed until ``now``."""
        return not self.agrees_with(now) and replace(self, versions=now.versions) == now

    def _facts(self) -> dict[str, Any]:
        facts = self.to_json()
        versions = facts.pop("versions")
        return {**facts, "clocks": "not locked", **versions}


@dataclass(frozen=True)
class DeviceCard:
    """What a device can do at best, as measured, and the state it was in.

    Attributes:
        launch_us: Time of the smallest operator, in microseconds.
        sync_us: Time to find an idle device idle; 0 on the CPU.
        copy_gb_per_s: Bytes read and written by a copy that fits no cache, per second, in 10^9.
        matmul_tflops: Rate of a large matrix product by dtype, in 10^12 floating point operations per second.
        cache_bytes: Sizes of the data caches by level.
        state: Clocks, governor, load and what else changes the speed from one moment to the next.
    """

    launch_us: float
    sync_us: float
    copy_gb_per_s: float
    matmul_tflops: Mapping[str, float]
    cache_bytes: Mapping[str, int]
    state: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON-ready data."""
        return asdict(self)


ALONE, MIXED, WARM, MEASURED, STRONGEST = "alone", "mixed", "warm", "measured", "strongest"
"""What a network of a profile was run for: to see one gate at a time, to see gates together, to see dense run again and
again with no other network between, because a search wanted to know, or to see whether the strongest gate of a family
saves anything at all."""


@dataclass(frozen=True)
class UnitSample:
    """Time of one unit of a network, in place.

    How it was taken (its phase, and with it whether the caches were cold) is that of the network sample with the same
    number; of a network of the warm phase there are no units. A sample carried over from another device has the number
    -1 and no passes.

    Attributes:
        key: What ran: the unit's type and the gates in it.
        ms: Median over passes, in milliseconds.
        iqr_ms: Interquartile range over passes.
        passes: Number of passes.
        network: Number of the network, within the profile, in which the unit ran.
        host_ms: Median time in which the host handed the unit to the device; 0 where they are one.
    """

    key: str
    ms: float
    iqr_ms: float
    passes: int
    network: int
    host_ms: float = 0.0


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
        macs: Multiply-accumulates per image that it executes.
        interval_ms: 95 % bootstrap interval of the median; None in profiles of older versions.
        phase: What the network was run for.
        decisions: Decisions set for its gates of varying cost, by site.
        executors: Its planned executors, by site.
    """

    policy: Mapping[str, Any]
    keys: tuple[str, ...]
    ms: float
    iqr_ms: float
    passes: int
    network: int
    macs: int
    interval_ms: tuple[float, float] | None = None
    phase: str = MIXED
    decisions: Mapping[str, int] = field(default_factory=dict)
    executors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Operator:
    """One call of an operator.

    Attributes:
        name: The operator, such as ``aten.convolution``.
        macs: Multiply-accumulates.
        moved_bytes: Bytes of the tensors it reads and writes.
        inputs: Input channels of a convolution or matrix product, per group; 0 for others.
        outputs: Number of output channels, if it is a convolution or linear layer.
    """

    name: str
    macs: int
    moved_bytes: int
    inputs: int = 0
    outputs: int = 0


@dataclass(frozen=True)
class UnitForm:
    """What a unit executes in one of its forms.

    Attributes:
        key: The unit's type and the gates in it.
        operators: Its operators, in order; views, which do no work, are left out.
    """

    key: str
    operators: tuple[Operator, ...]


@dataclass(frozen=True)
class Profile:
    """Measurements of one network's units and of whole gated networks, from one device in one setting.

    Attributes:
        setting: How the networks ran.
        card: What the device can do at best.
        model: The network's name.
        input_shape: Channels, height and width.
        created_utc: When it was taken.
        units: Times of units.
        networks: Times of whole networks, dense first.
        method: How the times were taken, for people.
        forms: What the units executed, by form; none in profiles of older versions.
    """

    setting: Setting
    card: DeviceCard
    model: str
    input_shape: tuple[int, int, int]
    created_utc: str
    units: tuple[UnitSample, ...]
    networks: tuple[NetworkSample, ...]
    method: Mapping[str, Any] = field(default_factory=dict)
    forms: tuple[UnitForm, ...] = ()
