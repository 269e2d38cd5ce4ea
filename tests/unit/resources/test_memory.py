"""Peak memory against networks whose need is known by hand."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from torch import nn

from autogate.gates import get_family
from autogate.latency.hardware import inference_setting, setting_of
from autogate.latency.timing import prepare, prepare_input
from autogate.policy import DENSE, Gate, Policy
from autogate.records import Setting
from autogate.resources import memory, peak_memory_bytes
from autogate.surgery import canonical, compact_form, script_decisions
from tests.support.networks import forms_of, images, known_network, random_policy

NETWORK = known_network("resnet20")
FLOAT = 4


def setting(batch_size: int = 1, device: str = "cpu") -> Setting:
    return setting_of(torch.device(device), batch_size=batch_size, layout="contiguous", threads=1)


class Wide(nn.Module):
    """``[N, 3, 32, 32]`` becomes twice as wide, then half as wide; nothing works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.widen, self.narrow = nn.Linear(32, 64), nn.Linear(64, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.widen(x))
        return self.narrow(x)


def wide_bytes(batch_size: int) -> int:
    weights = 32 * 64 + 64 + 64 * 16 + 16
    image = 3 * 32 * 32
    # The input stays; the activation holds its argument and its result, each twice as large.
    return FLOAT * (weights + batch_size * (image + 2 * image + 2 * image))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_weights_input_and_the_largest_live_activations_are_counted(batch_size: int) -> None:
    assert peak_memory_bytes(Wide(), DENSE, NETWORK, setting(batch_size)) == wide_bytes(batch_size)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_same_on_a_gpu(batch_size: int) -> None:
    known = setting(batch_size, "cuda:0")
    junk = torch.empty(3_000_000, device="cuda:0")  # leaves an odd block behind
    del junk
    found = [peak_memory_bytes(Wide(), DENSE, NETWORK, known) for _ in range(2)]
    assert found[0] == found[1] == wide_bytes(batch_size)


def test_scratch_space_of_kernels_is_counted() -> None:
    conv = nn.Conv2d(3, 16, 3, padding=1)
    weights, out = 16 * 27 + 16, 16 * 32 * 32
    least = FLOAT * (weights + 3 * 32 * 32 + out)
    # A kernel may rearrange input and weights, and no more than that.
    assert least <= peak_memory_bytes(conv, DENSE, NETWORK, setting()) <= least + FLOAT * (weights + 9 * 3 * 32 * 32)


def test_weights_do_not_matter_and_the_answer_is_always_the_same() -> None:
    policy = random_policy(NETWORK, ("magnitude", "mod", "antidote"), seed=1)
    _, compact = forms_of(NETWORK, policy)
    first = peak_memory_bytes(compact, policy, NETWORK, setting(2))
    for parameter in compact.parameters():
        parameter.data.normal_()
    assert {peak_memory_bytes(compact, policy, NETWORK, setting(2)) for _ in range(3)} == {first}


def test_what_is_cut_away_is_saved() -> None:
    dense = compact_form(NETWORK, DENSE, {})
    dropped = canonical(Policy({"block:layer3.1": Gate("drop"), "block:layer3.2": Gate("drop")}), NETWORK.sites)
    _, lighter = forms_of(NETWORK, dropped)
    gone = sum(p.numel() for p in dense.parameters()) - sum(p.numel() for p in lighter.parameters())
    left = peak_memory_bytes(lighter, dropped, NETWORK, setting())
    saved = peak_memory_bytes(dense, DENSE, NETWORK, setting()) - left
    # The last stage is not where activations are largest: its weights are all there is to save.
    assert gone == 4 * (64 * 64 * 9 + 64)
    assert saved == FLOAT * gone


def varying(batch_size: int) -> tuple[Policy, nn.Module]:
    kinds = {"block"} if batch_size > 1 else {"block", "map"}
    gates = {name: Gate("lcnet") for name, site in NETWORK.sites.items() if site.kind in kinds}
    policy = canonical(
        Policy({name: gate for name, gate in gates.items() if get_family("lcnet").fits(NETWORK.sites[name])}),
        NETWORK.sites,
    )
    return policy, forms_of(NETWORK, policy)[1]


@pytest.mark.e2e
@pytest.mark.parametrize("batch_size", [1, 4])
def test_gates_that_decide_per_image_count_with_their_heaviest_input(batch_size: int) -> None:
    policy, compact = varying(batch_size)
    place = setting(batch_size)
    worst = peak_memory_bytes(compact, policy, NETWORK, place)
    ladders = {site: get_family(gate.family).decisions(NETWORK.sites[site], gate, batch_size) for site, gate in policy}
    peaks = []
    for step in range(-1, -1 - min(map(len, ladders.values())), -1):
        alone = prepare(forms_of(NETWORK, policy)[1], place)
        script_decisions(alone, {site: ladder[step] for site, ladder in ladders.items()})
        peaks.append(_observed(alone, images(NETWORK, batch_size), place))
    # No rung of the ladder takes more, and the lightest takes less.
    assert max(peaks) <= worst
    assert peaks[-1] < worst
    for seed in range(3):
        assert _observed(prepare(varying(batch_size)[1], place), images(NETWORK, batch_size, seed), place) <= worst


def _observed(module: nn.Module, x: torch.Tensor, place: Setting) -> int:
    """Peak of one pass on ``x``, whatever its gates decide."""
    x = prepare_input(x, place)
    with inference_setting(place):
        return sum(p.nbytes for p in module.parameters()) + x.nbytes + memory._observed_on_cpu(module, x)


def test_the_network_that_is_looked_at_stays_as_it_is() -> None:
    policy, compact = varying(1)
    x = images(NETWORK, 1)
    with torch.no_grad():
        before = compact(x)
    peak_memory_bytes(compact, policy, NETWORK, replace(setting(), dtype="bfloat16"))
    with torch.no_grad():
        assert torch.equal(compact(x), before)
    assert all(module.scripted is None for module in compact.modules() if hasattr(module, "scripted"))


def test_looking_is_quiet(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    peak_memory_bytes(Wide(), DENSE, NETWORK, setting())
    assert capfd.readouterr() == ("", "")
    assert os.environ["KINETO_LOG_LEVEL"]
