"""Which decisions of gates whose cost varies are timed; what lies between two of them is interpolated."""

from __future__ import annotations

from autogate.gates import get_family
from autogate.policy import Gate
from autogate.records import Setting, Site
from autogate.runtimes import get_runtime


def timed_decisions(site: Site, gate: Gate, setting: Setting) -> tuple[int | None, ...]:
    """Return the decisions of a gate that a profile times, lightest first; ``(None,)`` for a gate of fixed cost.

    In a runtime that builds networks slowly, where each decision is one more form, they are the ends and the middle.
    """
    options = get_family(gate.family).decisions(site, gate, setting.batch_size)
    if get_runtime(setting.runtime).builds_slowly and len(options) > 3:
        return options[0], options[(len(options) - 1) // 2], options[-1]
    return options
