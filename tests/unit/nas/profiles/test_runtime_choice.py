"""Which runtime ``auto`` is, on a device that takes as long in each as one says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from autogate.errors import DeviceError, SpaceError
from autogate.goals import SearchConfig, make_config
from autogate.latency.hardware import setting_of
from autogate.latency.profile import Instruments, write_profile
from autogate.nas.profiles import settled_runtime
from autogate.records import RuntimeTime, Setting
from autogate.space import load_space
from autogate.space.bound import bind
from autogate.studies import Reporter
from tests.support.networks import known_network
from tests.support.profiles import profile_of

CPU, NETWORK = torch.device("cpu"), known_network("resnet20")
SPACE = load_space("drop")


class Heard(Reporter):
    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Device:
    """Takes so many milliseconds in each runtime, or fails with a text; time passes as networks run."""

    def __init__(self, ms: Mapping[str, float | str], channels_last: float = 1.0) -> None:
        self.ms, self.channels_last, self.now_s = ms, channels_last, 0.0
        self.instruments = Instruments(
            clock=lambda: self.now_s, exclusive=lambda setting: nullcontext(), timed=self.timed
        )

    def timed(self, module: nn.Module, x: torch.Tensor, setting: Setting) -> Callable[[], float]:
        taken = self.ms[setting.runtime]
        if isinstance(taken, str):
            raise DeviceError(taken)

        def run() -> float:
            self.now_s += 0.01
            return taken * (self.channels_last if setting.layout == "channels_last" else 1.0)

        return run


def settled(device: Device, heard: Reporter | None = None, **more: Any) -> tuple[SearchConfig, tuple[RuntimeTime, ...]]:
    config = make_config(**{"model": "resnet20", "space": SPACE.to_json(), "latency_budget": "60%", **more})
    return settled_runtime(config, NETWORK, CPU, heard or Reporter(), device.instruments)


ALL = {"eager": 3.0, "onnxruntime": 2.0, "openvino": 1.0}


def test_the_fastest_runtime_is_taken_and_all_are_told() -> None:
    heard = Heard()
    config, found = settled(Device(ALL, channels_last=0.5), heard)
    assert config.runtime == "openvino"
    assert {one.runtime: (one.dense_ms, one.layout) for one in found if one.dense_ms is not None} == {
        "eager": (1.5, "channels_last"),
        "onnxruntime": (2.0, "contiguous"),
        "openvino": (1.0, "contiguous"),
    }
    [gpu_only] = [one for one in found if one.dense_ms is None]
    assert (gpu_only.runtime, "runs on a GPU" in str(gpu_only.reason)) == ("cuda_graph", True)
    [line] = heard.notes
    assert line == (
        "dense takes 1.000 ms in openvino, 1.500 ms in eager, 2.000 ms in onnxruntime; openvino is the target "
        "(--runtime for another)"
    )


def test_a_runtime_in_which_the_network_fails_is_passed_over() -> None:
    config, found = settled(Device({**ALL, "openvino": "no such operator"}))
    assert config.runtime == "onnxruntime"
    assert RuntimeTime("openvino", reason="no such operator") in found
    with pytest.raises(DeviceError, match=r"the network runs in no runtime here: eager: broken; cuda_graph: .*"):
        settled(Device(dict.fromkeys(ALL, "broken")))


def test_what_cannot_be_had_in_a_runtime_rules_it_out() -> None:
    assert settled(Device(ALL), layout="channels_last")[0].runtime == "eager"
    assert settled(Device(ALL), dtype="bfloat16")[0].runtime == "openvino"
    assert {one.runtime: one.reason for one in settled(Device(ALL), dtype="bfloat16")[1]}["onnxruntime"] == (
        "it does not run bfloat16"
    )
    assert settled(Device(ALL), memory_budget="50%")[0].runtime == "eager"


def test_what_is_asked_for_or_profiled_is_not_timed(tmp_path: Path) -> None:
    nothing = Device({})
    assert settled(nothing, runtime="eager") == (make_config_of("eager"), ())
    space = bind(SPACE, NETWORK.sites)
    taken = profile_of(NETWORK, space.gates(), networks=12)
    setting = setting_of(CPU, batch_size=1, layout="contiguous", threads=1, runtime="onnxruntime")
    write_profile(replace(taken, setting=setting), tmp_path / "profile.jsonl")
    config, found = settled(nothing, profile=str(tmp_path / "profile.jsonl"))
    assert (config.runtime, found) == ("onnxruntime", ())


def make_config_of(runtime: str) -> SearchConfig:
    return make_config(model="resnet20", space=SPACE.to_json(), latency_budget="60%", runtime=runtime)


def test_what_is_wrong_in_any_runtime_is_said_before_anything_is_timed() -> None:
    with pytest.raises(SpaceError, match="no gate of this search space fits"):
        settled(Device({}), space={"schema": "autogate.space/1", "sites": {}})
    with pytest.raises(DeviceError, match="--threads 999 needs as many cores"):
        settled(Device({}), threads=999)
