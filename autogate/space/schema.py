"""The search space as users write it: a YAML file, checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from autogate.errors import SpaceError
from autogate.policy import GeneValue
from autogate.records import SiteKind
from autogate.system import one_line, read_yaml, shipped_folder, why_unreadable

SCHEMA = "autogate.space/1"
FIRST_STAGE = "first_stage"
"""Gene value that stands for the width of the network's first stage, its narrowest."""


AUTO_STEP = "auto"
"""Says that the step between numbers of channels is to be found on the device."""


class FoundStep(BaseModel):
    """The step that was found on a device.

    Attributes:
        auto: Channels in one step.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    auto: int = Field(ge=1, strict=True)


class GateOption(BaseModel):
    """One family a site may take, and the values each of its genes may take.

    Attributes:
        family: The family.
        genes: Values of its genes; a gene that is not named keeps its default.
        place: At which of the sites it may stand: every one, every second block of equal width and resolution
            beginning with the second, or those of the named stages.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    genes: dict[str, list[GeneValue]] = Field(default_factory=dict)
    place: Literal["every", "alternate"] | list[str] = "every"

    @field_validator("genes")
    @classmethod
    def _has_values(cls, genes: dict[str, list[GeneValue]]) -> dict[str, list[GeneValue]]:
        for name, values in genes.items():
            if not values:
                raise ValueError(f"gene {name} has no values")
            if len(set(values)) < len(values):
                raise ValueError(f"gene {name} has a value twice")
        return genes

    @field_validator("place")
    @classmethod
    def _is_somewhere(cls, place: str | list[str]) -> str | list[str]:
        if not place:
            raise ValueError("no stage is named")
        return place


class SiteOptions(BaseModel):
    """Options for each kind of site."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    block: list[GateOption] = Field(default_factory=list)
    map: list[GateOption] = Field(default_factory=list)
    group: list[GateOption] = Field(default_factory=list)

    @field_validator("map", "group")
    @classmethod
    def _do_not_alternate(cls, options: list[GateOption]) -> list[GateOption]:
        if any(option.place == "alternate" for option in options):
            raise ValueError("only blocks alternate; name stages instead")
        return options


KnobValues = list[GeneValue] | dict[str, list[GeneValue]]
"""Values of a training knob: one list for every family that has the knob, or one by family."""


Tie = Literal["site", "stage", "network"]


class SpaceSpec(BaseModel):
    """A search space, before it is bound to a network.

    Attributes:
        description: One line for the user.
        tie: Which sites choose alike: for every kind of site, or by kind.
        align: Numbers of channels that stay are multiples of this one where channels go for good; ``auto`` is the step
            in which the runtime's own time grows, which a search finds on the device and puts here.
        sites: What may stand at each kind of site.
        training: Values of the training knobs, by the knob's name; a knob that is not named keeps its default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["autogate.space/1"] = Field(alias="schema")
    description: str = ""
    tie: Tie | dict[SiteKind, Tie] = "site"
    align: Literal["auto"] | FoundStep | Annotated[int, Field(ge=1, le=1024, strict=True)] = 1
    sites: SiteOptions
    training: dict[str, KnobValues] = Field(default_factory=dict)

    @field_validator("training")
    @classmethod
    def _have_values(cls, training: dict[str, KnobValues]) -> dict[str, KnobValues]:
        for knob, values in training.items():
            if not all(values.values() if isinstance(values, dict) else [values]):
                raise ValueError(f"training knob {knob} has no values")
            for options in values.values() if isinstance(values, dict) else [values]:
                if len(set(options)) < len(options):
                    raise ValueError(f"training knob {knob} has a value twice")
        return training

    def tie_of(self, kind: SiteKind) -> Tie:
        """Return which sites of a kind choose alike."""
        return self.tie.get(kind, "site") if isinstance(self.tie, dict) else self.tie

    @property
    def step(self) -> int:
        """Numbers of channels that stay are multiples of this one; 1 before a step was found."""
        if isinstance(self.align, FoundStep):
            return self.align.auto
        return 1 if self.align == AUTO_STEP else int(self.align)

    def options_of(self, kind: SiteKind) -> list[GateOption]:
        """Return what may stand at sites of a kind."""
        return {"block": self.sites.block, "map": self.sites.map, "group": self.sites.group}[kind]

    def to_json(self) -> dict[str, Any]:
        """Return the space as JSON-ready data."""
        data = self.model_dump(mode="json", by_alias=True)
        if self.align == 1:  # spaces of older versions have none
            del data["align"]
        return data


def parse_space(data: Any, where: str) -> SpaceSpec:
    """Check ``data`` and return the space it describes.

    Raises:
        SpaceError: If a key is unknown or a value out of range; names the place in ``where``.
    """
    if not isinstance(data, Mapping):
        raise SpaceError(f"{where}: must hold keys such as `sites:`; see `autogate spaces` for working examples")
    try:
        return SpaceSpec.model_validate(data)
    except ValidationError as error:
        raise SpaceError(f"{where}: {one_line(error)}; see `autogate spaces` for working examples") from None


def list_spaces() -> dict[str, SpaceSpec]:
    """Return the spaces that ship with AutoGate, by name."""
    paths = sorted(shipped_folder("search_spaces").glob("*.yaml"))
    return {path.stem: load_space(str(path)) for path in paths}


def load_space(name: str) -> SpaceSpec:
    """Return the shipped space ``name``, or the one in the YAML file ``name``.

    Raises:
        SpaceError: If there is no such space or file, or it is not a valid space.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = shipped_folder("search_spaces") / f"{name}.yaml"
    try:
        data = read_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(p.stem for p in sorted(shipped_folder("search_spaces").glob("*.yaml")))
        raise SpaceError(f"no search space {name!r}; give a YAML file or one of: {known}") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise SpaceError(f"cannot read search space {name}: {why_unreadable(error)}") from None
    return parse_space(data, str(path.name))
