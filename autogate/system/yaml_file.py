"""Read YAML that users write; what is there twice is refused, since only one of the two would count."""

from __future__ import annotations

from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(text: str) -> Any:
    """Return what a text in YAML holds: plain values, lists and dictionaries.

    Raises:
        yaml.YAMLError: If it is not YAML, or has a key twice; :func:`why_unreadable` says where.
    """
    document = yaml.compose(text, Loader=yaml.SafeLoader)
    if document is not None:
        _check_keys(document, set())
    return yaml.safe_load(text)


def _check_keys(node: yaml.Node, seen: set[int]) -> None:
    """Refuse keys that stand twice in a mapping; a part that several places refer to is looked at once."""
    if id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
    else:
        names = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in names:
                    raise yaml.constructor.ConstructorError(
                        problem=f"{key.value} is there twice", problem_mark=key.start_mark
                    )
                names.add(key.value)
        parts = [part for pair in node.value for part in pair]
    for part in parts:
        _check_keys(part, seen)
