"""Search spaces: the YAML schema, and a space bound to a network.

Reading and listing spaces needs no torch; :mod:`autogate.space.bound` does, through the gate families.
"""

from autogate.space.schema import SpaceSpec, list_spaces, load_space, parse_space

__all__ = ["SpaceSpec", "list_spaces", "load_space", "parse_space"]
