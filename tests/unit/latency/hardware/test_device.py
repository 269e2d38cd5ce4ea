"""Devices by name, and settings of a device."""

from __future__ import annotations

import os

import pytest
import torch

from autogate.errors import DeviceError
from autogate.latency.hardware import exclusive_inference, resolve_device, setting_of
from autogate.records import Setting


def setting(**more: object) -> Setting:
    options = {"batch_size": 2, "layout": "contiguous", "threads": 1, **more}
    return setting_of(torch.device("cpu"), **options)  # type: ignore[arg-type]


def test_devices() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name, complaint in (("gpu", "unknown device 'gpu'"), ("", "unknown device"), ("mps", "not supported")):
        with pytest.raises(DeviceError, match=f"{complaint}.*write cpu or cuda:0"):
            resolve_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_where_there_is_none() -> None:
    with pytest.raises(DeviceError, match="cuda:0 was asked for, but torch finds no CUDA device; use --device cpu"):
        resolve_device("cuda:0")


def test_settings_say_how_a_network_runs() -> None:
    found = setting()
    assert found.device == "cpu"
    assert "cores" in found.device_name
    assert (found.batch_size, found.dtype, found.layout, found.threads) == (2, "float32", "contiguous", 1)
    assert found.versions["torch"] == torch.__version__
    assert found.versions.keys() == {"torch", "python"}
    assert Setting.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"batch_size": 0}, "batch size 0 must be at least 1"),
        ({"batch_size": -3}, "batch size -3"),
        ({"threads": 0}, "--threads 0 must be at least 1"),
        ({"dtype": "float8"}, "unknown dtype 'float8'; known: float32, float16, bfloat16"),
        ({"layout": "nchw"}, "unknown layout 'nchw'; known: auto, contiguous, channels_last"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, object], complaint: str) -> None:
    with pytest.raises(DeviceError, match=complaint):
        setting(**wrong)


def test_inference_restores_what_it_changes() -> None:
    before = torch.get_num_threads()
    with exclusive_inference(setting(threads=1)):
        assert torch.get_num_threads() == 1
        assert torch.is_inference_mode_enabled()
    assert torch.get_num_threads() == before
    assert not torch.is_inference_mode_enabled()
    with pytest.raises(ZeroDivisionError), exclusive_inference(setting(threads=1)):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_no_more_threads_than_cores_that_the_process_may_use() -> None:
    mine = os.sched_getaffinity(0)
    with pytest.raises(DeviceError, match=f"may use {len(mine)} .*; lower it to {len(mine)}, or allow more"):
        setting(threads=len(mine) + 1)
    try:
        os.sched_setaffinity(0, {min(mine)})
        with pytest.raises(DeviceError, match="--threads 2 needs as many cores, and this process may use 1 "):
            setting(threads=2)
        assert setting(threads=None).threads == 1
    finally:
        os.sched_setaffinity(0, mine)
