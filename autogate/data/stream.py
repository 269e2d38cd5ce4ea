"""A split that decodes its images each time, for data larger than memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from autogate.data.source import SMALL_SIZE, ImageSource, Picture, fit, no_pillow_warnings, to_uint8, with_channels
from autogate.data.split import Split, normalise
from autogate.errors import DataError
from autogate.records import Preprocessing

# Keeps the seeds of neighbouring epochs apart for any realistic number of images.
_SEED_STEP = 1_000_003


class StreamSplit(Split):
    """Images read when they are needed.

    Args:
        source: Images that several splits may share.
        index: Those that belong to this split, in stored order, int64 ``[N]``.
        preprocessing: Input size in pixels and normalisation.
        flip: Whether a mirrored image keeps its class.
        workers: Processes that decode; 0 decodes in this one.
    """

    def __init__(
        self, source: ImageSource, index: Tensor, preprocessing: Preprocessing, *, flip: bool, workers: int
    ) -> None:
        super().__init__(source.labels[index], preprocessing.input_shape)
        self._source = source
        self._index = index
        self._flip = flip
        self._workers = workers
        self._scale = 1 / (255 * torch.tensor(preprocessing.std))
        self._offset = -torch.tensor(preprocessing.mean) / torch.tensor(preprocessing.std)

    def _batches(self, order: Tensor, batch_size: int, augment: bool, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        transform = _augmentation(self.shape, self._flip) if augment else None
        loader: DataLoader[Any] = DataLoader(
            _Decoder(self._source, self.shape, transform, seed),
            batch_size=batch_size,
            sampler=self._index[order].tolist(),
            num_workers=self._workers,
            collate_fn=_collate,
            generator=torch.Generator().manual_seed(seed),  # else the loader draws from the global one
        )
        done = 0
        for batch in loader:
            if isinstance(batch, DataError):
                raise batch
            labels = self.labels[order[done : done + len(batch)]]
            done += len(batch)
            yield normalise(batch, self._scale, self._offset), labels


class _Decoder(Dataset[Any]):
    """Decodes and augments single images; a damaged one is returned as the error it causes.

    Raising in a worker process would bury the message in a foreign traceback.
    """

    def __init__(
        self, source: ImageSource, shape: tuple[int, int, int], transform: v2.Transform | None, seed: int
    ) -> None:
        self._source = source
        self._shape = shape
        self._transform = transform
        self._seed = seed

    def __getitem__(self, position: int) -> Tensor | DataError:
        try:
            with no_pillow_warnings():
                image = self._source.load(position)
        except DataError as problem:
            return problem
        if self._transform is None:
            return to_uint8(fit(image, self._shape))
        # torchvision's transforms draw from the global generator. A seed per image and epoch makes the result
        # the same for any number of workers.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self._seed * _SEED_STEP + position)
            changed: Picture = self._transform(with_channels(image, self._shape[0]))
        return to_uint8(changed)


def _augmentation(shape: tuple[int, int, int], flip: bool) -> v2.Transform:
    steps: list[Any] = []
    _, height, width = shape
    if max(height, width) <= SMALL_SIZE:
        steps += [v2.Lambda(partial(fit, shape=shape))]
        steps += [v2.RandomCrop((height, width), padding=[width // 8, height // 8], padding_mode="reflect")]
    else:
        steps += [v2.RandomResizedCrop((height, width), interpolation=v2.InterpolationMode.BILINEAR, antialias=True)]
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    return v2.Compose(steps)


def _collate(samples: Sequence[Tensor | DataError]) -> Tensor | DataError:
    for sample in samples:
        if isinstance(sample, DataError):
            return sample
    return torch.stack([sample for sample in samples if isinstance(sample, Tensor)])
