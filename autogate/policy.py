"""The complete answer of a search: which gate stands where, and how it is trained.

A policy is plain, immutable data with one canonical JSON form. It says nothing about weights or devices.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from autogate.errors import PolicyError

SCHEMA = "autogate.policy/1"
GeneValue = float | int | str | bool


def canonical_json(value: Any) -> str:
    """Return the one JSON text that stands for ``value``: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 of ``value``'s canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def _plain(values: Any, what: str) -> Mapping[str, GeneValue]:
    """Return the values sorted by name and closed to changes."""
    if not isinstance(values, Mapping) or not all(
        isinstance(name, str) and isinstance(value, GeneValue) for name, value in values.items()
    ):
        raise PolicyError(f"{what} must be plain values by name, found {values!r}")
    return MappingProxyType(dict(sorted(values.items())))


@dataclass(frozen=True)
class Gate:
    """One gate: a family and the values of its genes.

    Attributes:
        family: Name in the family registry, such as ``drop`` or ``antidote``.
        genes: Gene values by gene name.
    """

    family: str
    genes: Mapping[str, GeneValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.family, str):
            raise PolicyError(f"a gate's family must be a name, not {self.family!r}")
        object.__setattr__(self, "genes", _plain(self.genes, f"the genes of gate {self.family!r}"))

    @cached_property
    def _hash(self) -> int:
        return hash((self.family, tuple(self.genes.items())))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:  # read-only mappings can neither be copied nor sent
        return Gate, (self.family, dict(self.genes))

    def __str__(self) -> str:
        values = ",".join(f"{name}={value}" for name, value in self.genes.items())
        return f"{self.family}({values})" if values else self.family

    def to_json(self) -> dict[str, Any]:
        """Return the gate as JSON-ready data."""
        return {"family": self.family, "genes": dict(self.genes)}

    @classmethod
    def from_json(cls, data: Any) -> Gate:
        """Rebuild a gate from :meth:`to_json`.

        Raises:
            PolicyError: If the data is not a gate.
        """
        if not isinstance(data, dict) or set(data) - {"family", "genes"} or "family" not in data:
            raise PolicyError(f"a gate needs the keys 'family' and 'genes', found {data!r}")
        return cls(data["family"], data.get("genes", {}))


@dataclass(frozen=True)
class Policy:
    """Gates by site name, and the knobs they are trained with.

    Attributes:
        gates: Gate by site name; a site that is not named stays dense.
        training: Training knobs, such as ``targeted_dropout.drop``; they change weights, never execution.
    """

    gates: Mapping[str, Gate] = field(default_factory=dict)
    training: Mapping[str, GeneValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.gates, Mapping) or not all(
            isinstance(site, str) and isinstance(gate, Gate) for site, gate in self.gates.items()
        ):
            raise PolicyError(f"a policy's gates must be a Gate by site name, not {self.gates!r}")
        object.__setattr__(self, "gates", MappingProxyType(dict(sorted(self.gates.items()))))
        object.__setattr__(self, "training", _plain(self.training, "a policy's training knobs"))

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        return Policy, (dict(self.gates), dict(self.training))

    def __iter__(self) -> Iterator[tuple[str, Gate]]:
        return iter(self.gates.items())

    @property
    def is_dense(self) -> bool:
        """Whether no gate stands anywhere."""
        return not self.gates

    @cached_property
    def digest(self) -> str:
        """Identity of the whole policy, training knobs included."""
        return digest(self.to_json())

    @cached_property
    def execution_digest(self) -> str:
        """Identity of what runs: the policy without its training knobs."""
        return digest({**self.to_json(), "training": {}})

    def to_json(self) -> dict[str, Any]:
        """Return the policy as JSON-ready data."""
        return {
            "schema": SCHEMA,
            "gates": {site: gate.to_json() for site, gate in self.gates.items()},
            "training": dict(self.training),
        }

    @classmethod
    def from_json(cls, data: Any) -> Policy:
        """Rebuild a policy from :meth:`to_json`.

        Raises:
            PolicyError: If the data is not a policy, or of a newer version than this AutoGate reads.
        """
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            what = f"schema {data.get('schema')!r}" if isinstance(data, dict) else "something else"
            raise PolicyError(f"expected a policy of schema {SCHEMA}, found {what}; update autogate or the file")
        if unknown := sorted(map(str, set(data) - {"schema", "gates", "training"})):
            raise PolicyError(f"a policy has no key {unknown[0]!r}; it has schema, gates and training")
        gates, training = data.get("gates", {}), data.get("training", {})
        if not isinstance(gates, dict) or not isinstance(training, dict):
            raise PolicyError("a policy's 'gates' and 'training' must be objects; restore the file")
        found = {}
        for site, gate in gates.items():
            try:
                found[str(site)] = Gate.from_json(gate)
            except PolicyError as error:
                raise PolicyError(f"{site}: {error}") from None
        return cls(found, {str(knob): value for knob, value in training.items()})


def knob_key(knob: str, family: str) -> str:
    """Return the name under which a policy holds a training knob of one family."""
    return f"{knob}.{family}"


DENSE = Policy()
