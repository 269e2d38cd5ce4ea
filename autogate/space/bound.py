"""A search space bound to one network: which decisions there are, and what each may choose."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from autogate.errors import PolicyError, SpaceError
from autogate.gates import get_family
from autogate.policy import Gate, Policy
from autogate.records import Site
from autogate.space.schema import FIRST_STAGE, GateOption, SpaceSpec

DENSE_CHOICE = "dense"
# No network is as narrow as its input; what reads at most this many channels is the stem.
_IMAGE_CHANNELS = 4
DROPOUT_KNOB = "targeted_dropout"
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
        dropout_rates: Values of the targeted-dropout knob.
    """

    decisions: tuple[Decision, ...]
    dropout_rates: tuple[float, ...]

    @property
    def size(self) -> int:
        """Number of different combinations of choices."""
        size = len(self.dropout_rates)
        for decision in self.decisions:
            size *= len(decision.options)
        return size

    def all_choices(self) -> dict[str, tuple[str, ...]]:
        """Return the choices of every decision with more than one, the training knobs included."""
        choices = {d.name: d.choices for d in self.decisions if len(d.options) > 1}
        if len(self.dropout_rates) > 1:
            choices[DROPOUT_KNOB] = tuple(f"{rate:g}" for rate in self.dropout_rates)
        return choices

    def draw(self, draw: Draw) -> dict[str, str]:
        """Ask ``draw(name, choices)`` for every decision and return what was chosen."""
        return {name: draw(name, choices) for name, choices in self.all_choices().items()}

    def policy(self, choices: Choices) -> Policy:
        """Return the policy that ``choices`` stands for, not yet canonical; what is not named stays dense."""
        gates: dict[str, Gate] = {}
        for decision in self.decisions:
            gates.update(decision.options[choices.get(decision.name, DENSE_CHOICE)])
        rate = choices.get(DROPOUT_KNOB)
        value = self.dropout_rates[0] if rate is None else float(rate)
        return Policy(gates, {DROPOUT_KNOB: value})

    def restricted(self, keep: Callable[[str, Gate], bool]) -> BoundSpace:
        """Return the space without the gates for which ``keep(site, gate)`` is false.

        A choice that loses its gate at every site goes; a tied choice keeps the sites it still reaches.
        """
        decisions = []
        for decision in self.decisions:
            options: dict[str, Mapping[str, Gate]] = {}
            for choice, gates in decision.options.items():
                left = {site: gate for site, gate in gates.items() if keep(site, gate)}
                if left or choice == DENSE_CHOICE:
                    options[choice] = left
            decisions.append(replace(decision, options=options))
        return replace(self, decisions=tuple(decisions))

    def gates(self) -> list[tuple[str, Gate]]:
        """Return every (site, gate) pair in the space."""
        pairs = (pair for d in self.decisions for gates in d.options.values() for pair in gates.items())
        return list(dict.fromkeys(pairs))


def bind(spec: SpaceSpec, sites: Mapping[str, Site]) -> BoundSpace:
    """Bind ``spec`` to a network's sites.

    Raises:
        SpaceError: If a family or gene is unknown or out of range, or no gate of the space fits anywhere.
    """
    widths = [conv.in_channels for site in sites.values() for conv in site.convs if conv.in_channels > _IMAGE_CHANNELS]
    first_stage = min(widths, default=0)
    groups: dict[str, list[Site]] = {}
    for site in sites.values():
        group = {"site": site.name, "stage": f"{site.kind}:{site.stage}", "network": site.kind}[spec.tie]
        groups.setdefault(group, []).append(site)
    decisions = []
    for name, members in groups.items():
        kind = members[0].kind
        options: dict[str, Mapping[str, Gate]] = {DENSE_CHOICE: {}}
        for option in spec.sites.block if kind == "block" else spec.sites.map:
            for gate in _gates(option, first_stage):
                fitting = _fitting(gate, members)
                if fitting:
                    options[str(gate)] = fitting
        decisions.append(Decision(name, kind, options))
    space = BoundSpace(tuple(decisions), tuple(spec.training.targeted_dropout))
    if not space.gates():
        raise SpaceError("no gate of this search space fits any site of the network; `autogate sites` lists the sites")
    return space


def _gates(option: GateOption, first_stage: int) -> Iterable[Gate]:
    """Every combination of the option's gene values."""
    names = sorted(option.genes)
    for values in itertools.product(*(option.genes[name] for name in names)):
        resolved = [first_stage if value == FIRST_STAGE else value for value in values]
        yield Gate(option.family, dict(zip(names, resolved, strict=True)))


def _fitting(gate: Gate, members: Iterable[Site]) -> dict[str, Gate]:
    """The complete gate at each site it fits; wrong genes are errors, unfit sites are not."""
    try:
        family = get_family(gate.family)
        return {
            site.name: complete
            for site in members
            if family.fits(site) is None
            and family.suits(site, gate) is None
            and not family.is_open(site, complete := family.complete(site, gate))
        }
    except PolicyError as error:
        raise SpaceError(f"search space: {error}") from None
