"""Registries: what can be asked for by name, from AutoGate itself and from packages that are installed with it.

A package adds to a registry by an entry point, whose name is the name of the item it registers::

    [project.entry-points."autogate.families"]
    half = "my_package.half"

Importing ``my_package.half`` must register ``half``, with the registry's decorator. Built-in items and items that the
running program registers itself need no entry point. A package that fails is reported in one line, which names it, and
leaves all else as it is.
"""

from __future__ import annotations

import importlib
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Generic, TypeVar

from autogate.errors import AutoGateError
from autogate.system.messages import one_line, suggest

T = TypeVar("T")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_logger = logging.getLogger("autogate")


@dataclass(frozen=True)
class Plugin:
    """An entry point of an installed package.

    Attributes:
        kind: What it adds, such as ``gate family``.
        name: Name of the item.
        package: Name of the distribution.
        version: Version of the distribution.
        error: Why it cannot be used, on one line; None if it can.
    """

    kind: str
    name: str
    package: str
    version: str
    error: str | None

    @property
    def warning(self) -> str | None:
        """The line that is shown to users where the plug-in cannot be used."""
        if self.error is None:
            return None
        return (
            f"{self.kind} {self.name!r} of package {self.package} {self.version} cannot be used: {self.error}; "
            f"repair it, or remove it with `pip uninstall {self.package}`"
        )


class Registry(Mapping[str, T], Generic[T]):
    """Items of one kind by name: built-in ones in their order, then those of the program and of packages.

    Packages are looked at when all items, or one that is not built in, are asked for.

    Args:
        kind: What an item is, in messages, such as ``gate family``.
        group: Group of the entry points, such as ``autogate.families``.
        error: Error of unknown and unusable names.
        built_in: Modules to import for the built-in items, in the order of the items.
    """

    def __init__(self, kind: str, group: str, error: type[AutoGateError], built_in: Sequence[str] = ()) -> None:
        self.kind = kind
        self.group = group
        self.error = error
        self._built_in = tuple(built_in)
        self._items: dict[str, T] = {}
        self._origins: dict[str, str] = {}
        self._plugins: list[Plugin] = []
        self._lock = threading.RLock()
        self._built_in_loaded = self._plugins_loaded = False

    def register(self, name: object, item: T, origin: str) -> None:
        """Add an item.

        Args:
            name: Its name: lower-case letters, digits and underscores.
            item: The item.
            origin: Module and name of its class; the same class may be registered again, as notebooks do.

        Raises:
            AutoGateError: Of the registry's type, if the name is taken or malformed.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise self.error(f"{self.kind}: a name must be like my_name, not {name!r}")
        with self._lock:
            if not self._is_built_in(origin):
                self._load_built_in()
            if name in self._items and self._origins[name] != origin:
                raise self.error(
                    f"the name {name!r} is taken by the {self.kind} {self._origins[name]}; choose another name"
                )
            self._items[name] = item
            self._origins[name] = origin

    def find(self, name: str) -> T:
        """Return the item called ``name``; packages are only looked at if it is not built in.

        Raises:
            AutoGateError: Of the registry's type, if there is none, with the closest name, or if its package is broken.
        """
        with self._lock:
            self._load_built_in()
            if name not in self._items:
                self._load_plugins()
            if name in self._items:
                return self._items[name]
            for plugin in self._plugins:
                if plugin.name == name and plugin.warning is not None:
                    raise self.error(plugin.warning)
            close = suggest(name, self._items)
            hint = f"; {close}" if close else ""
            raise self.error(f"unknown {self.kind} {name!r}{hint} (known: {', '.join(self._items)})")

    def plugins(self) -> tuple[Plugin, ...]:
        """Return all entry points of the group, usable or not, by package and name."""
        with self._lock:
            self._load_plugins()
            return tuple(self._plugins)

    def built_in(self) -> tuple[str, ...]:
        """Return the names of the items that come with AutoGate, in their order."""
        with self._lock:
            self._load_built_in()
            return tuple(name for name in self._items if self._is_built_in(self._origins[name]))

    def __getitem__(self, name: str) -> T:
        with self._lock:
            self._load_plugins()
            return self._items[name]

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            self._load_plugins()
            return iter(tuple(self._items))

    def __len__(self) -> int:
        with self._lock:
            self._load_plugins()
            return len(self._items)

    def _is_built_in(self, origin: str) -> bool:
        return any(origin.startswith(f"{module}.") for module in self._built_in)

    def _load_built_in(self) -> None:
        if self._built_in_loaded:
            return
        self._built_in_loaded = True
        for module in self._built_in:
            importlib.import_module(module)
        # One module may import another one: the order is that of the modules all the same.
        order = [
            name for module in self._built_in for name in self._items if self._origins[name].startswith(f"{module}.")
        ]
        self._items = {name: self._items[name] for name in dict.fromkeys([*order, *self._items])}

    def _load_plugins(self) -> None:
        self._load_built_in()
        if self._plugins_loaded:
            return
        self._plugins_loaded = True
        for entry in sorted(metadata.entry_points(group=self.group), key=_order):
            package, version = _distribution(entry)
            plugin = Plugin(self.kind, entry.name, package, version, self._load(entry))
            self._plugins.append(plugin)
            if plugin.warning is not None:
                _logger.warning("%s", plugin.warning)

    def _load(self, entry: metadata.EntryPoint) -> str | None:
        """Load an entry point; return why that fails, or None. What it registered before it failed is taken out."""
        if entry.name in self._items and _top(self._origins[entry.name]) != _top(entry.value):
            return f"the name is taken by the {self.kind} {self._origins[entry.name]}"
        before = dict(self._items), dict(self._origins)
        try:
            entry.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # importing runs the package's code, which may fail in any way, or exit
            self._items, self._origins = before
            return one_line(error) if isinstance(error, self.error) else one_line(error, with_type=True)
        if entry.name not in self._items:
            return f"{entry.value} registers no {self.kind} of that name"
        return None


def class_origin(kind: type) -> str:
    """Return module and name of a class, by which a registry tells whether it is registered again."""
    return f"{kind.__module__}.{kind.__qualname__}"


def registering(registry: Registry[T], base: type[T]) -> Callable[[type[T]], type[T]]:
    """Return a class decorator that registers an instance of the class under the class's ``name``.

    Raises:
        AutoGateError: Of the registry's type, if the class is not of the kind, lacks methods, or its name is taken.
    """

    def register(kind: type[T]) -> type[T]:
        if not (isinstance(kind, type) and issubclass(kind, base)):
            raise registry.error(f"a {registry.kind} must be a class that inherits {base.__name__}, not {kind!r:.60}")
        try:
            item = kind()
        except TypeError as error:
            raise registry.error(f"the {registry.kind} {kind.__name__} is incomplete: {one_line(error)}") from None
        registry.register(getattr(item, "name", None), item, class_origin(kind))
        return kind

    return register


def _top(path: str) -> str:
    return path.partition(":")[0].partition(".")[0].strip()


def _distribution(entry: metadata.EntryPoint) -> tuple[str, str]:
    facts = None if entry.dist is None else entry.dist.metadata
    return (str(facts["Name"]), str(facts["Version"])) if facts is not None else ("unknown", "")


def _order(entry: metadata.EntryPoint) -> tuple[str, str]:
    return _distribution(entry)[0], entry.name
