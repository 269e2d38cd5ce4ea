"""What a gate family is: one object that describes itself once, for every part of AutoGate."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

import torch
from torch import nn

from autogate.errors import PolicyError
from autogate.gates.float32 import in_float32
from autogate.gates.gene import Gene, granularity_of
from autogate.policy import Gate, GeneValue
from autogate.records import Site, SiteKind


@dataclass(frozen=True)
class Holder:
    """A layer that holds channels of a map or group.

    Attributes:
        layer: A convolution or linear layer.
        norm: The batch normalisation right after it, if the channels are its outputs.
        reads: Whether the channels are among its inputs.
        positions: Where they are there, int64 ``[n]``.
        channels: For each position, the site's channel, int64 ``[n]``.
    """

    layer: nn.Conv2d | nn.Linear
    norm: nn.BatchNorm2d | None
    reads: bool
    positions: torch.Tensor
    channels: torch.Tensor


@dataclass(frozen=True)
class DenseParts:
    """The dense network's own modules around a site.

    Attributes:
        holders: Group sites, and map sites with a producer: the layers that write or read the channels.
        branch: Block sites whose unit is one chain: its layers in order.
    """

    holders: tuple[Holder, ...] = ()
    branch: tuple[nn.Module, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> DenseParts:
        """A copied gate stands at the same layers: they are the network's."""
        return self


