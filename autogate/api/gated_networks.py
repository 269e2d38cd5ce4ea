"""Gates in a network of your own, outside any study."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from autogate.errors import ModelError, PolicyError
from autogate.policy import Policy

if TYPE_CHECKING:
    import torch
    from torch import fx, nn

    from autogate.gates import TrainingGate
    from autogate.sites import Network

    ExampleInputs = torch.Tensor | tuple[int, int, int]

_POLICY = "autogate_policy"


def apply_policy(model: nn.Module, policy: Policy, example_inputs: ExampleInputs) -> fx.GraphModule:
    """Return ``model`` with the policy's gates in training form; it shares the model's weights.

    Weights that a layer computes in every pass, such as standardised ones, are parameters of the form alone.

    Args:
        model: A network that takes one image batch.
        policy: The policy; every gate must fit its site.
        example_inputs: A batch such as the network takes, ``[N, C, H, W]``, or the shape ``(C, H, W)`` of one input.

    Raises:
        ModelError: If the network cannot be traced or rebuilt.
        PolicyError: If a gate does not fit.

    Example:
        >>> policy = Policy({"block:layer1.1": Gate("drop")})
        >>> gated = apply_policy(model, policy, torch.zeros(1, 3, 32, 32))
    """
    from autogate.surgery import training_form

    network, complete, gates = _gated(model, policy, example_inputs)
    form = training_form(network, gates)
    form.meta[_POLICY] = complete.execution_digest
    return form


def compact_model(
    model: nn.Module,
    policy: Policy,
    example_inputs: ExampleInputs,
    *,
    applied: fx.GraphModule | None = None,
) -> fx.GraphModule:
    """Return ``model`` rebuilt without the gated work, as it would run; it has weights of its own.

    Args:
        model: As in :func:`apply_policy`.
        policy: As in :func:`apply_policy`.
        example_inputs: As in :func:`apply_policy`.
        applied: What :func:`apply_policy` made of ``model`` and ``policy``, after training; without it, gates that have
            weights start untrained.

    Raises:
        ModelError: If the network cannot be traced or rebuilt.
        PolicyError: If a gate does not fit, or ``applied`` belongs to another network or policy.
    """
    from autogate.surgery import compact_form, gate_path

    network, complete, gates = _gated(model, policy, example_inputs)
    if applied is not None:
        if applied.meta.get(_POLICY) != complete.execution_digest:
            raise PolicyError("`applied` has other gates; pass what apply_policy(model, policy, …) made of this policy")
        if not {id(p) for p in model.parameters()} & {id(p) for p in applied.parameters()}:
            raise PolicyError(
                "`applied` was made of another network; pass what apply_policy(model, policy, …) made of this one"
            )
        # A gate that is always shut is not in the form: there is nothing it could have learnt.
        _adopt_weights(network, model, applied)
        gates |= {
            site: cast("TrainingGate", applied.get_submodule(gate_path(site)))
            for site, gate in gates.items()
            if not gate.shut
        }
    return compact_form(network, complete, gates)


def _adopt_weights(network: Network, model: nn.Module, applied: fx.GraphModule) -> None:
    """Give layers that were made plain the weights they were trained to; all others are shared with ``model``."""
    trained = dict(applied.named_parameters())
    shared = {id(parameter) for parameter in model.parameters()}
    for name, own in network.model.named_parameters():
        path, _, last = name.rpartition(".")
        # A layer of which a part is trained at a time is wrapped.
        other = trained.get(name, trained.get(f"{path}.layer.{last}"))
        if id(own) not in shared and other is not None:
            own.data = other.detach().clone()


def gate_loss(network: nn.Module, fraction: float) -> torch.Tensor | float:
    """Return the sum of the gates' loss terms for the last forward pass; add it to your loss in a ``train_fn``.

    Args:
        network: The network that is being trained.
        fraction: How much of its training has passed, in [0, 1]. The schedules of the gates advance to it, for these
            terms and for the next forward pass.

    Returns:
        A scalar tensor, or 0.0 if no gate has a term.
    """
    from autogate.training import gate_loss, gates_of, set_training_progress

    gates = gates_of(network).values()
    set_training_progress(gates, fraction)
    return gate_loss(gates)


def input_shape(example_inputs: ExampleInputs) -> tuple[int, int, int]:
    """Return channels, height and width of one input.

    Raises:
        ModelError: If ``example_inputs`` is neither a batch ``[N, C, H, W]`` nor a shape ``(C, H, W)``.
    """
    shape = tuple(getattr(example_inputs, "shape", example_inputs))
    if hasattr(example_inputs, "shape") and len(shape) == 4:
        shape = shape[1:]
    if len(shape) != 3 or not all(isinstance(size, int) and size > 0 for size in shape):
        raise ModelError(
            f"example_inputs must be a batch [N, C, H, W] or the shape (C, H, W) of one input, not {list(shape)}"
        )
    channels, height, width = shape
    return channels, height, width


def _gated(
    model: nn.Module, policy: Policy, example_inputs: ExampleInputs
) -> tuple[Network, Policy, dict[str, TrainingGate]]:
    from autogate.sites import find_sites
    from autogate.surgery import attach_gates, canonical, check_dense

    if not isinstance(policy, Policy):
        raise PolicyError(f"a policy must be an autogate.Policy, not {type(policy).__name__}; see Policy.from_json")
    network = check_dense(find_sites(model, input_shape(example_inputs)))
    complete = canonical(policy, network.sites, strict=True)
    return network, complete, attach_gates(network, complete)
