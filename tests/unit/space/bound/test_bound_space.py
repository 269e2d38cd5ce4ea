from __future__ import annotations

import random
from typing import Any

import pytest
from torch import Tensor, nn

from autogate.errors import SpaceError
from autogate.gates import get_family
from autogate.policy import DENSE, Gate, Policy
from autogate.sites import find_sites
from autogate.space import load_space, parse_space
from autogate.space.bound import DENSE_CHOICE, BoundSpace, bind
from tests.support.networks import known_network

SITES = known_network("resnet20").sites
BLOCKS = [name for name, site in SITES.items() if site.kind == "block"]
MAPS = [name for name, site in SITES.items() if site.kind == "map"]


def bound(tie: str = "site", dropout: Any = None, **sites: Any) -> BoundSpace:
    data = {"schema": "autogate.space/1", "tie": tie, "sites": sites}
    if dropout is not None:
        data["training"] = {"targeted_dropout": dropout}
    return bind(parse_space(data, "test"), SITES)


RATIOS = {"family": "magnitude", "genes": {"ratio": [0.25, 0.5]}}
DROP = {"family": "drop"}
KNOBS = ["targeted_dropout.drop", "targeted_dropout.magnitude"]


def test_one_decision_per_site() -> None:
    space = bound(block=[DROP], map=[RATIOS])
    assert [d.name for d in space.decisions] == list(SITES)
    assert space.size == 2**7 * 3**9
    choices = space.all_choices()
    assert choices["block:layer1.1"] == (DENSE_CHOICE, "drop")
    assert choices["map:layer1.1.conv1"] == (DENSE_CHOICE, "magnitude(ratio=0.25)", "magnitude(ratio=0.5)")
    assert not any(knob in choices for knob in KNOBS)


def test_ties() -> None:
    # Blocks are in three stages, and so are the maps.
    assert bound("stage", block=[DROP], map=[RATIOS]).size == 2**3 * 3**3
    assert bound("network", block=[DROP], map=[RATIOS]).size == 2 * 3
    staged = bound("stage", block=[DROP], map=[RATIOS])
    assert [d.name for d in staged.decisions] == [
        "block:stage1",
        "map:stage1",
        "map:stage2",
        "block:stage2",
        "map:stage3",
        "block:stage3",
    ]
    policy = staged.policy({"block:stage2": "drop"})
    assert set(policy.gates) == {"block:layer2.1", "block:layer2.2"}
    whole = bound("network", block=[DROP], map=[RATIOS])
    assert set(whole.policy({"block": "drop"}).gates) == set(BLOCKS)
    assert set(whole.policy({"map": "magnitude(ratio=0.5)"}).gates) == set(MAPS)


def test_policies_from_choices() -> None:
    space = bound(block=[DROP], map=[RATIOS], dropout=[1.0, 0.5])
    assert space.size == 2**7 * 3**9 * 2 * 2  # one rate of dropout per family
    assert [space.all_choices()[knob] for knob in KNOBS] == [("1", "0.5")] * 2
    policy = space.policy({"block:layer1.1": "drop", "map:layer2.0.conv1": "magnitude(ratio=0.25)", KNOBS[0]: "0.5"})
    assert policy == Policy(
        {"block:layer1.1": Gate("drop"), "map:layer2.0.conv1": Gate("magnitude", {"ratio": 0.25})},
        {KNOBS[0]: 0.5, KNOBS[1]: 1.0},
    )
    assert space.policy({}).gates == DENSE.gates
    assert space.policy({}).training == {KNOBS[0]: 1.0, KNOBS[1]: 1.0}


def test_rates_of_dropout_by_family() -> None:
    rates = {"drop": [0.5, 0.9]}
    space = bound(block=[DROP], map=[RATIOS], dropout=rates)
    assert space.knobs == {"targeted_dropout.drop": (0.5, 0.9), "targeted_dropout.magnitude": (1.0,)}
    # A family that is taken out takes its knob along.
    assert set(space.restricted(lambda site, gate: gate.family != "drop").knobs) == {"targeted_dropout.magnitude"}
    with pytest.raises(SpaceError, match="'mod' takes no targeted_dropout; the families that do: drop, magnitude"):
        bound(block=[DROP], dropout={"mod": [0.5]})


