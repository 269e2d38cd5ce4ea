"""What a network computes and returns in training only, such as auxiliary classifiers.

Sites, costs and compact forms are those of evaluation. So what runs in training besides is taken out of the graph, into
one of its own that reads the first one's tensors; the training form puts the two together again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import fx

from autogate.sites.graph import with_ancestors
from autogate.sites.in_place import changes_state
from autogate.sites.tracer import step_of


@dataclass(frozen=True)
class TrainingHeads:
    """The part of a network that runs in training only.

    Attributes:
        graph: It takes tensors of the network's graph, and returns what the network returns in training.
        entries: The nodes of the network's graph that write those tensors, in order.
    """

    graph: fx.Graph
    entries: tuple[str, ...]


def training_result(result: Any) -> Any:
    """Return ``result``; a node that calls this holds what a network returns in training."""
    return result


def mark_heads(training: fx.Graph, evaluation: fx.Graph) -> dict[fx.Node, fx.Node] | None:
    """Make ``training`` return what ``evaluation`` does, and keep its own result in a node of its own.

    Returns:
        The node of ``training`` for each of ``evaluation``, output nodes left out; None, with nothing changed, if
        ``training`` does not do all that ``evaluation`` does, does not return all that it returns, or changes more
        parameters or buffers.
    """
    pairs = _embedding(training, evaluation)
    if pairs is None:
        return None
    kept = set(pairs.values())
    if any(changes_state(node) for node in training.nodes if node not in kept):
        return None
    ends = [next(node for node in graph.nodes if node.op == "output") for graph in (training, evaluation)]
    in_training, in_evaluation = ends[0].args[0], fx.node.map_arg(ends[1].args[0], lambda node: pairs[node])
    if in_training == in_evaluation:
        for node in reversed(list(training.nodes)):
            if node not in kept and node.op != "output" and not node.users:
                training.erase_node(node)
        return pairs
    if not {pairs[node] for node in _returned(ends[1])} <= _returned(ends[0]):
        return None
    with training.inserting_before(ends[0]):
        training.call_function(training_result, (in_training,))
    ends[0].args = (in_evaluation,)
    return pairs


def _returned(end: fx.Node) -> set[fx.Node]:
    """Return the nodes whose values are returned, also those that a named tuple is made of."""
    found = set(end.all_input_nodes)
    made = [node for node in found if isinstance(node.target, type) and issubclass(node.target, tuple | list | dict)]
    return found.difference(made).union(*(node.all_input_nodes for node in made))


def _embedding(training: fx.Graph, evaluation: fx.Graph) -> dict[fx.Node, fx.Node] | None:
    """Return the node of ``training`` that does what each of ``evaluation`` does; None if one has none."""
    left = iter([node for node in training.nodes if node.op != "output"])
    pairs: dict[fx.Node, fx.Node] = {}
    for node in evaluation.nodes:
        if node.op == "output":
            continue
        match = next((other for other in left if _same(other, node, pairs)), None)
        if match is None:
            return None
        pairs[node] = match
    return pairs


def _same(training: fx.Node, evaluation: fx.Node, pairs: dict[fx.Node, fx.Node]) -> bool:
    """Whether two nodes do the same with the same tensors, flags that say "in training" aside."""
    if (step_of(training.op, training.target), len(training.args), training.kwargs.keys()) != (
        step_of(evaluation.op, evaluation.target),
        len(evaluation.args),
        evaluation.kwargs.keys(),
    ):
        return False
    theirs = (*evaluation.args, *(evaluation.kwargs[key] for key in training.kwargs))
    ours = (*training.args, *training.kwargs.values())
    expected = [fx.node.map_arg(value, lambda node: pairs[node]) for value in theirs]
    return all(a == b or (a is True and b is False) for a, b in zip(ours, expected, strict=True))


def split_heads(graph: fx.Graph) -> TrainingHeads | None:
    """Take out of a graph what only training needs, and return it; None if there is nothing."""
    inner, result = training_only(graph), result_in_training(graph)
    if result is None:
        return None
    entries = list(dict.fromkeys(node for user in inner for node in user.all_input_nodes if node not in inner))
    heads = fx.Graph()
    copies = {node: heads.placeholder(node.name) for node in entries}
    for node in inner:
        copies[node] = heads.node_copy(node, copies.__getitem__)
    heads.output(copies[result])
    for node in reversed(inner):
        graph.erase_node(node)
    return TrainingHeads(heads, tuple(node.name for node in entries))


def result_in_training(graph: fx.Graph) -> fx.Node | None:
    """Return the node that holds what a network returns in training, if that is more than in evaluation."""
    return next((node for node in graph.nodes if node.target is training_result), None)


def training_only(graph: fx.Graph) -> dict[fx.Node, None]:
    """Return what only training needs, in order."""
    if result_in_training(graph) is None:
        return {}
    needed = with_ancestors(node for node in graph.nodes if node.op == "output" or changes_state(node))
    return {node: None for node in graph.nodes if node not in needed}


def read_in_training(graph: fx.Graph) -> set[fx.Node]:
    """Return the nodes whose tensors are read, directly or not, by what only training needs."""
    return {source for node in training_only(graph) for source in node.all_input_nodes}
