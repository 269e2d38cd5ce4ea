"""The configuration of a search: all its settings and the rules between them; stored with the study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from pydantic import ConfigDict, ValidationError, model_validator

from autogate.errors import AutoGateError
from autogate.goals.brought import is_brought
from autogate.goals.goal import Budgets, Goal
from autogate.goals.option import changeable, check_names, in_words, settings_of, shown
from autogate.goals.problem import ProblemSettings
from autogate.goals.procedure import ProcedureSettings, check_sampler
from autogate.system import is_text, printable


class SearchConfig(ProcedureSettings, ProblemSettings):  # Pydantic takes the fields of the last base first.
    """Everything a search depends on, except the code and the machine.

    A field of a base is all there is to write for a new setting: the options of the commands, the keys of a
    configuration file, the rules of a resume, the keywords of the Python functions and the reference page are made
    from it. After a change, ``python -m tools.settings`` writes the latter two.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="after")
    def _check(self) -> SearchConfig:
        """Check what no field can check alone; the goal is parsed here."""
        for name, value in self:
            if isinstance(value, str) and not is_text(value):
                flag = settings_of(type(self))[name].flag
                raise ValueError(
                    f"{flag} {printable(value)} holds bytes that are no text and cannot be stored; rename it, or lead "
                    "a link to it"
                )
        _ = self.goal
        check_sampler(self.sampler)
        if self.fresh_profile and self.profile is not None:
            raise ValueError("--fresh-profile and --profile exclude each other; leave one out")
        if self.score_quantized and self.dtype != "int8":
            raise ValueError(f"--score-quantized needs --dtype int8, not {self.dtype}")
        if self.backend == "ray" and self.workers == 0:
            raise ValueError("--workers must be at least 1 with --backend ray, not 0")
        if self.backend != "ray" and (self.ray_address is not None or self.gpus_per_trial is not None):
            raise ValueError("--ray-address and --gpus-per-trial go with --backend ray")
        if self.backend == "ray" and self.train_threads is not None:
            raise ValueError("--train-threads goes with --backend local; with ray, give --cpus-per-trial")
        return self

    @cached_property
    def goal(self) -> Goal:
        """What the search is for."""
        return Goal.parse(
            latency_budget=self.latency_budget,
            max_drop=self.max_drop,
            pareto=self.pareto,
            memory_budget=self.memory_budget,
            energy_budget=self.energy_budget,
        )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> SearchConfig:
        """Return a copy with other values; its goal is parsed from them."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("goal", None)
        return copied

    @property
    def budgets(self) -> Budgets:
        """What a delivered network may take."""
        return self.goal.budgets

    @property
    def brought(self) -> dict[str, bool]:
        """Whether network and data were passed as objects, by the setting; no other process has those."""
        return {"model": is_brought(self.model), "data": is_brought(self.data)}

    @property
    def has_team(self) -> bool:
        """Whether other processes than the one that drives the study train."""
        return self.backend == "ray" or self.workers not in (None, 1)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON-ready data."""
        return self.model_dump(mode="json")

    def changed(self, other: SearchConfig) -> list[str]:
        """Return the names of the settings that differ."""
        ours, theirs = self.to_json(), other.to_json()
        return [key for key in ours if ours[key] != theirs[key]]

    def differences(self, other: SearchConfig, but: Iterable[str] = ()) -> list[str]:
        """Return one line per setting that differs and may not change within a study; ``but`` for these."""
        ours, theirs = self.to_json(), other.to_json()
        changed = [key for key in self.changed(other) if key not in (*FREE, *but)]
        return [f"{key} is {shown(theirs[key])} there and {shown(ours[key])} here" for key in changed]


# Settings that a resume may change: at will, with another goal, and with another target.
FREE = changeable(SearchConfig, "free")
BUDGETS = changeable(SearchConfig, "goal")
TARGET = changeable(SearchConfig, "target")


def make_config(**settings: Any) -> SearchConfig:
    """Return a checked configuration.

    Raises:
        AutoGateError: If a setting is unknown or out of range; says which.
    """
    check_names(settings, settings_of(SearchConfig))
    try:
        return SearchConfig(**settings)
    except ValidationError as error:
        raise AutoGateError(in_words(error, SearchConfig)) from None