@pytest.mark.parametrize("rate", [1.5, -0.1, float("nan"), "often"])
def test_rates_out_of_range_are_named_even_of_families_that_are_not_there(rate: Any) -> None:
    for rates in ([rate], {"magnitude": [0.5, rate]}):
        with pytest.raises(SpaceError, match=r"search space: targeted_dropout\.\w+: targeted_dropout must be"):
            bound(block=[DROP], dropout=rates)


def test_drawing_asks_for_every_free_decision_once() -> None:
    space = bound(block=[DROP], map=[RATIOS], dropout=[1.0, 0.5])
    asked: list[str] = []
    rng = random.Random(0)

    def draw(name: str, choices: tuple[str, ...]) -> str:
        asked.append(name)
        return rng.choice(choices)

    drawn = space.draw(draw)
    assert asked == [*SITES, *KNOBS]
    assert set(space.policy(drawn).gates) == {
        name for name, choice in drawn.items() if choice != DENSE_CHOICE and name not in KNOBS
    }


def test_decisions_without_an_option_are_not_asked() -> None:
    space = bound(block=[DROP])
    assert set(space.all_choices()) == set(BLOCKS)
    assert space.size == 2**7


def test_combinations_of_genes() -> None:
    space = bound(map=[{"family": "antidote", "genes": {"channel_ratio": [0.3, 0.6], "column_ratio": [0.5, 0.75]}}])
    assert len(space.all_choices()[MAPS[0]]) == 1 + 4


def test_first_stage_stands_for_the_first_width() -> None:
    space = bound(block=[{"family": "mod", "genes": {"c": ["first_stage"]}}])
    assert {gate.genes["c"] for _, gate in space.gates()} == {16}


def test_gates_that_change_nothing_or_do_not_fit_are_left_out() -> None:
    # 0.05 of 16 channels is none, of 32 one, of 64 three; c = 32 leaves no channel of 16.
    space = bound(map=[{"family": "magnitude", "genes": {"ratio": [0.05]}}])
    assert {site for site, _ in space.gates()} == {name for name in MAPS if not name.startswith("map:layer1")}
    assert bound(block=[DROP, {"family": "mod", "genes": {"c": [32]}}]).size == 2**3 * 3**4


def test_restricted() -> None:
    space = bound("stage", block=[DROP, {"family": "mod", "genes": {"c": [16]}}], map=[RATIOS])
    left = space.restricted(lambda site, gate: gate.family != "mod" and site != "block:layer2.1")
    assert all(gate.family != "mod" for _, gate in left.gates())
    assert set(left.policy({"block:stage2": "drop"}).gates) == {"block:layer2.2"}
    assert left.size == 2**3 * 3**3
    # The original is as it was.
    assert space.size == 3**3 * 3**3
    nothing = space.restricted(lambda site, gate: False)
    assert nothing.size == 1
    assert nothing.all_choices() == {}
    assert nothing.gates() == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"block": [{"family": "dorp"}]}, "unknown gate family 'dorp'; did you mean drop"),
        ({"map": [{"family": "magnitude", "genes": {"ratoi": [0.5]}}]}, "unknown gene 'ratoi'; known genes: ratio"),
        ({"map": [{"family": "magnitude", "genes": {"ratio": [1.5]}}]}, r"ratio must be in \[0, 0.97\], not 1.5"),
        ({"map": [{"family": "magnitude", "genes": {"ratio": ["half"]}}]}, "ratio must be a number, not 'half'"),
        ({"map": [{"family": "lcnet", "genes": {"scale": ["loud"]}}]}, "scale must be one of score, 2score, none"),
        ({"map": [DROP]}, "map: drop stands at block sites, not at maps"),
        ({"block": [DROP], "map": [DROP]}, "map: drop stands at block sites, not at maps"),
        ({"block": [DROP], "group": [{"family": "nonsense"}]}, "group: unknown gate family 'nonsense'"),
        ({"block": [DROP], "group": [{"family": "gss", "genes": {"raito": [9]}}]}, "group: gss: unknown gene 'raito'"),
        ({"block": [{"family": "drop", "place": ["stage9"]}]}, "drop has no stage 'stage9' to stand in; .* stage1"),
        ({"block": [{"family": "mod", "genes": {"c": [100]}}]}, r"fits any site .*mod at block:layer1.0: c=100 leaves"),
        ({"block": [], "map": []}, "no gate of this search space fits any site"),
        ({"map": [{"family": "magnitude", "genes": {"ratio": [0.0]}}]}, "no gate of this search space fits any site"),
    ],
)
def test_wrong_families_and_genes(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpaceError, match=complaint):
        bound(**options)


