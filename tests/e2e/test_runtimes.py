"""Networks that Inductor compiles."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from autogate.errors import DeviceError
from autogate.latency.hardware import setting_of
from autogate.latency.timing import compare
from autogate.policy import Gate, Policy
from autogate.runtimes import runnable
from autogate.surgery import canonical
from tests.support.networks import assert_close, forms_of, images, known_network

CPU = setting_of(torch.device("cpu"), batch_size=1, layout="contiguous", threads=1)
POLICY = Policy({"block:layer1.1": Gate("mod", {"c": 8}), "map:layer2.1.conv1": Gate("magnitude", {"ratio": 0.5})})


def test_a_compiled_network_does_what_it_did() -> None:
    network = known_network("resnet20")
    _, compact = forms_of(network, canonical(POLICY, network.sites))
    x = images(network, 1)
    with torch.inference_mode():
        run = runnable(compact, x, replace(CPU, runtime="inductor"))
        assert_close(run(x), compact(x))  # type: ignore[arg-type]


def test_what_is_compiled_wrongly_is_refused() -> None:
    """Branches that are chosen while a network runs come out wrong (torch 2.14), or not at all."""
    network = known_network("resnet20")
    _, compact = forms_of(network, canonical(Policy({"block:layer2.1": Gate("lcnet")}), network.sites))
    x = images(network, 1)
    with pytest.raises(DeviceError, match="cannot run as inductor|computes something else"):
        runnable(compact, x, replace(CPU, runtime="inductor"))


def test_dense_and_gated_are_compared_in_the_same_runtime() -> None:
    network = known_network("resnet20")
    _, compact = forms_of(network, canonical(POLICY, network.sites))
    setting = replace(CPU, runtime="inductor")
    found = compare(network.model, compact, [images(network, 1)], setting, varies=False, seconds=0.5)
    assert found.setting.runtime == "inductor"
    assert found.dense.p50 > 0
