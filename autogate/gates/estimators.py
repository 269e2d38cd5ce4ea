"""Hard gates that pass a gradient: what a threshold gate does in training.

Each estimator takes ``logit``, positive where the gate is to open, and ``progress`` in [0, 1], and returns the
gate, 0 or 1 in the forward pass (``semhash`` also gives values between). Evaluation uses none of them: it opens
where the logit is not negative, without noise. Which of them LC-Net uses is not known: here they are a reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Estimator = Callable[[torch.Tensor, float], torch.Tensor]

_HOT, _COLD = 5.0, 0.1


def straight_through(logit: torch.Tensor, progress: float) -> torch.Tensor:
    """Deterministic; the gradient is the sigmoid's."""
    return _hard(torch.sigmoid(logit), logit >= 0)


def gumbel_hard(logit: torch.Tensor, progress: float) -> torch.Tensor:
    """Hard binary Gumbel-softmax; the temperature falls exponentially from 5 to 0.1."""
    temperature = _HOT * (_COLD / _HOT) ** progress
    uniform = torch.rand_like(logit).clamp(1e-6, 1 - 1e-6)
    # The difference of two Gumbel variables is logistic.
    soft = torch.sigmoid((logit + torch.logit(uniform)) / temperature)
    return _hard(soft, soft >= 0.5)


def semantic_hash(logit: torch.Tensor, progress: float) -> torch.Tensor:
    """Improved semantic hashing: noise, a saturating sigmoid, and, for half of the images, its rounded value."""
    noisy = logit + torch.randn_like(logit)
    soft = (1.2 * torch.sigmoid(noisy) - 0.1).clamp(0, 1)
    rounded = torch.rand(len(logit), 1, device=logit.device) < 0.5
    return torch.where(rounded, _hard(soft, noisy >= 0), soft)


def _hard(soft: torch.Tensor, is_open: torch.Tensor) -> torch.Tensor:
    return is_open.to(soft.dtype) + (soft - soft.detach())


ESTIMATORS: dict[str, Estimator] = {"ste": straight_through, "gumbel": gumbel_hard, "semhash": semantic_hash}
