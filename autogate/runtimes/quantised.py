"""Networks in eight bits: ONNX files quantised after training, by ONNX Runtime's own quantiser.

Weights become signed integers with a scale for each channel, activations unsigned ones with a scale for each tensor,
from the smallest and largest values that calibration images give. Both runtimes of files read the result.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from autogate.errors import DeviceError
from autogate.runtimes.onnx_file import INPUT

INT8 = "int8"
CALIBRATION_IMAGES = 256
"""So many images show how large activations become."""
_AT_ONCE = 32


def quantise(path: Path, to: Path, images: torch.Tensor, batch_size: int | None = None) -> None:
    """Write a quantised copy of an ONNX file.

    Args:
        path: The file, of a network in float32 with the input ``images``.
        to: Where to write; the weights are in the file.
        images: What shows how large activations become, float32 ``[N, C, H, W]``.
        batch_size: Images per call that the file takes; None for any number. Images that do not fill a batch are left
            out, and repeated if they are fewer than one.

    Raises:
        DeviceError: If there are no images.
    """
    if not len(images):
        raise DeviceError("a network cannot be quantised without images that show how large its activations become")
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with _quiet():
        quantize_static(
            str(path),
            str(to),
            _reader(images, batch_size),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=CalibrationMethod.MinMax,
        )


def _reader(images: torch.Tensor, batch_size: int | None) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = (batch.numpy() for batch in calibration_batches(images, batch_size))

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {INPUT: batch}

    return Reader()


def calibration_batches(images: torch.Tensor, batch_size: int | None) -> Iterator[torch.Tensor]:
    """Yield batches of ``batch_size`` images, or of any size if it is None."""
    if batch_size is None:
        yield from torch.split(images, _AT_ONCE)
        return
    for start in range(0, max(1, len(images) // batch_size)):
        yield images[torch.arange(start * batch_size, (start + 1) * batch_size) % len(images)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the quantiser warns of off the terminal."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
