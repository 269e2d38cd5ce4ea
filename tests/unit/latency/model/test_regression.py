"""Times of forms that were never run, on a device whose times follow from what it executes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from autogate.latency.model import REMOVED, LatencyModel, keys_of
from autogate.latency.model.regression import Counts, FormRegression
from autogate.policy import Gate, Policy
from autogate.records import Operator, UnitForm, UnitSample
from tests.support.networks import known_network
from tests.support.profiles import CARD, SETTING, profile_of

KEPT = (1.0, 0.75, 0.5, 0.25)


def operators(channels: int, size: int, inputs: float = 1.0, outputs: float = 1.0) -> tuple[Operator, ...]:
    """A convolution with what is left of its channels, and an activation behind it."""
    read, written = round(channels * inputs), round(channels * outputs)
    macs = 9 * read * written * size**2
    glue = 4 * 2 * written * size**2
    moved = 4 * (9 * read * written + (read + written) * size**2)
    return Operator("aten.convolution", macs, moved, read, written), Operator("aten.relu", 0, glue)


def true_ms(form: tuple[Operator, ...]) -> float:
    """A launch for each operator, products at a rate that grows with their width, and the memory."""
    conv, glue = form
    rate = 2e7 * conv.outputs / (conv.outputs + 8)
    return 0.1 + conv.macs / rate + (conv.moved_bytes + glue.moved_bytes) / 5e6


UNITS = {f"{c}x{size}": (c, size) for c in (16, 32, 64, 128) for size in (8, 16, 32)}


def counted(unit: str, inputs: float, outputs: float) -> Counts:
    def of(inputs: float, outputs: float) -> Counts:
        return Counts.of(operators(*UNITS[unit], inputs, outputs), CARD, SETTING)

    dense = of(1.0, 1.0)
    return dense.changed_by(of(inputs, 1.0), dense).changed_by(of(1.0, outputs), dense)


Form = tuple[str, float, float]
"""Unit, and what is left of its inputs and outputs."""


def timed(unit: str, inputs: float, outputs: float) -> float:
    return true_ms(operators(*UNITS[unit], inputs, outputs))


def multiplied(unit: str, inputs: float, outputs: float) -> float:
    return timed(unit, inputs, 1.0) * timed(unit, 1.0, outputs) / timed(unit, 1.0, 1.0)


def regression(forms: list[Form], times: list[float]) -> FormRegression:
    alone = [multiplied(*form) for form in forms]
    return FormRegression(
        [unit for unit, _, _ in forms], [counted(*form) for form in forms], alone, times, [1] * len(forms)
    )


def predicted(fitted: FormRegression, forms: list[Form]) -> np.ndarray:
    alone = [multiplied(*form) for form in forms]
    return fitted.predict_ms([unit for unit, _, _ in forms], [counted(*form) for form in forms], alone)


@pytest.fixture(scope="module")
def lone() -> list[Form]:
    """Dense units and lone gates at their inputs or outputs."""
    return [
        (unit, inputs, outputs)
        for unit in UNITS
        for inputs, outputs in itertools.product(KEPT, KEPT)
        if 1.0 in (inputs, outputs)
    ]


def test_gates_together_are_told_from_gates_alone_and_some_together(lone: list[Form]) -> None:
    both = [(unit, i, o) for unit in UNITS for i, o in itertools.product(KEPT[1:], KEPT[1:])]
    known = [*lone, *both[::3]]
    fitted = regression(known, [timed(*form) for form in known])
    never = [form for form in both if form not in known]
    expected = np.array([timed(*form) for form in never])
    error = np.abs(predicted(fitted, never) / expected - 1)
    of_product = np.abs(np.array([multiplied(*form) for form in never]) / expected - 1)
    assert error.mean() < 0.85 * of_product.mean()
    assert error.max() < 0.9 * of_product.max()


def test_leaving_a_form_out_is_as_if_it_had_not_been_measured(lone: list[Form]) -> None:
    rng = np.random.default_rng(0)
    times = [timed(*form) * float(rng.uniform(0.9, 1.1)) for form in lone]
    whole = regression(lone, times)
    for row in (0, 7, len(lone) - 1):
        others = [i for i in range(len(lone)) if i != row]
        less = regression([lone[i] for i in others], [times[i] for i in others])
        # Only the scale of the counts and the mean level know of the row that is left out.
        assert whole.left_out_ms[row] == pytest.approx(predicted(less, [lone[row]])[0], rel=0.03)


def test_it_says_the_same_every_time(lone: list[Form]) -> None:
    times = [timed(*form) for form in lone]
    one, two = (predicted(regression(lone, times), [("64x8", 0.5, 0.5)]) for _ in range(2))
    assert one.tolist() == two.tolist()


@pytest.mark.e2e
def test_a_model_estimates_what_was_never_run_and_is_exact_where_it_was() -> None:
    network = known_network("vgg16_bn")
    maps = [site.name for site in network.sites.values() if site.kind == "map" and site.has_producer]
    gates = [(site, Gate("magnitude", {"ratio": ratio})) for site in maps for ratio in (0.25, 0.5)]
    profile = profile_of(network, gates, model="vgg16_bn")
    plain = LatencyModel(profile, network)
    keys = {sample.key for sample in profile.units}
    forms = []
    for key in keys:
        cut = [0.75 if "ratio=0.25" in part else 0.5 for part in key.split("|")[1:]]
        channels = 64 + 8 * (len(key.split("|")[0]) % 4)
        forms.append(UnitForm(key, operators(channels, 16, *cut)))
    knowing = LatencyModel(replace(profile, forms=tuple(forms)), network)
    half = Gate("magnitude", {"ratio": 0.5})
    alone = Policy({maps[0]: half})
    assert knowing.predict(alone).p50 == pytest.approx(plain.predict(alone).p50)
    together = Policy(dict.fromkeys(maps, half))
    never_run = [key for key in keys_of(plain.units, together, {}) if key != REMOVED and key not in keys]
    assert never_run
    assert knowing.predict(together).p50 != pytest.approx(plain.predict(together).p50, rel=1e-6)
    seen = UnitSample(never_run[0], 0.123, 0.0, 10, 0)
    exact = LatencyModel(replace(profile, units=(*profile.units, seen)), network)
    assert exact.predict(together).p50 != plain.predict(together).p50
