from __future__ import annotations

import torch

from autogate.latency.hardware import setting_of
from autogate.latency.timing import take_card
from autogate.latency.timing.card import cache_bytes


def test_a_card_of_this_device() -> None:
    setting = setting_of(torch.device("cpu"), batch_size=1, layout="contiguous", threads=1)
    card = take_card(setting, seconds=1.0)
    assert 0.01 < card.launch_us < 1000
    assert card.sync_us == 0
    assert 0.1 < card.copy_gb_per_s < 1000
    assert set(card.matmul_tflops) == {"float32", "float16", "bfloat16"}
    assert 1e-4 < card.matmul_tflops["float32"] < 100
    assert card.cache_bytes == cache_bytes(torch.device("cpu"))
    assert all(size > 1024 for size in card.cache_bytes.values())
    assert {"governor", "load", "busiest"} <= set(card.state)
