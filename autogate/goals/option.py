"""What a setting says of itself, read by the command line, configuration files, Python functions and the reference.

A setting is one annotated field of a pydantic model::

    batch_size: Annotated[int, Field(gt=0, le=65_536), Option("Images per call on the target.", "target")] = 1

Type, default and bounds are those of the field; :class:`Option` says the rest.
"""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from autogate.errors import AutoGateError, UnitError
from autogate.system import suggest

Group = Literal["goal", "network", "data", "target", "search", "training", "study"]
GROUPS: tuple[Group, ...] = get_args(Group)
Resume = Literal["never", "free", "goal", "target"]
_KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


@dataclass(frozen=True)
class Option:
    """What a setting is for, besides its type, its default and its bounds.

    Attributes:
        help: One sentence for the user.
        group: Heading under which it is shown.
        unit: Unit of the value, such as ``s``; None where there is none or the text carries it.
        on_resume: Whether a resume may change it: ``never``; ``free``, as no accuracy or latency depends on it;
            ``goal``, then all trials are judged again; ``target``, then latencies are also predicted again.
        commands: Commands that take it; ``resume`` follows from ``on_resume``.
        flag: Name on the command line without dashes, such as ``timeout``; None for the field's name.
        parse: Makes the value of what is typed, such as seconds of ``30m``; None if the type suffices.
        default_text: The default as it would be typed, if that differs from the field's default.
        default_help: What applies without it, in words; None to show the default itself.
        resume_help: What it means to a resume, if that differs from ``help``.
        positional: Whether the Python functions name it in their own signature, as they also accept objects.
    """

    help: str
    group: Group
    unit: str | None = None
    on_resume: Resume = "never"
    commands: tuple[str, ...] = ("search",)
    flag: str | None = None
    parse: Callable[[str], Any] | None = None
    default_text: str | None = None
    default_help: str | None = None
    resume_help: str | None = None
    positional: bool = False


@dataclass(frozen=True)
class Setting:
    """A setting of a model: its option together with what the field says.

    Attributes:
        name: Name of the field.
        option: What the field says of itself.
        type: Type of the value, without bounds and without None.
        optional: Whether the value may be None.
        default: The value without it.
        bounds: Lower and upper bounds by pydantic's names: ``gt``, ``ge``, ``lt``, ``le``.
    """

    name: str
    option: Option
    type: Any
    optional: bool
    default: Any
    bounds: Mapping[str, float]

    @property
    def flag(self) -> str:
        """Name on the command line, such as ``--batch-size``."""
        return f"--{self.option.flag or self.name.replace('_', '-')}"

    @property
    def key(self) -> str:
        """Name in a configuration file, such as ``batch_size``."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is PydanticUndefined

    @property
    def choices(self) -> tuple[str, ...]:
        """The values it can have, if they are few; else none."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def is_text(self) -> bool:
        """Whether a user writes it as a text, even in a configuration file."""
        return self.option.parse is not None or self.type is str or bool(self.choices)

    @property
    def kind(self) -> str:
        """What the value must be, in words."""
        if self.choices:
            return _listed(self.choices)
        if get_origin(self.type) is tuple:
            return "numbers, one per channel"
        if isinstance(self.type, types.UnionType):
            return "a whole number, or height and width"
        return _KINDS.get(self.type, "a mapping")

    def parse(self, text: str) -> Any:
        """Return the value of what was typed.

        Raises:
            AutoGateError: If the text is none of the choices, or cannot be parsed; names the flag.
        """
        if self.choices and text not in self.choices:
            raise AutoGateError(f"{self.flag} must be {self.kind}, not {text!r}")
        if self.option.parse is None:
            return text
        try:
            return self.option.parse(text)
        except UnitError as error:
            raise UnitError(f"{self.flag}: {error}") from None