class Narrowing(nn.Module):
    """A network whose later blocks are narrower than its first."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.narrow = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 8, 1)
        self.wide = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
        self.slim = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.narrow((x + self.wide(x)).relu())
        return self.head((x + self.slim(x)).mean((2, 3)))


def test_the_unified_space_binds_to_a_network_that_narrows() -> None:
    network = find_sites(Narrowing(), (3, 16, 16))
    space = bind(load_space("unified"), network.sites)
    widths = {site: gate.genes["c"] for site, gate in space.gates() if gate.family == "mod"}
    assert "block:wide" in widths
    assert all(c <= network.sites[site].channels for site, c in widths.items())


def test_places_of_an_option() -> None:
    def reached(place: str | list[str]) -> list[str]:
        option = {"family": "drop", "place": place}
        spec = parse_space({"schema": "autogate.space/1", "sites": {"block": [option]}}, "test")
        return [site.removeprefix("block:") for site, _ in bind(spec, known_network("resnet20").sites).gates()]

    every = ["layer1.0", "layer1.1", "layer1.2", "layer2.1", "layer2.2", "layer3.1", "layer3.2"]
    assert reached("every") == every
    assert reached("alternate") == ["layer1.1", "layer2.1", "layer3.1"]
    assert reached(["stage1", "stage3"]) == [name for name in every if "layer2" not in name]


def test_ties_by_kind_of_site() -> None:
    sites = {
        "map": [{"family": "magnitude", "genes": {"ratio": [0.5]}}],
        "group": [{"family": "magnitude", "genes": {"ratio": [0.5]}}],
    }
    spec = parse_space({"schema": "autogate.space/1", "tie": {"group": "stage"}, "sites": sites}, "test")
    space = bind(spec, known_network("resnet50").sites)
    names = [decision.name for decision in space.decisions if len(decision.options) > 1]
    assert len([name for name in names if name.startswith("map:")]) == 32
    assert [name for name in names if name.startswith("group:")] == [f"group:stage{i}" for i in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize(
    ("align", "kept"),
    # Of 16, 32 and 64 channels with 0.125, 0.25, 0.5 and 0.75 of them removed.
    [
        (1, [{14, 12, 8, 4}, {28, 24, 16, 8}, {56, 48, 32, 16}]),
        (8, [{8}, {24, 16, 8}, {56, 48, 32, 16}]),
        ({"auto": 16}, [set(), {16}, {48, 32, 16}]),
        ("auto", [{14, 12, 8, 4}, {28, 24, 16, 8}, {56, 48, 32, 16}]),
    ],
)
def test_channels_that_stay_are_whole_steps(align: object, kept: list[set[int]]) -> None:
    sites = known_network("resnet20").sites
    spec = parse_space({**load_space("magnitude").to_json(), "align": align}, "here")
    space = bind(spec, sites)
    family = get_family("magnitude")
    for stage, expected in enumerate(kept, start=1):
        name = f"map:layer{stage}.0.conv1"
        found = {family.kept(sites[name], gate) for site, gate in space.gates() if site == name}
        assert found == expected
    for decision in space.decisions:
        options = list(decision.options.values())
        assert all(options.count(option) == 1 for option in options)
    assert parse_space(spec.to_json(), "again") == spec


def test_a_step_that_leaves_every_channel_is_told() -> None:
    sites = known_network("resnet20").sites
    spec = parse_space({**load_space("magnitude").to_json(), "align": 128}, "here")
    with pytest.raises(SpaceError, match=r"all 16 channels stay, in steps of 128"):
        bind(spec, sites)


@pytest.mark.parametrize("align", [0, -8, 2.5, "sometimes", {"auto": 0}, {"found": 8}, True])
def test_a_step_that_is_none_is_refused(align: object) -> None:
    with pytest.raises(SpaceError, match="here: align"):
        parse_space({**load_space("magnitude").to_json(), "align": align}, "here")
