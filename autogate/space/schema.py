"""The search space as users write it: a YAML file, checked when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from autogate.errors import SpaceError
from autogate.policy import GeneValue
from autogate.shipped import shipped

SCHEMA = "autogate.space/1"
FIRST_STAGE = "first_stage"
"""Gene value that stands for the width of the network's first stage, its narrowest."""


class GateOption(BaseModel):
    """One family a site may take, and the values each of its genes may take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    genes: dict[str, list[GeneValue]] = Field(default_factory=dict)

    @field_validator("genes")
    @classmethod
    def _has_values(cls, genes: dict[str, list[GeneValue]]) -> dict[str, list[GeneValue]]:
        for name, values in genes.items():
            if not values:
                raise ValueError(f"gene {name} has no values")
        return genes


class SiteOptions(BaseModel):
    """Options for each kind of site."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    block: list[GateOption] = Field(default_factory=list)
    map: list[GateOption] = Field(default_factory=list)


class TrainingOptions(BaseModel):
    """Values of the training knobs.

    Attributes:
        targeted_dropout: Rates that each family may be trained with: one list for all of them, or one by family.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    targeted_dropout: list[float] | dict[str, list[float]] = Field(default_factory=lambda: [1.0])

    @field_validator("targeted_dropout")
    @classmethod
    def _are_probabilities(cls, rates: list[float] | dict[str, list[float]]) -> list[float] | dict[str, list[float]]:
        for values in rates.values() if isinstance(rates, dict) else [rates]:
            if not values or not all(0.0 <= value <= 1.0 for value in values):
                raise ValueError("targeted_dropout takes probabilities in [0, 1]")
        return rates

    def rates_of(self, family: str) -> tuple[float, ...]:
        """Return the rates that ``family`` may be trained with."""
        rates = self.targeted_dropout
        return tuple(rates.get(family, [1.0]) if isinstance(rates, dict) else rates)


class SpaceSpec(BaseModel):
    """A search space, before it is bound to a network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["autogate.space/1"] = Field(alias="schema")
    description: str = ""
    tie: Literal["site", "stage", "network"] = "site"
    sites: SiteOptions
    training: TrainingOptions = Field(default_factory=TrainingOptions)

    def to_json(self) -> dict[str, Any]:
        """Return the space as JSON-ready data."""
        return self.model_dump(mode="json", by_alias=True)


def parse_space(data: Any, where: str) -> SpaceSpec:
    """Check ``data`` and return the space it describes.

    Raises:
        SpaceError: If a key is unknown or a value out of range; names the place in ``where``.
    """
    try:
        return SpaceSpec.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SpaceError(f"{where}: {place}: {first['msg']}; see `autogate spaces` for working examples") from None


def list_spaces() -> dict[str, SpaceSpec]:
    """Return the spaces that ship with AutoGate, by name."""
    paths = sorted(shipped("search_spaces").glob("*.yaml"))
    return {path.stem: load_space(str(path)) for path in paths}


def load_space(name: str) -> SpaceSpec:
    """Return the shipped space ``name``, or the one in the YAML file ``name``.

    Raises:
        SpaceError: If there is no such space or file, or it is not a valid space.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = shipped("search_spaces") / f"{name}.yaml"
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(p.stem for p in sorted(shipped("search_spaces").glob("*.yaml")))
        raise SpaceError(f"no search space {name!r}; give a YAML file or one of: {known}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpaceError(f"cannot read search space {name}: {' '.join(str(error).split())}") from None
    return parse_space(data, str(path.name))
