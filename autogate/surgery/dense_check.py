"""Check that rebuilding a network does not change its results."""

from __future__ import annotations

from dataclasses import replace

from autogate.errors import ModelError
from autogate.policy import DENSE
from autogate.sites import Network, output_difference, randomised_copy
from autogate.surgery.compact_network import compact_form


def check_dense(network: Network) -> Network:
    """Compare ``network`` with its dense compact form and return it.

    Called once where a network is loaded, not where its sites are found: it needs memory for the weights twice more.

    Raises:
        ModelError: If their results differ.
    """
    twin = replace(network, model=randomised_copy(network.model))
    apart = output_difference(compact_form(twin, DENSE, {}, share_weights=True), twin.model, network.input_shape)
    if apart is not None:
        raise ModelError(
            f"{type(network.model).__name__} cannot be rebuilt: without any gate the results of its compact form "
            f"differ by {apart:.2g} of the largest; replace hooks on single layers by modules"
        )
    return network
