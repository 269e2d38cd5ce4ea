"""Take a few images through everything that a search will do, before minutes are spent on a network that does not fit.

Every gate family of the space goes through a training step, storing, loading, its compact form and an export. What
comes out has no meaning; that it comes out, in the right shape, has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from autogate.errors import AutoGateError, ExportError, TrainingError
from autogate.exporters.pt2 import Pt2, program_of
from autogate.nas.evaluating import Task
from autogate.policy import DENSE, Policy
from autogate.sites import tensors_of
from autogate.space.bound import BoundSpace
from autogate.studies import Reporter
from autogate.surgery import attach_gates, by_path, canonical, decides_on_data, pack, restore_compact, training_form
from autogate.system import one_line
from autogate.training import Recipe, TrainingBackend, clone, gate_loss

_IMAGES = 2
_LR = 1e-6


def rehearse(task: Task, space: BoundSpace, backend: TrainingBackend, reporter: Reporter, batch_size: int) -> None:
    """Try out a network with each gate family of a space; weights of the task stay as they are.

    A caller's own training is not called, since it may take long; gradients are computed all the same. A network that
    cannot be exported is no reason not to search; that is noted.

    Args:
        task: Network and data.
        space: The gates that are searched.
        backend: How networks are trained.
        reporter: Receives progress, and what cannot be exported.
        batch_size: Images per call on the target.

    Raises:
        TrainingError: If anything fails; names the step, the gate families and the reason.
    """
    images = next(task.data.train.batches(_IMAGES, limit=_IMAGES))[0]
    policies = _policies(task, space) or [DENSE]
    for done, policy in enumerate(policies):
        reporter.progress(done / len(policies), _families(policy))
        with torch.random.fork_rng(devices=[]):  # new gates draw their weights
            compact = _stored_and_loaded(task, policy, images, backend)
        if Pt2().unsupported_reason(policy, batch_size) is None:
            any_batch = not decides_on_data(policy)
            try:
                program_of(compact, images if any_batch else images[:1], any_batch and len(images) > 1)
            except ExportError as error:
                reporter.note(f"with {_families(policy)}: {error}; it can be searched, and not be exported as pt2")


def _policies(task: Task, space: BoundSpace) -> list[Policy]:
    """Return few policies that hold every family of the space: in each, as many as can stand side by side."""
    sites = task.network.sites
    places: dict[str, list[Policy]] = {}
    for site, gate in space.gates():
        places.setdefault(gate.family, []).append(Policy({site: gate}))
    policies: list[Policy] = []
    for candidates in places.values():
        for i, policy in enumerate(policies):
            joint = (canonical(Policy({**policy.gates, **one.gates}), sites) for one in candidates)
            wider = next((found for found in joint if len(found.gates) > len(policy.gates)), None)
            if wider is not None:
                policies[i] = wider
                break
        else:
            alone = (canonical(one, sites) for one in candidates)
            policies += [found for found in alone if found.gates][:1]
    return policies


def _stored_and_loaded(task: Task, policy: Policy, images: torch.Tensor, backend: TrainingBackend) -> torch.nn.Module:
    """Train a policy for a step, store it, and return the compact form of what is loaded again."""
    network = clone(task.network)
    with _doing("put into the network", policy):
        gates = attach_gates(network, policy)
        form = training_form(network, gates)
    with _doing("trained for a step", policy):
        if backend.train_fn is None:
            TrainingBackend(output=backend.output).train(
                form, task.data.train, Recipe(_IMAGES, _LR, _IMAGES), "full", seed=task.seed, device=task.trainer
            )
        else:
            result = form.to(task.trainer).train()(images.to(task.trainer))
            terms = [value.mean() for value in tensors_of(result).values() if value.requires_grad]
            loss = sum(terms, torch.zeros((), device=task.trainer)) + gate_loss(gates.values())
            loss.backward()  # type: ignore[no-untyped-call]
    with _doing("run on a single image", policy), torch.no_grad():
        expected = {count: _shapes(form.eval()(images[:count].to(task.trainer))) for count in (1, len(images))}
    with _doing("stored and loaded", policy):
        compact = restore_compact(clone(task.network), policy, pack(network.model, by_path(gates)), {}).cpu()
    with _doing("rebuilt in compact form", policy), torch.no_grad():
        for count, shapes in expected.items():
            if (found := _shapes(compact(images[:count]))) != shapes:
                raise TrainingError(f"the results are {found}, not {shapes}")
    return compact


@contextmanager
def _doing(step: str, policy: Policy) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # modules of the caller and of plug-ins may fail in any way
        reason = str(error) if isinstance(error, AutoGateError) else one_line(error, with_type=True)
        raise TrainingError(
            f"this network cannot be {step} with {_families(policy)}: {reason}; mend that, or try another --space"
        ) from error


def _families(policy: Policy) -> str:
    return ", ".join(sorted({gate.family for _, gate in policy})) or "no gate"


def _shapes(result: object) -> dict[str, list[int]]:
    return {place: list(tensor.shape) for place, tensor in tensors_of(result).items()}
