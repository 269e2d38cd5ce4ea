"""``autogate doctor``."""

from __future__ import annotations

import autogate
from autogate.cli.options import Format, FormatOption, Storage
from autogate.cli.printing import console, print_facts, print_json


def command(storage: Storage = None, output: FormatOption = Format.table) -> None:
    """Show versions, devices and whether the machine is quiet enough to measure."""
    facts = autogate.doctor(storage=storage).to_json()
    if output is Format.json:
        print_json(facts)
        return
    rows = [("python", facts["python"]), ("cpu", facts["cpu"]), ("gpus", ", ".join(facts["gpus"]) or "none")]
    rows += [(name, version or "not installed") for name, version in facts["packages"].items()]
    rows += [
        (f"{plugin['kind']} {plugin['name']}", f"{plugin['package']} {plugin['version']}{_broken(plugin['error'])}")
        for plugin in facts["plugins"]
    ]
    known = facts["studies"]
    rows.append(("studies", known if isinstance(known, str) else ", ".join(known) or "none"))
    print_facts("this machine", rows)
    if not facts["quiet"]:
        busy = f"{facts['others_cores']:.1f} cores are busy" if "others_cores" in facts else f"load {facts['load']:.1f}"
        console().print(f"{busy}: stop other programs before measuring, they disturb it")


def _broken(error: str | None) -> str:
    return "" if error is None else f": cannot be used: {error}"
