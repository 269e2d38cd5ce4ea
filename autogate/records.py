"""Facts that travel between the parts of AutoGate, as plain data without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SiteKind = Literal["block", "map"]
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
class Site:
    """A place in a network where a gate can stand.

    Attributes:
        name: ``block:PATH`` or ``map:PATH``, unique in the network.
        kind: ``block`` for a shape-preserving unit, ``map`` for a feature map that one convolution reads.
        stage: Tie group; sites whose tensors have the same resolution share it.
        shape: Channels, height and width of the gated tensor: the block's input, or the map.
        macs: Multiply-accumulates per image that the gate controls: the block's, or those of the
            convolutions that write and read the map.
        convs: Convolutions of the block, or the producer (if any) and the consumer of the map.
        residual: Block sites: whether the unit adds its input to its result.
        has_producer: Map sites: whether a single convolution writes the map.
        plain_chain: Block sites: whether the unit is one chain of layers, without branches. Map sites:
            whether nothing with per-channel weights, except batch normalisation that folds into the
            producer, lies between producer and consumer.
        inside: Map sites: names of the block sites that contain the producer or the consumer.
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

    @property
    def channels(self) -> int:
        """Channels of the gated tensor."""
        return self.shape[0]

    @property
    def consumer(self) -> ConvSpec:
        """The convolution that reads the map."""
        return self.convs[-1]
