"""What a network offers: inputs, layers, sites for gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

SiteKind = Literal["block", "map", "group"]
KINDS: tuple[SiteKind, ...] = ("block", "map", "group")


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
        convs: Convolutions of the block; the producer (if any) of the map, depthwise ones on the way, and the consumer;
            or all of the group.
        residual: Block sites: whether the unit adds its input to its result.
        has_producer: Map and group sites: whether a single convolution writes all of the channels.
        plain_chain: Block sites: whether the unit is one chain of convolutions (dense or depthwise), batch
            normalisations and activations. Map sites:
            whether nothing with per-channel weights, except batch normalisation that folds into the
            producer, lies between producer and consumer.
        activated: Map sites: whether the map's values are those of an activation, or of one and a pooling layer.
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
    activated: bool = False
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
