"""A tracer of torch.fx that knows the shapes of a network's tensors and the defaults of its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import fx, nn
from torch.fx.proxy import Attribute

from autogate.sites.failures import untraceable_reason
from autogate.sites.in_place import InPlaceProxy
from autogate.sites.known_shapes import KnownShapes
from autogate.sites.layers import is_one_of

# How torch.fx names tensors that are no parameters.
_CONSTANT = "_tensor_constant"


class _KnownProxy(InPlaceProxy):
    """Answers what shapes alone decide: branches, loops over sizes, and numbers that Python needs at once."""

    tracer: Tracer

    def __getattr__(self, name: str) -> Attribute:
        return _KnownAttribute(self, name)

    def __len__(self) -> int:
        return self.tracer.length(self)

    def __int__(self) -> int:
        return int(self.tracer.number(self))

    def __index__(self) -> int:
        value = self.tracer.number(self)
        if not isinstance(value, int):
            raise TypeError(f"{type(value).__name__} is no integer")
        return value

    def __float__(self) -> float:
        return float(self.tracer.number(self))


class _KnownAttribute(Attribute, _KnownProxy):
    """An attribute such as ``x.shape``."""


class Tracer(fx.Tracer):
    """Opens every module except torch's modules, layers just like them, and those named in ``whole``.

    Args:
        shapes: What is known of the sizes in this network.
        whole: Paths of modules to call as a whole.

    Attributes:
        closed: Paths of further modules that cannot be opened, and why; with any of them, the graph is not to be used.
        steps: Operations by the module whose code asks for them.
    """

    def __init__(self, shapes: KnownShapes, whole: frozenset[str]) -> None:
        super().__init__()
        self.shapes = shapes
        self.whole = whole
        self.closed: dict[str, str] = {}
        self.steps: dict[str, list[tuple[str, Any]]] = {}
        self._entered: list[str] = [""]
        self._computes = False

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """Return the network as a function of its images alone, so that all other arguments have their defaults."""
        name = next(iter(inspect.signature(self.root.forward).parameters), "x")
        return partial(root_fn, self.root), [self.create_proxy("placeholder", name, (), {})]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the module is called as a whole."""
        return (
            module_qualified_name in self.whole
            or is_one_of(m, (nn.Conv2d, nn.BatchNorm2d, nn.Linear))
            or super().is_leaf_module(m, module_qualified_name)
        )

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Return what stands for the node's value in the user's code."""
        return _KnownProxy(node, self)

    def create_node(self, kind: str, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
        """Record an operation, and in which module it is."""
        self.steps.setdefault(self._entered[-1], []).append(step_of(kind, target))
        return super().create_node(kind, target, *args, **kwargs)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Open a module, or call it as a whole if it cannot be opened."""
        if self._computes:
            return forward(*args, **kwargs)
        path = self.path_of_module(m)
        self.steps.setdefault(self._entered[-1], []).append(("open", path))
        stack = self.module_stack.copy()
        self.steps.setdefault(path, [])
        self._entered.append(path)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception as error:  # any failure of the user's forward pass on values that are not there
            if path in self.closed or self.is_leaf_module(m, path):
                raise
            self.closed[path] = untraceable_reason(error)
            self.module_stack = stack
            # What was recorded of it stays in this graph, which is thrown away: the next one calls it as a whole.
            return self.create_proxy("call_module", path, args, kwargs)
        finally:
            self._entered.pop()

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Return a parameter's node, or the parameter itself where shapes are computed."""
        return attr_val if self._computes else super().getattr(attr, attr_val, parameter_proxy_cache)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Decide a branch that depends on shapes alone."""
        with self._computing():
            return bool(self.shapes.value(obj.node))

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """Return the elements of a tuple of known length."""
        return iter([obj[i] for i in range(self.length(obj))])  # type: ignore[index]

    def length(self, obj: fx.Proxy) -> int:
        """Return the length of a tuple."""
        with self._computing():
            return self.shapes.length(obj.node)

    def number(self, obj: fx.Proxy) -> Any:
        """Return a number that depends on shapes alone."""
        with self._computing():
            return self.shapes.value(obj.node)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Let modules compute instead of being recorded."""
        self._computes = True
        try:
            yield
        finally:
            self._computes = False


def step_of(kind: str, target: Any) -> tuple[str, Any]:
    """Return what an operation does, alike in every trace of a network.

    A tensor that the code makes anew in every pass is numbered by torch.fx, on and on.
    """
    return kind, _CONSTANT if kind == "get_attr" and str(target).startswith(_CONSTANT) else target
