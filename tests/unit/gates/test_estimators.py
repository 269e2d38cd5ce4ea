from __future__ import annotations

import pytest
import torch

from autogate.gates.estimators import ESTIMATORS

LOGIT = torch.linspace(-4, 4, 9).repeat(4000, 1)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_forward_follows_the_logit_and_every_logit_gets_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    logit = LOGIT.clone().requires_grad_()
    gate = ESTIMATORS[name](logit, 0.5)
    mean = gate.detach().mean(dim=0)
    assert (mean.diff() > -0.02).all()
    assert mean[0] < 0.15
    assert mean[-1] > 0.85
    gate.sum().backward()
    gradient = logit.grad.mean(dim=0)
    assert (gradient[2:7] > 0.005).all()


@pytest.mark.parametrize("name", ["ste", "gumbel"])
def test_gates_are_hard(name: str) -> None:
    assert set(ESTIMATORS[name](LOGIT, 0.2).unique().tolist()) == {0.0, 1.0}


def test_straight_through_has_no_noise() -> None:
    assert torch.equal(ESTIMATORS["ste"](LOGIT, 0.5), (LOGIT >= 0).float())


def test_half_of_the_images_see_a_soft_gate() -> None:
    torch.manual_seed(0)
    gate = ESTIMATORS["semhash"](torch.zeros(4000, 1), 0.0)
    hard = ((gate == 0) | (gate == 1)).float().mean()
    assert 0.47 < hard < 0.65  # the soft half saturates now and then


def test_gumbel_gets_colder() -> None:
    # The gradient of a cold gate lives near its threshold.
    shares = []
    for progress in (0.0, 1.0):
        torch.manual_seed(0)
        logit = LOGIT.clone().requires_grad_()
        ESTIMATORS["gumbel"](logit, progress).sum().backward()
        shares.append(float(logit.grad[:, 3:6].sum() / logit.grad.sum()))
    assert shares[0] < 0.45 < 0.55 < shares[1]
