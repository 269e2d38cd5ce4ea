"""AutoGate: search gates for CNNs under a latency budget that is measured on your device.

Names are resolved when they are first used, so that ``import autogate`` loads no torch.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autogate.api import (
        Study,
        apply,
        compact,
        copy_study,
        delete_study,
        describe_study,
        doctor,
        dry_run,
        explain,
        export,
        export_study,
        gate_loss,
        history,
        import_study,
        measure,
        pareto,
        predict,
        predict_many,
        profile,
        replay,
        resume,
        search,
        sensitivity,
        show,
        sites,
        spaces,
        studies,
        upgrade_studies,
        vacuum_studies,
        validate_profile,
        worker,
    )
    from autogate.errors import AutoGateError, BudgetInfeasibleError
    from autogate.policy import Gate, Policy

_HOMES = {
    "AutoGateError": "autogate.errors",
    "BudgetInfeasibleError": "autogate.errors",
    "Gate": "autogate.policy",
    "Policy": "autogate.policy",
    "apply": "autogate.api.gated_networks",
    "compact": "autogate.api.gated_networks",
    "gate_loss": "autogate.api.gated_networks",
}

__all__ = [
    "AutoGateError",
    "BudgetInfeasibleError",
    "Gate",
    "Policy",
    "Study",
    "apply",
    "compact",
    "copy_study",
    "delete_study",
    "describe_study",
    "doctor",
    "dry_run",
    "explain",
    "export",
    "export_study",
    "gate_loss",
    "history",
    "import_study",
    "measure",
    "pareto",
    "predict",
    "predict_many",
    "profile",
    "replay",
    "resume",
    "search",
    "sensitivity",
    "show",
    "sites",
    "spaces",
    "studies",
    "upgrade_studies",
    "vacuum_studies",
    "validate_profile",
    "worker",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(_HOMES.get(name, "autogate.api")), name)
    raise AttributeError(f"module 'autogate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


class _Package(ModuleType):
    """This package, where some sub-packages have the name of a function."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing the package autogate.search must not hide the function autogate.search.
        if name not in __all__ or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
