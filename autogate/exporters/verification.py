"""Compare a network that was loaded from an export with the live one, on real images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from autogate.errors import ExportError
from autogate.exporters.exporter import Deliverable, Loaded
from autogate.sites import tensors_of
from autogate.surgery import decides_on_data
from autogate.system import one_line
from autogate.training import class_scores

# Of images on which gates may decide otherwise, where a runtime rounds otherwise: one in so many, and one in any case.
_ONE_IN = 50


@dataclass(frozen=True)
class Agreement:
    """How a loaded network agrees with the live one.

    Attributes:
        max_difference: Largest difference of an output, over the images that gates decide alike on.
        decided_otherwise: Images on which a gate chose another of nearly equal candidates.
        accuracy: Accuracy of the loaded network on the images compared, as a fraction; None where targets are no
            classes.
    """

    max_difference: float
    decided_otherwise: int = 0
    accuracy: float | None = None


@dataclass(frozen=True)
class QuantisedAgreement:
    """How a network in eight bits compares with the live one in float32.

    Attributes:
        changed_predictions: Images for which it predicts another class.
        accuracy: Its accuracy on the images compared, as a fraction; None where targets are no classes.
        float_accuracy: That of the live network.
    """

    changed_predictions: int
    accuracy: float | None = None
    float_accuracy: float | None = None


def verify_quantised(item: Deliverable, what: str, loaded: Loaded) -> QuantisedAgreement:
    """Run a loaded network in eight bits on every image, and compare what it predicts.

    Args:
        item: The live network, and the images.
        what: What was loaded, for errors.
        loaded: The loaded network.

    Raises:
        ExportError: If it cannot run, or returns something else than the live network, or numbers that are not finite.
    """
    apart, changed, right = [], [], []
    for live, found, batch in _results(item, what, loaded):
        apart.append(_apart(live, found, len(batch), relative=True))
        changed.append(_changed(item, live, found, len(batch)))
        right.append([_is_right(item, one, batch) for one in (found, live)])
    count = len(item.images)
    if not torch.cat(apart)[:count].isfinite().all():
        raise ExportError(f"{what} does not return what the live model does; please report this network")
    changes = int(torch.cat(changed)[:count].sum())
    return QuantisedAgreement(changes, *(_share(of, count) for of in zip(*right, strict=True)))


def _is_right(item: Deliverable, result: Any, which: torch.Tensor) -> torch.Tensor | None:
    """Return for which images the class is predicted, bool ``[N]``; None where targets are no classes."""
    if item.labels is None:
        return None
    return class_scores(result, item.score_output).argmax(1) == item.labels[which]


def _share(right: Sequence[torch.Tensor | None], count: int) -> float | None:
    """Return the share of the first ``count`` images that are right, of all batches; None if nobody knows."""
    known = [one for one in right if one is not None]
    return float(torch.cat(known)[:count].float().mean()) if known else None


def _results(item: Deliverable, what: str, loaded: Loaded) -> Iterator[tuple[Any, Any, torch.Tensor]]:
    """Yield what the live and the loaded network return for each batch, and which images are in it, int64 ``[N]``."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        for start in range(0, len(item.images), item.batch_size):
            which = torch.arange(start, start + item.batch_size) % len(item.images)
            batch = item.images[which]
            live = item.compact(batch)
            try:
                yield live, loaded(batch), which
            except Exception as error:  # runtimes raise what they like
                raise ExportError(f"{what} was loaded and cannot run: {one_line(error, with_type=True)}") from error


def verify(item: Deliverable, what: str, loaded: Loaded, tolerance: float, *, rounds_alike: bool = True) -> Agreement:
    """Compare a loaded network with the live one on every image.

    Of class scores the differences themselves count. Outputs of a task of the caller's own, and those of a runtime that
    rounds otherwise, count relative to the largest value above 1. In such a runtime, gates that choose by what they
    read may now and then choose another one of two candidates that are equal but for rounding.

    Args:
        item: The live network, and the images.
        what: What was loaded, for errors.
        loaded: The loaded network.
        tolerance: Largest difference allowed.
        rounds_alike: Whether it rounds as the live network does, since it runs the same kernels.

    Raises:
        ExportError: If it differs by more, or predicts another class for an image that gates decide alike on.
    """
    chooses = decides_on_data(item.policy)
    most_otherwise = max(1, len(item.images) // _ONE_IN) if chooses and not rounds_alike else 0
    apart, changed, right = [], [], []
    for live, found, which in _results(item, what, loaded):
        right.append(_is_right(item, found, which))
        apart.append(_apart(live, found, len(which), relative=item.own_task or not rounds_alike))
        changed.append(_changed(item, live, found, len(which)))
    differences, changes = torch.cat(apart), torch.cat(changed)
    alike = differences <= tolerance  # nan is no agreement
    otherwise = int((~alike).sum())
    hopeless = bool(differences.isnan().any() or differences.isinf().any())
    if hopeless or otherwise > most_otherwise or bool((changes & alike).any()):
        worst = math.nan if differences.isnan().any() else float(differences.max())
        raise ExportError(
            f"what was exported differs from the live model by {worst:.2g} and changes {int(changes.sum())} of "
            f"{len(item.images)} predictions ({what}); please report this network"
        )
    worst = float(differences[alike].max()) if bool(alike.any()) else 0.0
    return Agreement(worst, otherwise, _share(right, len(item.images)))


def _changed(item: Deliverable, live: Any, found: Any, images: int) -> torch.Tensor:
    """Return for which images another class is predicted, bool ``[N]``; none in a task of the caller's own."""
    if item.own_task:
        return torch.zeros(images, dtype=torch.bool)
    ours, theirs = (class_scores(result, item.score_output).argmax(1) for result in (live, found))
    return ours != theirs


def _apart(live: Any, found: Any, images: int, *, relative: bool) -> torch.Tensor:
    """Return the largest difference between two results for each image, ``[N]``; infinite where shapes differ."""
    ours, theirs = tensors_of(live), tensors_of(found)
    worst = torch.zeros(images, dtype=torch.float64)
    if {k: v.shape for k, v in ours.items()} != {k: v.shape for k, v in theirs.items()}:
        return worst + math.inf
    for place, value in ours.items():
        if not value.numel():
            continue
        scale = max(1.0, float(value.double().abs().max())) if relative else 1.0
        apart = (value.double() - theirs[place].double()).abs() / scale
        # A tensor without a row for each image belongs to all of them.
        rows = apart.flatten(1).amax(1) if value.ndim > 0 and len(value) == images else apart.max().expand(images)
        worst = torch.where(worst.isnan(), worst, torch.maximum(worst, rows))
    return worst
