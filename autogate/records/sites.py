"""What a network offers: inputs, layers, sites for gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

SiteKind = Literal["block", "map", "group"]
KINDS: tuple[SiteKind, ...] = ("block", "map", "group")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input.

    Attributes:
        input_size: Height and width of the input, in pixels; one number for a square.
        mean: Mean per channel, for values in [0, 1].
        std: Standard deviation per channel.
    """

    input_size: int | tuple[int, int]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.mean)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one input."""
        height, width = (self.input_size,) * 2 if isinstance(self.input_size, int) else self.input_size
        return self.channels, height, width

    def with_channels(self, channels: int) -> Preprocessing:
        """Return the preprocessing of inputs with another number of channels.

        Statistics that are equal in all channels stay; those of ImageNet, which say nothing of other channels than red,
        green and blue, become 0.5.

        Raises:
            ValueError: If the statistics are others.
        """
        if channels == self.channels:
            return self
        if len({*self.mean}) == len({*self.std}) == 1:
            return replace(self, mean=self.mean[:1] * channels, std=self.std[:1] * channels)
        if (self.mean, self.std) != (IMAGENET_MEAN, IMAGENET_STD):
            raise ValueError(f"statistics of {self.channels} channels say nothing of {channels}")
        return replace(self, mean=(0.5,) * channels, std=(0.5,) * channels)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON-ready data."""
        size = self.input_size if isinstance(self.input_size, int) else list(self.input_size)
        return {"input_size": size, "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Preprocessing:
        """Rebuild the record from :meth:`to_json`."""
        size, (mean, std) = data["input_size"], (tuple(float(v) for v in data[key]) for key in ("mean", "std"))
        if isinstance(size, list | tuple):
            height, width = size
            return cls((int(height), int(width)), mean, std)
        return cls(int(size), mean, std)


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
