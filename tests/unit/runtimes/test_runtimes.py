"""Ways to run a network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from autogate.errors import DeviceError
from autogate.latency.hardware import setting_of
from autogate.latency.model import cut_into_units
from autogate.latency.profile.plan import plan_alone
from autogate.policy import Gate, Policy
from autogate.runtimes import RUNTIMES, Runnable, Runtime, check_profiled, check_runtime, runnable
from autogate.space import load_space
from autogate.space.bound import bind
from autogate.surgery import canonical
from tests.support.networks import assert_close, forms_of, images, known_network

CPU = setting_of(torch.device("cpu"), batch_size=1, layout="contiguous", threads=1)
POLICY = Policy({"block:layer1.1": Gate("mod", {"c": 8}), "map:layer2.1.conv1": Gate("magnitude", {"ratio": 0.5})})


@pytest.mark.e2e
def test_what_cannot_be_compiled_is_said_in_a_line() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("not\nhere")

    with pytest.raises(DeviceError, match="cannot run as inductor: .*use --runtime eager"):
        runnable(Odd(), torch.zeros(1), replace(CPU, runtime="inductor"))


def test_runtimes_that_are_not_to_be_had() -> None:
    with pytest.raises(DeviceError, match="unknown runtime 'fast'"):
        setting_of(torch.device("cpu"), batch_size=1, layout="contiguous", runtime="fast")
    with pytest.raises(DeviceError, match="runs on a GPU, not on cpu; use --runtime eager"):
        check_runtime("cuda_graph", torch.device("cpu"))


def test_a_runtime_that_profiles_nothing_cannot_be_searched_in() -> None:
    check_profiled("eager")
    check_profiled("cuda_graph")
    with pytest.raises(
        DeviceError, match="cannot be profiled or searched in runtime 'inductor'; use one of eager, cuda_"
    ):
        check_profiled("inductor")


def test_element_types_packages_and_failures_of_a_runtime_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Picky(Runtime):
        name = "picky"
        packages = {"torch": "torch", "no_such_module": "no-such-package"}
        dtypes = frozenset({"float16"})

        def prepare(self, module: nn.Module, example: torch.Tensor) -> Runnable:
            return module

        def unsupported_reason(self, device: torch.device) -> str | None:
            raise OSError("no\ndriver")

    monkeypatch.setitem(RUNTIMES._items, "picky", Picky())
    cpu = torch.device("cpu")
    with pytest.raises(DeviceError, match="runtime 'picky' cannot run dtype 'float32'; it runs float16"):
        setting_of(cpu, batch_size=1, layout="contiguous", runtime="picky")
    setting = setting_of(cpu, batch_size=1, layout="contiguous", dtype="float16", runtime="picky")
    assert setting.versions["torch"]
    with pytest.raises(DeviceError, match="picky needs no-such-package; install with `pip install no-such-package`"):
        check_runtime("picky", cpu)
    monkeypatch.setattr(Picky, "packages", {})
    with pytest.raises(DeviceError, match="runtime picky failed: OSError: no; use --runtime eager"):
        check_runtime("picky", cpu)


def test_a_captured_network_has_no_executor_that_waits_for_data() -> None:
    network = known_network("resnet20")
    units = cut_into_units(network)
    space = bind(load_space("antidote"), network.sites)

    setting = setting_of(torch.device("cpu"), batch_size=1, layout="contiguous", threads=1)

    def executors(captured: bool) -> set[str]:
        plan = plan_alone(space, network.sites, units, setting, captured=captured)
        return {name for planned in plan for name in planned.executors.values()}

    assert executors(captured=True) == executors(captured=False) - {"halo"}
    assert "halo" in executors(captured=False)


@pytest.mark.gpu
def test_a_captured_network_does_what_it_did() -> None:
    network = known_network("resnet20")
    _, compact = forms_of(network, canonical(POLICY, network.sites))
    compact = compact.cuda()
    x, other = (images(network, 1, seed).cuda() for seed in (0, 1))
    setting = setting_of(torch.device("cuda:0"), batch_size=1, layout="contiguous", runtime="cuda_graph")
    with torch.inference_mode():
        run = runnable(compact, x, setting)
        assert_close(run(other), compact(other))  # type: ignore[arg-type]
