"""Which decisions of a gate a profile times, in runtimes that build networks fast and slowly."""

from __future__ import annotations

import pytest
import torch

from autogate.gates import get_family
from autogate.latency.hardware import setting_of
from autogate.latency.model.decisions import timed_decisions
from autogate.policy import Gate
from tests.support.networks import known_network

SITES = known_network("resnet20").sites
BLOCK, MAP = SITES["block:layer2.1"], SITES["map:layer2.1.conv1"]


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime"])
def test_the_lightest_and_the_heaviest_decision_are_always_timed(runtime: str) -> None:
    for batch_size in (1, 8) if runtime == "eager" else (1,):
        setting = setting_of(
            torch.device("cpu"), batch_size=batch_size, layout="contiguous", threads=1, runtime=runtime
        )
        for site, gate in ((MAP, Gate("lcnet")), (BLOCK, Gate("lcnet")), (MAP, Gate("magnitude", {"ratio": 0.5}))):
            options = get_family(gate.family).decisions(site, gate, batch_size)
            timed = timed_decisions(site, gate, setting)
            assert (timed[0], timed[-1]) == (options[0], options[-1])
            assert set(timed) <= set(options)
            assert list(timed) == sorted(timed, key=options.index)
            assert len(timed) == (len(options) if runtime == "eager" else min(3, len(options)))
