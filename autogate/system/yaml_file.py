"""Read YAML that users write; what is there twice is refused, since only one of the two would count."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"


class _UniqueKeysLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [(key.value, key) for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE]
        for i, (name, key) in enumerate(keys):
            if name in dict(keys[:i]):
                raise yaml.constructor.ConstructorError(problem=f"{name} is there twice", problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> Any:
    """Return what a text in YAML holds: plain values, lists and dictionaries.

    Raises:
        yaml.YAMLError: If it is not YAML, or has a key twice; :func:`why_unreadable` says where.
    """
    return yaml.load(text, _UniqueKeysLoader)  # noqa: S506 - a safe loader