@functools.cache
def settings_of(model: type[BaseModel]) -> dict[str, Setting]:
    """Return the settings that a model declares, by group and then in the order of the fields."""
    found = [_setting(name, info) for name, info in model.model_fields.items()]
    return {s.name: s for s in sorted(found, key=lambda setting: GROUPS.index(setting.option.group))}


def taken_by(model: type[BaseModel], command: str) -> dict[str, Setting]:
    """Return the settings that a command of this name takes; for ``resume``, those that it may change."""
    return {
        name: setting
        for name, setting in settings_of(model).items()
        if (setting.option.on_resume != "never" if command == "resume" else command in setting.option.commands)
    }


def changeable(model: type[BaseModel], how: Resume) -> tuple[str, ...]:
    """Return the names of the settings that a resume may change in this way."""
    return tuple(name for name, setting in settings_of(model).items() if setting.option.on_resume == how)


def check_names(names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names of settings that are not known.

    Raises:
        AutoGateError: Names the first unknown setting, and the closest known one or all of them.
    """
    known = list(known)
    for name in names:
        if name not in known:
            hint = suggest(name, known) or f"known: {', '.join(known)}"
            raise AutoGateError(f"unknown setting {name!r}; {hint}")


def in_words(error: ValidationError, model: type[BaseModel]) -> str:
    """Return one line that says which setting is wrong, and what it must be."""
    first = error.errors()[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if not first["loc"]:
        return "the settings must be names with values"
    setting = settings_of(model)[str(first["loc"][0])]
    if first["type"] == "missing" and len(first["loc"]) == 1:
        return f"{setting.flag} is missing"
    value, where = first["input"], setting.flag
    if len(first["loc"]) > 1 and not isinstance(value, tuple | list):
        where = f"each number of {setting.flag}"
    return f"{where} must be {_demand(setting, first['type'], first.get('ctx', {}))}, not {shown(value)}"


def _demand(setting: Setting, kind: str, context: Mapping[str, Any]) -> str:
    if {"ge", "le"} <= set(setting.bounds) and kind in ("greater_than_equal", "less_than_equal"):
        return f"between {setting.bounds['ge']} and {setting.bounds['le']}"
    if kind == "greater_than":
        return "above zero" if context["gt"] == 0 else f"above {context['gt']:g}"
    if kind == "greater_than_equal":
        return "zero or more" if context["ge"] == 0 else f"at least {context['ge']:g}"
    if kind == "less_than_equal":
        return f"at most {shown(context['le'])}"
    return "a finite number" if kind == "finite_number" else setting.kind


def _setting(name: str, info: FieldInfo) -> Setting:
    option = next((part for part in info.metadata if isinstance(part, Option)), None)
    if option is None:
        raise TypeError(f"field {name!r} has no Option")
    members = get_args(info.annotation) if get_origin(info.annotation) in (Union, types.UnionType) else ()
    kinds = [member for member in members if member is not type(None)] or [info.annotation]
    kind = functools.reduce(operator.or_, map(_plain, kinds))
    bounds = {key: value for part in info.metadata for key, value in _bounds(part)}
    return Setting(name, option, kind, type(None) in members, info.default, bounds)


def _bounds(part: object) -> list[tuple[str, float]]:
    return [(key, getattr(part, key)) for key in ("gt", "ge", "lt", "le") if hasattr(part, key)]


def _plain(kind: Any) -> Any:
    """Return a type without annotations, in the members of a tuple too."""
    if get_origin(kind) is Annotated:
        return get_args(kind)[0]
    if get_origin(kind) is not tuple:
        return kind
    return types.GenericAlias(tuple, tuple(part if part is ... else _plain(part) for part in get_args(kind)))


def _listed(words: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def shown(value: object) -> str:
    """Return a value as it stands in a message, at most 60 characters long."""
    text = f"{value:.10g}" if isinstance(value, float) else " ".join(repr(value).split())
    return text if len(text) < 60 else text[:57] + "..."
