"""What a search may choose from: the schema of search spaces, and how they are loaded; knows no torch."""

from autogate.space.schema import (
    FIRST_STAGE,
    GateOption,
    KnobValues,
    SpaceSpec,
    list_spaces,
    load_space,
    parse_space,
)

__all__ = ["FIRST_STAGE", "GateOption", "KnobValues", "SpaceSpec", "list_spaces", "load_space", "parse_space"]
