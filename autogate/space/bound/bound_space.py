"""A search space bound to one network: which decisions there are, and what each may choose."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from autogate.errors import PolicyError, SpaceError
from autogate.gates import FAMILIES, Gene, get_family
from autogate.policy import Gate, GeneValue, Policy, knob_key
from autogate.records import KINDS, Site
from autogate.space import FIRST_STAGE, GateOption, KnobValues, SpaceSpec

DENSE_CHOICE = "dense"
# No network is as narrow as its input; what reads at most this many channels is the stem.
_IMAGE_CHANNELS = 4
Draw = Callable[[str, tuple[str, ...]], str]
Choices = Mapping[str, str]


@dataclass(frozen=True)
class Decision:
    """One free choice.

    Attributes:
        name: Its name in a trial: the site, or the tie group.
        kind: Kind of its sites, or ``training`` for a training knob.
        options: For each choice, the gate at each site it reaches; ``dense`` comes first and has none.
    """

    name: str
    kind: str
    options: Mapping[str, Mapping[str, Gate]]

    @property
    def choices(self) -> tuple[str, ...]:
        """The names of the choices, in a fixed order."""
        return tuple(self.options)


@dataclass(frozen=True)
class BoundSpace:
    """Every decision of a search on one network.

    Attributes:
        decisions: The decisions about gates, in the order in which data meets their sites.
        knobs: Values of each training knob.
    """

    decisions: tuple[Decision, ...]
    knobs: Mapping[str, tuple[GeneValue, ...]]

    @property
    def size(self) -> int:
        """Number of different combinations of choices."""
        return math.prod(len(choices) for choices in self.all_choices().values())

    def all_choices(self) -> dict[str, tuple[str, ...]]:
        """Return the choices of every decision with more than one, the training knobs included."""
        choices = {d.name: d.choices for d in self.decisions if len(d.options) > 1}
        for knob, values in self.knobs.items():
            if len(values) > 1:
                choices[knob] = tuple(map(_text, values))
        return choices

    def draw(self, draw: Draw) -> dict[str, str]:
        """Ask ``draw(name, choices)`` for every decision and return what was chosen."""
        return {name: draw(name, choices) for name, choices in self.all_choices().items()}

    def policy(self, choices: Choices) -> Policy:
        """Return the policy that ``choices`` stands for, not yet canonical; what is not named stays dense."""
        gates: dict[str, Gate] = {}
        for decision in self.decisions:
            gates.update(decision.options[choices.get(decision.name, DENSE_CHOICE)])
        training = {
            knob: next((value for value in values if _text(value) == choices.get(knob)), values[0])
            for knob, values in self.knobs.items()
        }
        return Policy(gates, training)

    def restricted(self, keep: Callable[[str, Gate], bool]) -> BoundSpace:
        """Return the space without the gates for which ``keep(site, gate)`` is false.

        A choice that loses its gate at every site goes; a tied choice keeps the sites it still reaches. The knobs
        of a family that is nowhere go too.
        """
        decisions = []
        for decision in self.decisions:
            options: dict[str, Mapping[str, Gate]] = {}
            for choice, gates in decision.options.items():
                left = {site: gate for site, gate in gates.items() if keep(site, gate)}
                if left or choice == DENSE_CHOICE:
                    options[choice] = left
            decisions.append(replace(decision, options=options))
        rest = replace(self, decisions=tuple(decisions))
        present = dict.fromkeys(gate.family for _, gate in rest.gates())
        keys = {knob_key(knob.name, family) for family in present for knob in get_family(family).knobs}
        return replace(rest, knobs={key: values for key, values in self.knobs.items() if key in keys})

    def alone(self, site: str, gate: Gate) -> Mapping[str, Gate]:
        """Return the fewest gates with which a gate occurs: itself, and at a group those that are tied to it.

        Tied groups share layers, as those of a concatenation do, so that one of them alone says little.
        """
        return self._tied.get((site, gate), {site: gate})

    @cached_property
    def _tied(self) -> dict[tuple[str, Gate], Mapping[str, Gate]]:
        options = (gates for d in self.decisions if d.kind == "group" for gates in d.options.values())
        return {(site, gate): gates for gates in options for site, gate in gates.items()}

    def gates(self) -> list[tuple[str, Gate]]:
        """Return every (site, gate) pair in the space."""
        pairs = (pair for d in self.decisions for gates in d.options.values() for pair in gates.items())
        return list(dict.fromkeys(pairs))


def bind(spec: SpaceSpec, sites: Mapping[str, Site]) -> BoundSpace:
    """Bind ``spec`` to a network's sites; ``align: auto`` counts as 1 until the device's step is there.

    Raises:
        SpaceError: If a family or gene is unknown or out of range, or no gate of the space fits anywhere.
    """
    widths = [conv.in_channels for site in sites.values() for conv in site.convs if conv.in_channels > _IMAGE_CHANNELS]
    first_stage = min(widths, default=0)
    _check_options(spec, sites, first_stage)
    tied: dict[str, list[Site]] = {}
    for site in sites.values():
        names = {"site": site.name, "stage": f"{site.kind}:{site.stage}", "network": site.kind}
        tied.setdefault(names[spec.tie_of(site.kind)], []).append(site)
    decisions = []
    refused: list[str] = []
    for name, members in tied.items():
        kind = members[0].kind
        options: dict[str, Mapping[str, Gate]] = {DENSE_CHOICE: {}}
        for option in spec.options_of(kind):
            for gate in _gates(option, first_stage):
                places = [site for site in members if _is_place(option.place, site)]
                fitting = _fitting(gate, places, spec.step, refused)
                if fitting and fitting not in options.values():
                    options[str(gate)] = fitting
        decisions.append(Decision(name, kind, options))
    space = BoundSpace(tuple(decisions), {})
    if not space.gates():
        why = f" ({refused[0]})" if refused else ""
        raise SpaceError(
            f"no gate of this search space fits any site of the network{why}; `autogate sites` lists the sites"
        )
    return replace(space, knobs=_knobs(spec.training, dict.fromkeys(gate.family for _, gate in space.gates())))


def _check_options(spec: SpaceSpec, sites: Mapping[str, Site], first_stage: int) -> None:
    """Refuse options that could not stand anywhere in any network, and stages this network does not have."""
    stages = dict.fromkeys(site.stage for site in sites.values())
    for kind in KINDS:
        for option in spec.options_of(kind):
            try:
                family = get_family(option.family)
                genes = {gene.name: gene for gene in family.genes(kind)} if kind in family.kinds else {}
                if kind not in family.kinds:
                    raise PolicyError(
                        f"{family.name} stands at {' and '.join(sorted(family.kinds))} sites, not at {kind}s"
                    )
                for gate in _gates(option, first_stage):
                    for name, value in gate.genes.items():
                        if name not in genes:
                            known = ", ".join(genes) or "none"
                            raise PolicyError(f"{family.name}: unknown gene {name!r}; known genes: {known}")
                        genes[name].check(value, family.name)
            except PolicyError as error:
                raise SpaceError(f"search space: {kind}: {error}") from None
            unknown = [stage for stage in option.place if stage not in stages] if isinstance(option.place, list) else []
            if unknown:
                raise SpaceError(
                    f"search space: {kind}: {family.name} has no stage {unknown[0]!r} to stand in; the network has "
                    f"{', '.join(stages)}"
                )


def _knobs(training: Mapping[str, KnobValues], present: Iterable[str]) -> dict[str, tuple[GeneValue, ...]]:
    """Return the values of every knob of the families that are there, by the name a policy gives the knob.

    Knobs of other families are checked all the same.
    """
    families_by_knob: dict[str, dict[str, Gene]] = {}
    for name, family in FAMILIES.items():
        for knob in family.knobs:
            families_by_knob.setdefault(knob.name, {})[name] = knob
    if unknown := [name for name in training if name not in families_by_knob]:
        raise SpaceError(f"search space: unknown training knob {unknown[0]!r}; known: {', '.join(families_by_knob)}")
    values: dict[str, tuple[GeneValue, ...]] = {}
    for knob_name, families in families_by_knob.items():
        wanted = training.get(knob_name, {})
        by_family = wanted if isinstance(wanted, dict) else dict.fromkeys(families, wanted)
        if strangers := sorted(set(by_family) - set(families)):
            raise SpaceError(
                f"search space: {strangers[0]!r} takes no {knob_name}; the families that do: {', '.join(families)}"
            )
        for name, knob in families.items():
            key = knob_key(knob_name, name)
            values[key] = tuple(_checked(knob, value, key) for value in by_family.get(name, [knob.default]))
    keys = [knob_key(knob.name, name) for name in present for knob in get_family(name).knobs]
    return {key: values[key] for key in keys}


def _is_place(place: str | list[str], site: Site) -> bool:
    if isinstance(place, list):
        return site.stage in place
    return place == "every" or site.index % 2 == 1


def _text(value: GeneValue) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _checked(knob: Gene, value: GeneValue, key: str) -> GeneValue:
    try:
        return knob.check(value, key)
    except PolicyError as error:
        raise SpaceError(f"search space: {error}") from None


def _gates(option: GateOption, first_stage: int) -> Iterable[Gate]:
    """Every combination of the option's gene values."""
    names = sorted(option.genes)
    for values in itertools.product(*(option.genes[name] for name in names)):
        resolved = [first_stage if value == FIRST_STAGE else value for value in values]
        yield Gate(option.family, dict(zip(names, resolved, strict=True)))


def _fitting(gate: Gate, members: Iterable[Site], step: int, refused: list[str]) -> dict[str, Gate]:
    """The filled gate at each site it fits; wrong genes are errors, unfit sites go to ``refused`` with the reason.

    Channels that stay are multiples of ``step``.
    """
    found = {}
    try:
        family = get_family(gate.family)
        for site in members:
            reason = family.unsupported_reason(site)
            if reason is None:
                filled = family.fill(site, gate)
                reason = family.invalid_reason(site, filled)
            if reason is not None:
                refused.append(f"{family.name} at {site.name}: {reason}")
            elif family.is_open(site, aligned := family.aligned(site, filled, step)):
                refused.append(f"{gate} at {site.name}: all {site.channels} channels stay, in steps of {step}")
            else:
                found[site.name] = aligned
    except PolicyError as error:
        raise SpaceError(f"search space: {error}") from None
    return found
