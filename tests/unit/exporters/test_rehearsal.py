"""What does not fit is found before anything is measured: every family goes through all that a search does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autogate.errors import TrainingError
from autogate.exporters import rehearse
from autogate.gates import FAMILIES
from autogate.models import state_sha256
from autogate.nas.evaluating import Task
from autogate.sites import find_sites
from autogate.space import parse_space
from autogate.space.bound import BoundSpace, bind
from autogate.studies import Reporter
from autogate.surgery import check_dense
from autogate.training import TrainingBackend
from tests.support import heads
from tests.support.data import few_digits
from tests.support.networks import lively

CPU = torch.device("cpu")


class Heard(Reporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []
        self.families: set[str] = set()

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, fraction: float, text: str) -> None:
        if not text.startswith("loss"):
            self.families |= set(text.split(", "))


def task_of(model: nn.Module) -> Task:
    network = check_dense(find_sites(lively(model), (3, 8, 8)))
    data = few_digits(8)
    return Task(network, data, data.preprocessing, CPU, CPU, "python:Body", 0)


def space_of(task: Task, *families: str) -> BoundSpace:
    kinds: dict[str, list[dict[str, str]]] = {}
    for name in families:
        for kind in {site.kind for site in task.network.sites.values() if FAMILIES[name].fits(site)}:
            genes = FAMILIES[name].test_genes(kind)[0]
            option: dict[str, Any] = {"family": name, "genes": {gene: [value] for gene, value in genes.items()}}
            kinds.setdefault(kind, []).append(option)
    document = {"schema": "autogate.space/1", "sites": kinds}
    return bind(parse_space(document, "test"), task.network.sites)


def heard(task: Task, *families: str, **backend: Any) -> Heard:
    reporter = Heard()
    rehearse(task, space_of(task, *families), TrainingBackend(**backend), reporter, 1)
    return reporter


@pytest.mark.parametrize("end", [heads.scores, heads.side_in_training])
def test_every_family_takes_part_and_nothing_is_changed(end: Any) -> None:
    task = task_of(heads.Body(end))
    before, random_state = state_sha256(task.network.model.state_dict()), torch.get_rng_state()
    names = [name for name, family in FAMILIES.items() if any(family.fits(s) for s in task.network.sites.values())]
    assert set(names) >= {"drop", "magnitude", "dce", "gss", "antidote", "mod", "lcnet"}
    reporter = heard(task, *names)
    assert reporter.families == set(names)
    assert reporter.notes == []
    assert state_sha256(task.network.model.state_dict()) == before
    assert torch.equal(torch.get_rng_state(), random_state)


def test_a_training_of_the_callers_is_not_called() -> None:
    def train_fn(network: nn.Module, fidelity: str) -> None:
        raise AssertionError("this may take hours")

    assert heard(task_of(heads.Body(heads.named)), "drop", "lcnet", train_fn=train_fn).families == {"drop", "lcnet"}


class ExtraState(nn.Conv2d):
    """A layer with a state that is no tensor."""

    def get_extra_state(self) -> Any:
        return {"calls": 3}

    def set_extra_state(self, state: Any) -> None:
        pass


class NoGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        raise NotImplementedError("no gradient\nwas written")


class Opaque(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return NoGradient.apply(x) if bool(x.sum() > 0) else NoGradient.apply(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda net: net.requires_grad_(False), "cannot be trained for a step with drop: every weight .* is frozen"),
        (lambda net: setattr(net, "stem", ExtraState(3, 8, 3, 2, 1)), "cannot be stored and loaded with drop: "),
        (
            lambda net: setattr(net, "stem", nn.Sequential(net.stem, Opaque())),
            "cannot be trained for a step with drop: NotImplementedError: no gradient; ",
        ),
    ],
)
def test_failures_are_one_line(change: Any, complaint: str) -> None:
    model = heads.Body(heads.scores)
    change(model)
    with pytest.raises(TrainingError, match=f"this network {complaint}") as raised:
        heard(task_of(model), "drop")
    assert "\n" not in str(raised.value)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if bool(x.sum() > 0) else x


def test_what_cannot_be_exported_is_noted() -> None:
    model = heads.Body(heads.scores)
    model.stem = nn.Sequential(model.stem, Branching())
    (note,) = heard(task_of(model), "drop").notes
    assert note.startswith("with drop: torch.export refuses this network: ")
    assert note.endswith("; it can be searched, and not be exported as pt2")
    assert "\n" not in note
