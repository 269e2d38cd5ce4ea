"""The built-in data: 1,797 scanned digits that come with scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import torch
from PIL import Image

from autogate.data.image_data import ImageData, Options, assemble, stratified
from autogate.data.source import ImageSource
from autogate.policy import digest
from autogate.records import Preprocessing

PREPROCESSING = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_TEST_FRACTION = 0.2
_WHITE = 16


class _DigitsSource(ImageSource):
    """Some of the scans, each 8x8 pixels of 17 greys."""

    def __init__(self, scans: torch.Tensor, labels: torch.Tensor, index: torch.Tensor) -> None:
        self._grey = (scans[index] * (255 / _WHITE)).round().to(torch.uint8).numpy()
        self.labels = labels[index]

    def load(self, position: int) -> Image.Image:
        """Return a scan."""
        return Image.fromarray(self._grey[position])

    def identity(self) -> str:
        """Return a hash of all pixels."""
        return digest(self._grey.tolist())


def load_digits(options: Options) -> ImageData:
    """Load the digits; a fifth of them, the same share of each digit, is the test split.

    They are enlarged to 32x32 pixels unless ``options.preprocessing`` says otherwise.
    """
    from sklearn import datasets

    bunch = datasets.load_digits()
    scans, labels = torch.from_numpy(bunch.images), torch.from_numpy(bunch.target).long()
    rest, test = stratified(labels, round(_TEST_FRACTION * len(labels)), options.seed)
    return assemble(
        "digits",
        _DigitsSource(scans, labels, rest.sort().values),
        _DigitsSource(scans, labels, test.sort().values),
        class_names=tuple(str(digit) for digit in range(10)),
        options=replace(options, preprocessing=options.preprocessing or PREPROCESSING),
        flip=False,
    )
