"""The commands of ``autogate``, each of which is imported when it is used: the list itself is shown at once."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

# The first line of each command's own help.
COMMANDS = {
    "search": "Search gates under a latency budget, and measure the best.",
    "resume": "Continue a study: after an interruption, with further trials, another budget, or for another device.",
    "worker": "Train candidates of a study that another process runs; it can be stopped at any time.",
    "show": "Show a study, or one of its finalists: policy per site, cost columns, predicted and measured.",
    "pareto": "Show the front of a stored study, under its budgets or others, or for another device; trains nothing.",
    "export": "Write policy, weights and report of a finalist, and the network in the formats; verify and time them.",
    "measure": "Measure latency, peak memory and energy of an export beside its dense network, on this device.",
    "predict": "Predict the latency of a policy.",
    "explain": "Show where a network's time goes on a device, and which gates pay there, or why they do not.",
    "sensitivity": "Show how much accuracy gates at a single site or stage cost, by pruning ratio; trains no gate.",
    "replay": "Search a recorded study again with another sampler or seed; reuses its evaluations, trains nothing.",
    "sites": "List the places in a network where gates can stand.",
    "spaces": "List the search spaces that ship with AutoGate.",
    "doctor": "Show versions, devices and whether the machine is quiet enough to measure.",
    "profile": "Measure a network's units, dense and gated, on this device; needs neither data nor weights.",
    "studies": "List, show, delete, copy and watch the studies of a database; upgrade and clean it.",
}


class CommandList(TyperGroup):
    """The group of all commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=text) for name, text in COMMANDS.items()}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, or None if there is none of this name."""
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write name and purpose of each command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def load_command(name: str) -> Any:
    """Return a command or group of Typer: what the file of this name defines as ``command`` or ``app``."""
    from autogate.cli.settings import Command

    module = import_module(f"autogate.cli.{name}")
    if hasattr(module, "app"):
        loaded = typer.main.get_command(module.app)
    else:
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        alone.command(name, cls=Command)(module.command)
        loaded = typer.main.get_command(alone)
    loaded.name = name
    return loaded
