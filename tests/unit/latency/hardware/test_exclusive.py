"""Inference leaves the process as it was."""

from __future__ import annotations

import pytest
import torch

from autogate.latency.hardware import exclusive_inference, setting_of
from autogate.records import Setting


def setting(**more: object) -> Setting:
    options = {"batch_size": 2, "layout": "contiguous", "threads": 1, **more}
    return setting_of(torch.device("cpu"), **options)  # type: ignore[arg-type]


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
