"""Python functions that take the settings of a search as keywords."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

from autogate.goals import SearchConfig, taken_by

F = TypeVar("F", bound=Callable[..., object])


def with_settings(command: str) -> Callable[[F], F]:
    """Show the settings that a command takes in the signature of a function, for ``help()`` and notebooks.

    Type checkers and editors read the same names from ``Unpack[...]`` of the function's ``**settings``.

    Args:
        command: Name of the command whose settings the function takes; those of ``resume`` have no default, as what
            is not given stays.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        named = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        made = [
            inspect.Parameter(
                setting.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=... if command == "resume" else setting.default,
                annotation=setting.type | None if setting.optional else setting.type,
            )
            for setting in taken_by(SearchConfig, command).values()
            if not setting.option.positional
        ]
        function.__signature__ = signature.replace(parameters=[*named, *made])  # type: ignore[attr-defined]
        return function

    return decorate
