"""Compare what was made of a network with the network itself.

Code can change a tensor in ways that no graph shows. So every trace is run once and compared with its network:
that costs little next to the search for coupled channels, and a wrong graph would make every result wrong.
"""

from __future__ import annotations

import copy

import torch
from torch import fx, nn

from autogate.errors import ModelError
from autogate.sites.failures import run_failure
from autogate.sites.results import difference
from autogate.system import one_line

# Of the largest output; rounding alone stays far below.
_TOLERANCE = 1e-4


def shared_copy(model: nn.Module) -> nn.Module:
    """Return a copy, in the same mode, that shares its parameters and buffers with ``model``."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def randomised_copy(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose normalisations have statistics that are not trivial: mistakes show.

    Raises:
        ModelError: If the network cannot be copied.
    """
    try:
        twin = copy.deepcopy(model)
    except Exception as error:  # of any module of the user's
        reason = one_line(error)
        raise ModelError(
            f"{type(model).__name__} cannot be copied: {reason}; do not store results of a forward pass in the module"
        ) from error
    generator = torch.Generator().manual_seed(0)
    for part in twin.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor, low in (
                (part.running_mean, -0.5),
                (part.running_var, 0.5),
                (part.weight, 0.5),
                (part.bias, -0.5),
            ):
                if tensor is not None:
                    tensor.data = (torch.rand(part.num_features, generator=generator) + low).to(tensor.device)
    return twin.eval()


def check_trace(model: nn.Module, graph: fx.Graph, input_shape: tuple[int, int, int]) -> None:
    """Check that the graph computes what the network does.

    Raises:
        ModelError: If it does not, or if the network cannot be copied.
    """
    twin = randomised_copy(model)
    try:
        apart = output_difference(fx.GraphModule(twin, graph).eval(), twin, input_shape)
    except Exception as error:  # of the user's forward pass, which its graph may have evaded
        raise run_failure(model, None, (1, *input_shape), error) from error
    if apart is not None:
        raise ModelError(
            f"tracing changes the results of {type(model).__name__}, by {apart:.2g} of the largest; avoid in-place "
            "operations (+=, relu_, inplace=True) on tensors that are read again under another name or as a view, and "
            "hooks"
        )


def output_difference(found: nn.Module, expected: nn.Module, input_shape: tuple[int, int, int]) -> float | None:
    """Return how far two networks are apart on a random image, relative to the largest value; None if they agree."""
    parameter = next(expected.parameters(), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    x = torch.rand(1, *input_shape, generator=torch.Generator().manual_seed(0)).to(device)
    # TensorFloat-32 rounds to three digits.
    with torch.no_grad(), torch.random.fork_rng(devices=[]), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        results = []
        for network in (expected, found):
            torch.default_generator.manual_seed(0)
            results.append(network(x.clone()))
    right, left = results
    return difference(left, right, _TOLERANCE)