class TrainingGate(nn.Module):
    """A gate in its training form: it computes everything and masks or scales the result.

    ``forward(value, context)`` gets, at a map site, the map ``[N, C, H, W]`` that the consumer reads and
    the producer's input; at a block site, the branch's result and the block's input. It returns what takes
    the place of ``value``. At a group site it is called as ``forward(value, value, i)`` with what each holder ``i``
    reads, and if it slices also with what each one writes.

    Attributes:
        shut: Whether the branch contributes nothing, in training too; it is then not computed at all.
        replaces_branch: Whether the gate computes from the block's input alone; ``value`` is then None.
        as_trained: Whether a gate whose cost varies opens, in evaluation, only as far as it is to be trained
            to open; that tells what an untrained gate will cost in accuracy.
        slices: Whether the layers around the map are to run on the channels ``selected`` alone, in training.
        runs_layers: Whether the gate runs layers of a network itself, which may be in bfloat16; then it sees to its
            decisions itself. All else a gate computes is in float32.
        lr_factor: How much faster than the network the gate learns.
        selected: Channels of the map that run in this step, sorted, int64 ``[k]``; None for all.
        decision: After a forward pass in evaluation of a gate whose cost varies: kept count per image,
            int64 ``[N]``.
    """

    shut: bool = False
    replaces_branch: bool = False
    as_trained: bool = False
    slices: bool = False
    runs_layers: bool = False
    lr_factor: float = 1.0
    selected: torch.Tensor | None = None
    decision: torch.Tensor | None = None

    def __call__(self, value: torch.Tensor | None, context: torch.Tensor, *more: Any) -> torch.Tensor:
        """Run ``forward``, and return its result in the element type of ``context``."""
        run = super().__call__
        result: torch.Tensor = (run if self.runs_layers else partial(in_float32, run))(value, context, *more)
        return result.to(context.dtype)

    def describe(self) -> str:
        """Return, in a few words, how the gate stood in the last forward pass; empty if there is nothing to say."""
        return ""

    @staticmethod
    def joint_loss(gates: Sequence[Any]) -> torch.Tensor | None:
        """Return the loss term of all gates of this kind in a network, after a forward pass, or None."""
        return None

    def begin(self) -> None:
        """Tell the gate that a full training by its family's own procedure is about to begin."""

    def set_progress(self, fraction: float) -> None:
        """Tell the gate how much of its training has passed, in [0, 1], before each step."""

    def after_backward(self) -> None:
        """Tell the gate that the gradients of the step are there."""

    def training_state(self) -> dict[str, torch.Tensor]:
        """Return what the gate has learnt so far beside its weights and buffers, for a training to go on from."""
        return {}

    def restore_training(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take back what :meth:`training_state` returned."""


Knobs = Mapping[str, GeneValue]
"""Values of a family's training knobs, by name."""


class Overwriting(nn.Module):
    """A compact module that can write its result into its input.

    Attributes:
        overwrites: Whether it may: nobody else reads the input.
    """

    overwrites: bool = False


class CompactEditor(Protocol):
    """What a family may do to a network on its way to the compact form."""

    def executor(self, site: str) -> str | None:
        """Return the name of the executor that is to run at the site; None for the default."""

    def skip_block(self, site: str) -> None:
        """Hand the block's input on as its result."""

    def replace_block(self, site: str, make: Callable[[nn.Module, nn.Module | None], nn.Module]) -> None:
        """Put ``make(branch, finish)`` in place of the block; it maps the block's input to its result.

        ``branch`` is the dense branch as a module; ``finish`` is the activation after the sum, or None if
        there is none, with the block's input known to pass it unchanged.
        """

    def keep_channels(self, site: str, kept: torch.Tensor) -> None:
        """Cut every layer that holds the map's or group's channels down to ``kept``, int64 ``[k]``."""

    def replace_consumer(self, site: str, make: Callable[[nn.Conv2d], nn.Module]) -> None:
        """Put ``make(consumer)`` in place of the convolution that reads the map."""

    def select_channels(self, site: str, select: nn.Module, granularity: int = 1) -> None:
        """Run producer and consumer on the groups of channels that ``select(producer input)`` returns."""


class Family(ABC):
    """A gate family.

    Attributes:
        name: Name in policies and search spaces.
        kinds: Kinds of site it can stand at.
        varies: Whether its cost depends on the input.
        has_weights: Whether its gates have weights of their own.
        knobs: How its gates may be trained; what changes weights, but never what runs.
        is_static: Whether its compact form is an ordinary network that decides nothing while it runs.
        hides_inside: Whether its gate at a block leaves map gates inside the block without effect.
        reads_whole_input: Whether its gate must see all channels that its block, or its map's producer, reads.
        reads_whole_map: Whether its gate must see all channels of its map.
        waiting_executors: Executors that look at data on the host, which a CUDA graph cannot.
        slices_in_training: Whether its training runs layers on fewer channels, so that another family's gate at other
            channels of a reader cannot find its own.
        sensitivity_stand_in: Family whose sensitivity curves stand for those of this one, where training chooses what
            is removed and an untrained gate says nothing; None if its untrained gates can be judged.
    """

    name: ClassVar[str]
    kinds: ClassVar[frozenset[SiteKind]]
    varies: ClassVar[bool] = False
    has_weights: ClassVar[bool] = False
    knobs: ClassVar[tuple[Gene, ...]] = ()
    is_static: ClassVar[bool] = False
    hides_inside: ClassVar[bool] = False
    reads_whole_input: ClassVar[bool] = False
    reads_whole_map: ClassVar[bool] = False
    slices_in_training: ClassVar[bool] = False
    waiting_executors: ClassVar[frozenset[str]] = frozenset()
    sensitivity_stand_in: ClassVar[str | None] = None

    @abstractmethod
    def genes(self, kind: SiteKind) -> tuple[Gene, ...]:
        """Return the genes of a gate at a site of this kind."""

    def test_genes(self, kind: SiteKind) -> tuple[Mapping[str, GeneValue], ...]:
        """Return genes of a few gates that show all the family can do; the shared tests run each.

        They need not suit every site: one that :meth:`invalid_reason` refuses is left out there.
        """
        return ({},)

    def unsupported_reason(self, site: Site) -> str | None:
        """Return None if the family can stand at ``site``, else the reason why it cannot."""
        if site.kind not in self.kinds:
            return f"{self.name} stands at {' and '.join(sorted(self.kinds))} sites only"
        return None

    def fits(self, site: Site) -> bool:
        """Whether the family can stand at ``site``."""
        return self.unsupported_reason(site) is None

    def invalid_reason(self, site: Site, gate: Gate) -> str | None:
        """Return why the genes of a filled gate make no sense at ``site``, or None if they do."""
        return None

    def fill(self, site: Site, gate: Gate) -> Gate:
        """Return ``gate`` with every gene present and checked; genes without effect take their defaults.

        A silent gene at its default is left out.

        Raises:
            PolicyError: If the family does not fit the site, or a gene is unknown or out of range.
        """
        where = f"{self.name} at {site.name}"
        if (reason := self.unsupported_reason(site)) is not None:
            raise PolicyError(f"{where} does not fit: {reason}")
        genes = {gene.name: gene for gene in self.genes(site.kind)}
        if unknown := sorted(set(gate.genes) - set(genes)):
            known = ", ".join(genes) or "none"
            raise PolicyError(f"{where}: unknown gene {unknown[0]!r}; known genes: {known}")
        values = {name: gene.check(gate.genes.get(name, gene.default), where) for name, gene in genes.items()}
        silent = {name for name, gene in genes.items() if gene.silent and values[name] == gene.default}
        return Gate(self.name, {name: value for name, value in values.items() if name not in silent})

    def complete(self, site: Site, gate: Gate) -> Gate:
        """Return the filled gate.

        Raises:
            PolicyError: As :meth:`fill` does, or if the genes make no sense at the site.
        """
        filled = self.fill(site, gate)
        if (reason := self.invalid_reason(site, filled)) is not None:
            raise PolicyError(f"{self.name} at {site.name}: {reason}")
        return filled

    def aligned(self, site: Site, gate: Gate, step: int) -> Gate:
        """Return a complete gate with a number of channels that is a multiple of ``step``, as far as it sets one."""
        return gate

    def profile_alias(self, gate: Gate) -> Gate:
        """Return the gate whose compact form is the same, with all its genes, so that the two are profiled as one."""
        return gate

    def is_open(self, site: Site, gate: Gate) -> bool:
        """Whether the gate, with these genes, changes nothing and can be left out."""
        return False

    @abstractmethod
    def build_training_gate(self, site: Site, gate: Gate, dense: DenseParts, knobs: Knobs) -> TrainingGate:
        """Return the gate's training form, initialised for a network that was trained dense.

        ``knobs`` has a value for every one of the family's knobs.
        """

    @abstractmethod
    def compact(self, site: Site, gate: Gate, trained: TrainingGate, editor: CompactEditor) -> None:
        """Rebuild the network around ``site`` so that the gated work is really left out."""

    def executors(self, site: Site, gate: Gate, batch_size: int) -> tuple[str, ...]:
        """Return the names of the ways to run the gate, all with equal output, the default first; empty if just one."""
        return ()

    def no_saving_reason(self, site: Site, batch_size: int) -> str | None:
        """Return why the family can save nothing at ``site`` with this batch size, or None if it may."""
        return None

    def decisions(self, site: Site, gate: Gate, batch_size: int) -> tuple[int | None, ...]:
        """Return the decisions to profile, lightest first; ``(None,)`` for a gate of fixed cost.

        A decision is what one batch needs: images at a block site, channels at a map site.
        """
        return (None,)

    def expected(self, site: Site, gate: Gate, batch_size: int) -> float | None:
        """Return the decision that training aims at, on the scale of :meth:`decisions`; None if it is fixed."""
        return None

    @abstractmethod
    def mac_factors(self, site: Site, gate: Gate, decision: float | None) -> Mapping[str, float]:
        """Return, by convolution name, the share of its dense MACs that is left, as the paper counts it.

        At a group site :meth:`kept_share` says it: what groups take from one layer adds up. ``decision`` is the
        mean kept count of a gate whose cost varies; None means fully open.
        """

    def kept_share(self, site: Site, gate: Gate) -> float:
        """Return the share of a group's channels that stays."""
        return 1.0

    def extra_macs(self, site: Site, gate: Gate) -> int:
        """Return the MACs per image of the gate itself."""
        return 0


def indivisible_reason(site: Site, gate: Gate) -> str | None:
    """Return why groups of channels do not fill the site's, or None if they do."""
    granularity = granularity_of(gate.genes)
    if site.channels % granularity == 0:
        return None
    return f"granularity={granularity} does not divide the map's {site.channels} channels"


def kept_count(total: int, ratio: float) -> int:
    """Return ``total - floor(ratio * total)``, robust against binary fractions such as 0.29 * 100."""
    return total - int(ratio * total + 1e-9)


def nearest_multiple(count: int, step: int, most: int) -> int:
    """Return the multiple of ``step`` nearest to ``count``, the smaller of two, but at least one and at most all."""
    return min(most, step * max(1, math.ceil(count / step - 0.5)))


def largest(values: torch.Tensor, k: int) -> torch.Tensor:
    """Return the positions of the ``k`` largest values, ascending, ``[C] -> [k]``, int64."""
    return values.topk(k).indices.sort().values


def top_k_mask(score: torch.Tensor, k: int) -> torch.Tensor:
    """Return 1.0 at the ``k`` highest scores of each row and 0.0 elsewhere; shapes ``[N, M] -> [N, M]``."""
    return torch.zeros_like(score).scatter_(1, score.topk(k, dim=1).indices, 1.0)


def soften(mask: torch.Tensor, dropout: float) -> torch.Tensor:
    """Open each shut entry of a 0/1 mask again with probability ``1 - dropout``.

    This is targeted dropout: the targets are the lowest-ranked units, and only they are ever dropped.
    """
    if dropout >= 1:
        return mask
    return torch.maximum(mask, (torch.rand_like(mask) >= dropout).to(mask.dtype))
