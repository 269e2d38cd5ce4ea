"""Options of the commands, made from the model of settings; and their help, grouped as the settings are."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import typer
import yaml
from pydantic import BaseModel
from typer.core import TyperCommand, TyperGroup

from autogate.errors import AutoGateError
from autogate.goals import SearchConfig, Setting, settings_of, taken_by
from autogate.system import read_yaml, suggest, why_unreadable

Result = TypeVar("Result")
# What a configuration file cannot say.
_TYPED_ONLY = ("config", "output", "dry_run")


def takes_settings(
    command: str, *, unless_given: str | None = None, model: type[BaseModel] = SearchConfig
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Replace ``**settings`` in the signature of a command by the options that the command takes.

    The command function gets them as they were typed; :func:`parsed` makes values of them. A setting that the
    function names itself is left to it.

    Args:
        command: Name of the command in :attr:`autogate.goals.Option.commands`, or ``resume``.
        unless_given: What holds for a setting that is not given, such as ``unchanged``; None for its default.
        model: The model that declares the settings.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        signature = inspect.signature(function, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        named = {p.name for p in own}
        made = [
            _parameter(setting, command, unless_given)
            for name, setting in taken_by(model, command).items()
            if name not in named
        ]
        # The order in the help is that of the headings, so options may come before an argument without a default.
        own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]

        @functools.wraps(function)
        def run(**given: Any) -> Result:
            return function(**given)

        run.__signature__ = signature.replace(parameters=[*made, *own])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in (*made, *own)}
        return run

    return decorate


def parsed(options: Mapping[str, Any], model: type[BaseModel] = SearchConfig) -> dict[str, Any]:
    """Return the settings among ``options`` that were given, with texts such as ``30m`` as values.

    Raises:
        AutoGateError: If a text is none of the choices, or cannot be parsed; names the flag.
    """
    known = settings_of(model)
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    return {
        name: known[name].parse(value) if isinstance(value, str) else value
        for name, value in given.items()
        if name in known
    }


def merge_config(context: typer.Context, path: Path | None, model: type[BaseModel] = SearchConfig) -> dict[str, Any]:
    """Return the options: what was typed, else what the YAML file says, else the defaults.

    Raises:
        AutoGateError: If the file cannot be read or names an unknown option.
    """
    options = dict(context.params)
    if path is None:
        return options
    try:
        stored = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise AutoGateError(f"cannot read {path}: {why_unreadable(error, 150)}") from None
    if not isinstance(stored, dict):
        raise AutoGateError(f"{path} must hold options, such as `model: resnet20`")
    known = settings_of(model)
    names = {known[name].key if name in known else name: name for name in options if name not in _TYPED_ONLY}
    for key, value in stored.items():
        name = names.get(str(key).replace("-", "_"))
        if name is None:
            hint = "; ".join(filter(None, (suggest(str(key), names), "see autogate search --help")))
            raise AutoGateError(f"{path}: unknown option {key!r}; {hint}")
        source = context.get_parameter_source(name)
        if value is not None and (source is None or source.name != "COMMANDLINE"):
            setting = known.get(name)
            if not isinstance(value, str) and (setting is None or setting.is_text or setting.option.positional):
                raise AutoGateError(f"{path}: {key} must be a text, not {value!r}; put it in quotes")
            options[name] = value
    return options


def _parameter(setting: Setting, command: str, unless_given: str | None) -> inspect.Parameter:
    """Return a setting as a parameter of a command."""
    option = setting.option
    text = setting.is_text or option.positional or not isinstance(setting.type, type)
    kind: Any = bool if setting.type is bool else str if text else setting.type
    default = option.default_text or (None if setting.required else setting.default)
    if unless_given is not None:
        default = False if kind is bool else None
    metavar = f"[{'|'.join(setting.choices)}]" if setting.choices else None if text else _unit(option.unit)
    info = typer.Option(
        default,
        setting.flag,
        help=_help(setting, command, unless_given),
        rich_help_panel=option.group.capitalize(),
        metavar=metavar,
    )
    annotation = kind if kind is bool else kind | None
    return inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=annotation)


def _unit(unit: str | None) -> str | None:
    return None if unit is None else f"<{unit}>"


def _help(setting: Setting, command: str, unless_given: str | None) -> str:
    option = setting.option
    if command == "resume" and option.resume_help is not None:
        return option.resume_help
    otherwise = unless_given or (option.default_help if setting.default is None else None)
    if otherwise is None or setting.type is bool:
        return option.help
    return f"{option.help.removesuffix('.')} [default: {otherwise}]."


class Command(TyperCommand):
    """A command whose help shows options under the headings of their groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then options by group, then those without one."""
        _write_options(self, ctx, formatter)


class CommandGroup(TyperGroup):
    """A command with sub-commands, whose help shows its own options under the headings of their groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write options by group, those without one, and the sub-commands."""
        _write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def _write_options(command: TyperCommand | TyperGroup, context: Any, formatter: Any) -> None:
    sections: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if record is not None:
            heading = getattr(param, "rich_help_panel", None)
            plain = "Arguments" if param.param_type_name == "argument" else "Options"
            sections.setdefault(heading or plain, []).append(record)
    # What has no heading comes last, and the arguments first.
    order = sorted(sections, key=lambda heading: {"Arguments": 0, "Options": 2}.get(heading, 1))
    for heading in order:
        with formatter.section(heading):
            formatter.write_dl(sections[heading])
