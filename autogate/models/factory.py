"""Call a user's own factory, written ``package.module:factory``."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autogate.errors import AutoGateError
from autogate.system import one_line, suggest

_SPEC = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_factory(text: str) -> bool:
    """Return whether ``text`` has the form ``package.module:factory``."""
    return _SPEC.fullmatch(text) is not None


def call_factory(spec: str, error: type[AutoGateError], **offered: Any) -> Any:
    """Import a factory and call it with those of the offered arguments it accepts.

    The current directory can be imported from while this runs, and is not left behind in ``sys.path``.

    Args:
        spec: The factory, as ``package.module:factory``.
        error: The error to raise when it cannot be imported or called.
        offered: Arguments by name; one whose value is None is not passed.

    Raises:
        AutoGateError: Of the type ``error``, if the import or the call fails.
    """
    with _current_directory_importable():
        factory = _import(spec, error)
        given = {key: value for key, value in offered.items() if value is not None and _accepts(factory, key)}
        try:
            return factory(**given)
        except AutoGateError:
            raise
        except Exception as problem:
            raise error(f"{spec} failed when called: {one_line(problem, with_type=True)}; fix the factory") from problem


@contextmanager
def _current_directory_importable() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(here)


def _import(spec: str, error: type[AutoGateError]) -> Callable[..., Any]:
    module_name, _, name = spec.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as problem:  # importing runs the user's code, which may fail in any way
        reason = one_line(problem, with_type=True)
        raise error(f"cannot import {module_name!r} for {spec} ({reason}); run where it can be imported") from problem
    factory = getattr(module, name, None)
    if not callable(factory):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        hint = suggest(name, public) or "name a function or class of that module"
        raise error(f"{module_name!r} has no callable {name!r}; {hint}")
    return factory  # type: ignore[no-any-return]


def _accepts(factory: Callable[..., Any], name: str) -> bool:
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return False
    if name in parameters:
        return parameters[name].kind is not inspect.Parameter.POSITIONAL_ONLY
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
