"""One function per command; the command line calls these and nothing else.

Everything heavy is imported where it is used, so that reading a study loads no torch.
"""

from __future__ import annotations

from autogate.api.devices import doctor, explain, measure, predict, profile, validate_profile
from autogate.api.networks import sensitivity, sites, spaces
from autogate.api.searching import dry_run, export, pareto, resume, search, show, studies
from autogate.study import Study

__all__ = [
    "Study",
    "doctor",
    "dry_run",
    "explain",
    "export",
    "measure",
    "pareto",
    "predict",
    "profile",
    "resume",
    "search",
    "sensitivity",
    "show",
    "sites",
    "spaces",
    "studies",
    "validate_profile",
]
