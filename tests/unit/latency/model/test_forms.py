"""More channels kept take no less time: not by construction of the model, so checked on what devices wrote."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from autogate.latency.model import LatencyModel, Unit
from autogate.latency.profile import read_profile
from autogate.models import load_model
from autogate.policy import Gate, Policy
from autogate.sites import find_sites
from autogate.space import load_space
from autogate.space.bound import bind
from tests.support import ROOT

FOLDER = ROOT / "hw_profiles"
# By how much of its time a form may be cheaper than one that keeps less.
TOLERANCE = 0.01

Kept = tuple[float, ...]
"""Share of the channels that is kept at each site of a unit."""


def never_measured(model: LatencyModel, unit: Unit, gates: dict[str, list[Gate]]) -> Iterator[tuple[Kept, float]]:
    """Yield what is kept, and the predicted time, of forms of a unit that are predicted from their gates alone."""
    measured = {sample.key for sample in model.profile.units}
    options = [[None, *gates.get(site, ())] for site in unit.sites]
    for choice in itertools.product(*options):
        policy = Policy({site: gate for site, gate in zip(unit.sites, choice, strict=True) if gate is not None})
        if len(policy.gates) > 1 and unit.key(policy.gates, {}) not in measured:
            kept = tuple(1.0 - float(gate.genes["ratio"]) if gate is not None else 1.0 for gate in choice)
            yield kept, model.form_time(unit, policy, {}).device_ms


@pytest.mark.parametrize(
    ("name", "fewest"),
    [
        pytest.param("amd-epyc-2-cores-resnet50-b1-float32-1-thread-eager-torch2.15", 100, marks=pytest.mark.e2e),
        pytest.param("intel-xeon-2-cores-vgg16_bn-b1-float32-1-thread-eager-torch2.15", 25, marks=pytest.mark.e2e),
    ],
)
def test_forms_never_measured_that_keep_more_are_not_cheaper(name: str, fewest: int) -> None:
    profile = read_profile(FOLDER / f"{name}.jsonl")
    network = find_sites(load_model(profile.model).module, profile.input_shape)
    model, gates = LatencyModel(profile, network), dict[str, list[Gate]]()
    for site, gate in bind(load_space("unified"), network.sites).gates():
        if gate.family == "magnitude":
            gates.setdefault(site, []).append(gate)
    pairs = 0
    for unit in {unit.type: unit for unit in model.units}.values():
        for (more, its_ms), (less, ms) in itertools.permutations(never_measured(model, unit, gates), 2):
            if more != less and all(one >= other for one, other in zip(more, less, strict=True)):
                pairs += 1
                assert its_ms >= (1 - TOLERANCE) * ms, (unit.type, more, less)
    assert pairs >= fewest
