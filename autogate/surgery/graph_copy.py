"""A copy of a network's graph that can be edited while its nodes keep their dense names."""

from __future__ import annotations

from torch import fx

from autogate.sites import Network, changes_state


class GraphCopy:
    """An editable copy of ``network.graph``.

    Attributes:
        graph: The copy.
        nodes: The node that now stands for each node of the dense graph, by the dense node's name.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        output = self.graph.graph_copy(network.graph, copies)
        self.graph.output(output)
        for original, node in copies.items():
            node.meta = dict(original.meta)
        self.nodes = {original.name: node for original, node in copies.items()}

    def redirect(self, old: fx.Node, new: fx.Node) -> None:
        """Let everyone read ``new`` who read ``old``, and remember it for later edits."""
        old.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
        for name, node in self.nodes.items():
            if node is old:
                self.nodes[name] = new
        # A dead node would still count as a reader of the region it once belonged to.
        self.graph.eliminate_dead_code(is_impure_node=_is_needed)


def _is_needed(node: fx.Node) -> bool:
    return node.op in ("placeholder", "output") or changes_state(node)
