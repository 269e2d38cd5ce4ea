"""What a runtime is: a way to run a network on a device, described in one place for every part of AutoGate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from torch import fx, nn

from autogate.gates import get_family
from autogate.policy import Gate
from autogate.records import Site
from autogate.system import missing_packages

Runnable = Callable[[torch.Tensor], object]
"""Runs a network on one input batch, ``[N, C, H, W]``."""


@runtime_checkable
class TimedRunnable(Protocol):
    """A network that knows itself how long a pass took, since it runs in another process."""

    def __call__(self, x: torch.Tensor) -> object:
        """Return what the network gives for an input batch, ``[N, C, H, W]``."""
        ...

    def time_ms(self, x: torch.Tensor) -> float:
        """Run the network on an input batch, and return the milliseconds that a pass takes."""
        ...


class UnitTimes(NamedTuple):
    """A pass and its units.

    Attributes:
        whole_ms: Time of the pass, in milliseconds.
        units_ms: Time of each unit by its number, in milliseconds.
        entries_ms: Time before each unit, by its number, to bring what it reads into the layout that it reads; no
            entry where there is nothing to be done.
    """

    whole_ms: float
    units_ms: Mapping[int, float]
    entries_ms: Mapping[int, float] = {}


class TimedByUnit(Protocol):
    """A compact network whose units are timed by the runtime's own means."""

    def time_ms(self, x: torch.Tensor) -> UnitTimes:
        """Run the network on an input batch; return what a pass takes."""
        ...


class Runtime(ABC):
    """A way to run a network on a device.

    Attributes:
        name: Name in configurations and profiles.
        packages: What must be installed for it: name to import to name to install with pip.
        dtypes: Element types it can run; None for all floating-point ones.
        layouts: Memory layouts of its inputs; None for all.
        profiles_networks: Whether networks can be profiled, and so searched, in it: unit by unit, by a latency model
            that composes the units. Otherwise finished networks can only be measured in it.
        needs_eager_units: Whether a profile times units operator by operator, and the whole network in this runtime.
        isolated: Whether networks run in a process of their own, where every timed pass follows another of the same.
        fuses_units: Whether operators of neighbouring units run as one, so that a gate changes the units around it.
        builds_slowly: Whether a network takes so long to get ready that a profile should do with few of them.
        waits_for_data: Whether the host may look at data while a network runs, to decide what runs next.
    """

    name: ClassVar[str]
    packages: ClassVar[Mapping[str, str]] = {}
    dtypes: ClassVar[frozenset[str] | None] = None
    layouts: ClassVar[frozenset[str] | None] = None
    profiles_networks: ClassVar[bool] = True
    needs_eager_units: ClassVar[bool] = True
    waits_for_data: ClassVar[bool] = True
    isolated: ClassVar[bool] = False
    fuses_units: ClassVar[bool] = False
    builds_slowly: ClassVar[bool] = False

    @abstractmethod
    def prepare(self, module: nn.Module, example: torch.Tensor) -> Runnable:
        """Return what runs ``module`` on inputs like ``example``, ``[N, C, H, W]``.

        Module and example are on the device, in the element type and memory layout they will run in. Any exception is
        reported to the user in one line.
        """

    def prepare_all(self, compacts: Iterable[fx.GraphModule], example: torch.Tensor) -> None:  # noqa: B027 - optional
        """Get ready for :meth:`time_by_unit` of several networks, if that is faster than one after the other.

        ``compacts`` yields them one at a time; they need not be kept.
        """

    def time_by_unit(self, compact: fx.GraphModule, example: torch.Tensor) -> TimedByUnit | None:
        """Return what runs a compact network and times its units; None if marks between its operators tell as much.

        Args:
            compact: The network; the number of its unit is in the ``meta`` of each node.
            example: An input batch, ``[N, C, H, W]``.
        """
        return None

    def of_dtype(self, dtype: str) -> Runtime:
        """Return the runtime that computes in an element type of :attr:`dtypes`; modules and inputs come in it.

        Those for ``int8`` come in float32, since what is prepared is to be quantised, and all of an isolated runtime,
        which reads files in float32.
        """
        return self

    def unsupported_reason(self, device: torch.device) -> str | None:
        """Return why networks cannot run so on ``device``, or None if they can; packages are checked elsewhere."""
        return None

    def no_saving_reason(self, gate: Gate, site: Site, batch_size: int) -> str | None:
        """Return why a gate can save nothing at a site, whatever the device; None if it may."""
        return get_family(gate.family).no_saving_reason(site, batch_size)

    def missing_reason(self) -> str | None:
        """Return which packages are missing, and how to install them; None if there are all."""
        return missing_packages(f"runtime {self.name}", self.packages)

    def versions(self) -> dict[str, str]:
        """Return the versions of the runtime's packages: a profile of others is stale."""
        found = {}
        for package in self.packages.values():
            try:
                found[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                continue
        return found
