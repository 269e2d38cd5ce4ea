"""Compare finalists with dense on the target: latency, and energy where the device counts it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from autogate.data import Split
from autogate.gates import get_family
from autogate.goals import LatencyBudget, latency_excess
from autogate.latency.hardware import Patience
from autogate.latency.timing import compare
from autogate.policy import DENSE, Policy
from autogate.records import Comparison, EnergyComparison, LatencyStat, Measurement, Setting
from autogate.resources.energy import compare_energy, energy_counter
from autogate.sites import Network
from autogate.surgery import compact_form

_MEASURE_S = 20.0
_LONGER = 3.0
_NEAR_MISS = 0.1
# Dense this much slower than predicted was disturbed; then it is measured so often again.
_DISTURBED = 1.25
_REPEATS = 2
VARYING_INPUTS = 64
FIXED_INPUTS = 8


class FinalistBenchmark:
    """Runs gated networks in turns with the dense one, on validation images.

    Args:
        network: The traced network, with its dense weights.
        val: Validation images.
        setting: How both run.
        stat: Statistic over inputs that counts as the latency.
        dense_ms: What the dense network takes by prediction, in milliseconds, against which noise is told.
        patience: Waits for a quiet host between measurements that were disturbed.
        compare: Times two compact networks against each other.
    """

    def __init__(
        self,
        network: Network,
        val: Split,
        setting: Setting,
        stat: LatencyStat,
        dense_ms: float,
        *,
        patience: Patience | None = None,
        compare: Callable[..., Comparison] = compare,
    ) -> None:
        self.network = network
        self.val = val
        self.setting = setting
        self.stat = stat
        self.dense_ms = dense_ms
        self._patience = patience or Patience()
        self._compare = compare

    def measure(self, policy: Policy, gated: nn.Module, budget: LatencyBudget | None) -> Comparison:
        """Return latency and energy of a compact network and of dense; a near miss of ``budget`` gets a longer look.

        A measurement that other work disturbed is made again, after waiting for a quiet host. If all were disturbed,
        the intervals are as wide as the disturbance was large.
        """
        inputs = self.inputs(policy)
        dense = compact_form(self.network, DENSE, {})

        def compared(seconds: float, seed: int = 0) -> Comparison:
            varies = policy_varies(policy)
            return self._compare(
                dense, gated, inputs, self.setting, varies=varies, stat=self.stat, seconds=seconds, seed=seed
            )

        comparison = compared(_MEASURE_S)
        if 0 < latency_excess(comparison, budget) < _NEAR_MISS:
            comparison = compared(_LONGER * _MEASURE_S, seed=1)
        for seed in range(2, 2 + _REPEATS):
            if not is_disturbed(comparison.dense.p50, self.dense_ms):
                break
            self._patience.wait(self.setting)
            comparison = min(comparison, compared(_MEASURE_S, seed), key=lambda one: one.dense.p50)
        if is_disturbed(comparison.dense.p50, self.dense_ms):
            comparison = widened(comparison, comparison.dense.p50 / self.dense_ms)
        return replace(comparison, energy=energy_beside_dense(dense, gated, inputs, self.setting))

    def energy(self, policy: Policy, gated: nn.Module) -> EnergyComparison | None:
        """Return the energy alone."""
        dense = compact_form(self.network, DENSE, {})
        return energy_beside_dense(dense, gated, self.inputs(policy), self.setting)

    def inputs(self, policy: Policy) -> list[torch.Tensor]:
        """Return real batches, ``[batch, C, H, W]`` each; more where the cost depends on them."""
        return measuring_inputs(self.val, self.setting.batch_size, policy_varies(policy))


def is_disturbed(dense_ms: float, predicted_ms: float) -> bool:
    """Whether dense was so much slower than predicted that other work must have disturbed it, and what ran beside it.

    Args:
        dense_ms: What it took, in milliseconds.
        predicted_ms: What it takes by prediction.
    """
    return dense_ms > _DISTURBED * predicted_ms


def widened(comparison: Comparison, factor: float) -> Comparison:
    """Return a measurement whose intervals hold what it would have been, had each network been up to so much faster."""

    def faster(measured: Measurement) -> Measurement:
        low_ms, high_ms = measured.interval
        return replace(measured, interval=(low_ms / factor, high_ms))

    low, high = comparison.ratio_interval
    dense, gated = faster(comparison.dense), faster(comparison.gated)
    return replace(comparison, dense=dense, gated=gated, ratio_interval=(low / factor, high * factor))


def energy_beside_dense(
    dense: nn.Module, gated: nn.Module, inputs: list[torch.Tensor], setting: Setting
) -> EnergyComparison | None:
    """Return the energy per image of two compact networks; None where the device does not count it.

    Args:
        dense: The dense compact network.
        gated: The gated compact network.
        inputs: Input batches, float32 ``[batch, C, H, W]`` each.
        setting: How both run.
    """
    with energy_counter(torch.device(setting.device)) as counter:
        return None if counter is None else compare_energy(dense, gated, inputs, setting, counter)


def policy_varies(policy: Policy) -> bool:
    """Whether the policy's cost depends on the input."""
    return any(get_family(gate.family).varies for _, gate in policy)


def measuring_inputs(split: Split, batch_size: int, varies: bool) -> list[torch.Tensor]:
    """Return real batches of exactly ``batch_size`` images, ``[batch, C, H, W]`` each."""
    wanted = VARYING_INPUTS if varies else FIXED_INPUTS
    limit = min(len(split), wanted * batch_size)
    images = torch.cat([images for images, _ in split.batches(64, limit=limit)])
    while len(images) < batch_size:
        images = torch.cat([images, images])
    starts = range(0, len(images) - batch_size + 1, batch_size)
    return [images[start : start + batch_size] for start in starts][:wanted]
