"""How networks are trained: the numbers that, with the data and the start, decide an accuracy."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from autogate.policy import digest

CODE_VERSION = 3
"""Raised whenever training changes in a way that changes accuracies."""

_SHARED_IMAGES = 15_000
_SHORT_IMAGES = 6_000
_FULL_IMAGES = 90_000
_MAX_EPOCHS = 8


@dataclass(frozen=True)
class Recipe:
    """Settings of one training.

    Attributes:
        images: Training images to see in all, repetitions counted.
        lr: Peak learning rate.
        batch_size: Images per step.
        momentum: Momentum of SGD (Nesterov).
        weight_decay: Weight decay of weights with more than one dimension.
        bfloat16: Whether layers compute in bfloat16 (autocast); gates, losses and running statistics stay in float32.
    """

    images: int
    lr: float
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    bfloat16: bool = False

    @property
    def digest(self) -> str:
        """Identity of the recipe, version of the training code included."""
        return digest({**asdict(self), "code": CODE_VERSION})


def _batch_size(train_images: int) -> int:
    """Small sets get small batches, so that an epoch has enough steps to learn from."""
    return 128 if train_images >= 10_000 else 32


def base_recipe(train_images: int, epochs: int | None, lr: float | None, *, bfloat16: bool = False) -> Recipe:
    """Return the recipe for training a dense network from random weights."""
    epochs = epochs or (8 if train_images < 10_000 else 60)
    batch_size = _batch_size(train_images)
    return Recipe(train_images * epochs, lr or 0.1 * batch_size / 128, batch_size, bfloat16=bfloat16)


def shared_recipe(train_images: int, lr: float | None, *, bfloat16: bool = False) -> Recipe:
    """Return the recipe for the weights that all candidates start from."""
    images = min(_SHARED_IMAGES, 3 * train_images)
    return Recipe(images, lr or 0.01, _batch_size(train_images), bfloat16=bfloat16)


def short_recipe(train_images: int, lr: float | None, epochs: int | None = None, *, bfloat16: bool = False) -> Recipe:
    """Return the recipe for judging one candidate: an epoch of a small set, a part of one of a large set."""
    images = min(_SHORT_IMAGES, train_images) if epochs is None else train_images * epochs
    return Recipe(images, lr or 0.01, _batch_size(train_images), bfloat16=bfloat16)


def full_recipe(train_images: int, epochs: int | None, lr: float | None, *, bfloat16: bool = False) -> Recipe:
    """Return the recipe for a finalist: two epochs of a large set, up to eight of a small one."""
    epochs = epochs or min(_MAX_EPOCHS, max(1, round(_FULL_IMAGES / train_images)))
    return Recipe(train_images * epochs, lr or 0.02, _batch_size(train_images), bfloat16=bfloat16)
