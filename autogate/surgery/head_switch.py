"""Put what runs in training only back into a training form."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from autogate.sites import Network, assemble
from autogate.surgery.graph_copy import GraphCopy

PATH = "training_heads"


class HeadSwitch(nn.Module):
    """Returns what the network returns in training, or what it returns in evaluation.

    Attributes:
        active: Whether the heads run in training; the built-in training reads only what there is in evaluation too.
    """

    def __init__(self, heads: fx.GraphModule) -> None:
        super().__init__()
        self.heads = heads
        self.active = True

    def forward(self, result: Any, *entries: Any) -> Any:
        """Return ``result``, that of evaluation, or in training that of the heads, which read ``entries``."""
        return self.heads(*entries) if self.training and self.active else result


def add_heads(copy: GraphCopy, network: Network) -> dict[str, nn.Module]:
    """Let a copy of the network's graph return in training what the network does; return the modules it needs."""
    if network.heads is None:
        return {}
    end = next(node for node in copy.graph.nodes if node.op == "output")
    with copy.graph.inserting_before(end):
        entries = (copy.nodes[name] for name in network.heads.entries)
        switch = copy.graph.call_module(PATH, (end.args[0], *entries))
    end.args = (switch,)
    return {PATH: HeadSwitch(assemble(network.model, network.heads.graph, {}))}


def run_heads(form: nn.Module, active: bool) -> None:
    """Say whether the heads of a training form run in training."""
    for module in form.modules():
        if isinstance(module, HeadSwitch):
            module.active = active
