"""What a search may choose from: the schema of search spaces, and how they are loaded; knows no torch."""

from autogate.space.schema import (
    AUTO_STEP,
    FIRST_STAGE,
    FoundStep,
    GateOption,
    KnobValues,
    SpaceSpec,
    list_spaces,
    load_space,
    parse_space,
)

__all__ = [
    "AUTO_STEP",
    "FIRST_STAGE",
    "FoundStep",
    "GateOption",
    "KnobValues",
    "SpaceSpec",
    "list_spaces",
    "load_space",
    "parse_space",
]
