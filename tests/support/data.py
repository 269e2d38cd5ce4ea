"""Real images, few enough that a training takes a moment."""

from __future__ import annotations

import functools

import torch
from torch.utils.data import TensorDataset

from autogate.data import ImageData, from_datasets


@functools.cache
def few_digits(size: int = 32) -> ImageData:
    """Return 300 scanned digits to train on, 33 of them for validation, and 60 to test on, as RGB images."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = torch.tensor(bunch.images[:360] / 16).float()[:, None].expand(-1, 3, -1, -1)
    pixels = torch.nn.functional.interpolate(pixels, size=(size, size))
    labels = torch.tensor(bunch.target[:360])
    train, test = (TensorDataset(pixels[part], labels[part]) for part in (slice(300), slice(300, None)))
    return from_datasets(train, test, num_classes=10, val_fraction=0.11, flip=False)
