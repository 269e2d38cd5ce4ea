"""A network as a runtime of files computes it in its own element type: what its accuracy is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from autogate.runtimes.isolated import IsolatedNetwork, IsolatedProcess
from autogate.runtimes.onnx_file import write_onnx
from autogate.runtimes.quantised import INT8, calibration_batches, quantise


class DeployedNetwork(nn.Module):
    """A compact network as a runtime of files computes it.

    Args:
        compact: The network, in evaluation mode on the CPU.
        runtime: Name of the runtime.
        dtype: Element type that it computes in there.
        threads: CPU threads that compute there.
        images: Calibration images, float32 ``[N, C, H, W]``.
        batch_size: Images per call that the network can be written for; None for any number.

    Raises:
        DeviceError: If the network cannot be quantised or run.
    """

    def __init__(
        self, compact: nn.Module, runtime: str, dtype: str, threads: int, images: torch.Tensor, batch_size: int | None
    ) -> None:
        super().__init__()
        process = IsolatedProcess(runtime, threads, dtype)
        plain = file = process.new_path(".onnx")
        example = next(calibration_batches(images, batch_size or 2))
        write_onnx(compact, example, plain, any_batch=batch_size is None)
        if dtype == INT8:
            quantise(plain, file := process.new_path(".onnx"), images, batch_size)
        self._network = IsolatedNetwork(process, file)
        self._batch_size = batch_size

    def forward(self, x: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return what the network gives for a batch of any size, ``[N, C, H, W]``."""
        here = x.detach().cpu().contiguous()
        size = self._batch_size or len(here)
        parts = [self._network(batch) for batch in _filled(here, size)]
        return _joined(parts, len(here), x.device)


def _filled(x: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    """Yield batches of ``size`` images; the last one goes on from the first image."""
    for start in range(0, len(x), size):
        yield x[torch.arange(start, start + size) % len(x)]


def _joined(
    parts: Sequence[torch.Tensor | dict[str, torch.Tensor]], images: int, device: torch.device
) -> torch.Tensor | dict[str, torch.Tensor]:
    if isinstance(parts[0], dict):
        return {
            place: torch.cat([part[place] for part in parts if isinstance(part, dict)])[:images].to(device)
            for place in parts[0]
        }
    return torch.cat([part for part in parts if isinstance(part, torch.Tensor)])[:images].to(device)
