"""Try out whether channels can be cut out of a network with the same result as masking them.

Padding between channels, for one, couples layers in a way that a cut does not survive.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import fx, nn

from autogate.models import without_data
from autogate.sites.assembling import assemble
from autogate.sites.layers import is_exact_layer
from autogate.sites.network import Member
from autogate.sites.results import difference
from autogate.sites.slicing import slice_channels, width
from autogate.sites.trace_check import randomised_copy, shared_copy

# Of results in float64, so that what differs a little is not taken for a rounding error.
_TOLERANCE = 1e-9

# Channels are coupled alike at every size, and a smaller image takes less time.
_SMALLER = (4, 2)
_SMALLEST_PIXELS = 16

Groups = Mapping[str, tuple[Member, ...]]


def survivors(
    model: nn.Module, graph: fx.Graph, input_shape: tuple[int, int, int], groups: Groups
) -> tuple[set[str], set[str]]:
    """Return the groups that can be cut, and of the others those after whose cut the network still runs.

    Args:
        model: The network.
        graph: Its graph.
        input_shape: Channels, height and width of one input.
        groups: Layers that hold the channels of each group, by the path of the convolution that writes them.
    """
    if not groups:
        return set(), set()
    trial = _Trial(model, graph, input_shape, groups)
    # A cut after which sizes do not fit shows soonest.
    running = _passing(list(groups), trial.runs)
    equal = _passing(running, trial.agrees)
    return set(equal), set(running) - set(equal)


def _passing(names: list[str], passes: Callable[[list[str]], bool]) -> list[str]:
    """Return the names that pass together: all are tried at once, and those of a set that fails in halves."""
    if not names or passes(names):
        return names
    if len(names) == 1:
        return []
    half = len(names) // 2
    return [*_passing(names[:half], passes), *_passing(names[half:], passes)]


class _Trial:
    """A network of which a random half of the channels of some groups is cut out or masked."""

    def __init__(self, model: nn.Module, graph: fx.Graph, input_shape: tuple[int, int, int], groups: Groups) -> None:
        self._model = model
        self._graph = graph
        self._paths = {node.name: str(node.target) for node in graph.nodes}
        self._gone = {
            root: _half_of(members, width(model.get_submodule(root), inputs=False)) for root, members in groups.items()
        }
        self._input_shape, self._sizes = self._for_sizes(input_shape)
        self._numbers: fx.GraphModule | None = None

    def _for_sizes(self, input_shape: tuple[int, int, int]) -> tuple[tuple[int, int, int], fx.GraphModule | None]:
        """Return the smallest input that the network takes, and a form of it that shows cheaply which sizes fit.

        There is no such form of a network that needs data at the full size.
        """
        form = _without_norms(assemble(shared_copy(self._model), self._graph, {}))
        channels, rows, columns = input_shape
        for shape in ((channels, rows // part, columns // part) for part in _SMALLER):
            if min(shape[1:]) >= _SMALLEST_PIXELS and _runs(form, shape):
                return shape, form
        form = _without_norms(assemble(without_data(self._model), self._graph, {}).to("meta"))
        return input_shape, form if _runs(form, input_shape) else None

    def runs(self, roots: list[str]) -> bool:
        """Whether the network still runs after a cut, as far as that can be told cheaply."""
        if self._sizes is None:
            return True
        with _replaced(self._sizes, self._cut(self._sizes, roots)):
            return _runs(self._sizes, self._input_shape)

    def agrees(self, roots: list[str]) -> bool:
        """Whether cutting gives what masking gives, for every reader."""
        if self._numbers is None:
            self._numbers = assemble(randomised_copy(self._model), self._graph, {}).cpu().double()
        x = torch.randn(1, *self._input_shape, generator=torch.Generator().manual_seed(0)).double()
        try:
            with torch.no_grad():
                with _replaced(self._numbers, self._masked(self._numbers, roots)):
                    expected = self._numbers.forward(x)
                with _replaced(self._numbers, self._cut(self._numbers, roots)):
                    found = self._numbers.forward(x)
        except Exception:  # noqa: BLE001 - as above
            return False
        return difference(found, expected, _TOLERANCE) is None

    def _masked(self, form: nn.Module, roots: list[str]) -> dict[str, nn.Module]:
        """Return the readers of what goes, without its weights, by path."""
        changed: dict[str, nn.Module] = {}
        for (name, reads), gone in self._together(roots).items():
            if reads:
                path = self._paths[name]
                layer = copy.deepcopy(form.get_submodule(path))
                layer.weight.data[:, gone] = 0  # type: ignore[operator]
                changed[path] = layer
        return changed

    def _cut(self, form: nn.Module, roots: list[str]) -> dict[str, nn.Module]:
        """Return the layers that hold what goes, without it, by path."""
        gone = self._together(roots)
        changed: dict[str, nn.Module] = {}
        for name in {name for name, _ in gone}:
            layer = form.get_submodule(self._paths[name])
            inputs, outputs = (
                _rest(width(layer, reads), gone[name, reads]) if (name, reads) in gone else None
                for reads in (True, False)
            )
            cut = slice_channels(layer, inputs, outputs).eval()
            changed[self._paths[name]] = _SameWidth(width(cut, inputs=False)) if isinstance(layer, _SameWidth) else cut
        return changed

    def _together(self, roots: list[str]) -> dict[tuple[str, bool], list[int]]:
        gone: dict[tuple[str, bool], list[int]] = {}
        for root in roots:
            for place, at in self._gone[root].items():
                gone.setdefault(place, []).extend(at)
        return gone


def _runs(form: fx.GraphModule, shape: tuple[int, int, int]) -> bool:
    device = next(form.parameters()).device
    with device, torch.no_grad():
        try:
            # Called as a module, it would print where it fails.
            form.forward(torch.zeros(2, *shape))
        except Exception:  # noqa: BLE001 - of any code of the user's
            return False
    return True


def _without_norms(form: fx.GraphModule) -> fx.GraphModule:
    for path, part in list(form.named_modules()):
        if is_exact_layer(part, nn.BatchNorm2d):
            form.set_submodule(path, _SameWidth(part.num_features))
    return form


class _SameWidth(nn.BatchNorm2d):
    """What a normalisation does to sizes; on tensors without data, PyTorch's own takes a hundred times as long."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False, track_running_stats=False, device="meta")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x``, ``[N, num_features, H, W]``."""
        if x.ndim != 4 or x.shape[1] != self.num_features:
            raise ValueError("another number of channels")
        return x


@contextmanager
def _replaced(form: nn.Module, modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Put modules in place of others for a while."""
    before = {path: form.get_submodule(path) for path in modules}
    for path, module in modules.items():
        form.set_submodule(path, module)
    try:
        yield
    finally:
        for path, module in before.items():
            form.set_submodule(path, module)


def _half_of(members: tuple[Member, ...], channels: int) -> dict[tuple[str, bool], list[int]]:
    """Return the positions of a random half of a group's channels, by node and side of it."""
    order = torch.randperm(channels, generator=torch.Generator().manual_seed(0)).tolist()
    half = set(order[: channels // 2])
    return {
        (member.node, member.reads): [p for p, c in zip(member.positions, member.channels, strict=True) if c in half]
        for member in members
    }


def _rest(size: int, gone: list[int]) -> torch.Tensor:
    away = set(gone)
    return torch.tensor([i for i in range(size) if i not in away], device="cpu")
