"""Check, once for a network that comes from outside, that it survives being rebuilt."""

from __future__ import annotations

from dataclasses import replace

from autogate.errors import ModelError
from autogate.policy import DENSE
from autogate.sites import Network, difference, randomised_copy
from autogate.surgery.compact_network import compact_form


def check_dense(network: Network) -> Network:
    """Return ``network`` after a comparison with its own dense compact form.

    Whoever lets a network in asks for this, not whoever finds its sites: it takes the weights twice more.

    Raises:
        ModelError: If the two compute something else.
    """
    twin = replace(network, model=randomised_copy(network.model))
    apart = difference(compact_form(twin, DENSE, {}, share_weights=True), twin.model, network.input_shape)
    if apart is not None:
        raise ModelError(
            f"{type(network.model).__name__} cannot be rebuilt: without any gate the results of its compact form "
            f"differ by {apart:.2g} of the largest; move what hooks do to single layers into a module"
        )
    return network
