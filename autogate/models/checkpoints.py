"""Find a network's weights in what training scripts store: beside optimisers, under prefixes, averaged or not."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from autogate.errors import WeightsError

_LOG = logging.getLogger("autogate")
# DataParallel, torch.compile and others put these before every name, in any order.
_PREFIXES = ("module.", "_orig_mod.")
_AVERAGES = {"ema", "average", "averaged", "swa", "shadow"}
# What loading needs of no checkpoint: nothing reads it in evaluation, and old ones lack it.
_COUNTER = "num_batches_tracked"

State = dict[str, Tensor]


def select_weights(
    states: Mapping[str, Mapping[str, Tensor]],
    expected: Iterable[str],
    *,
    label: str,
    adapt: Callable[[State], State],
    leave_out: str | None = None,
) -> State:
    """Return the tensors that a network's names find, under those names.

    Of several that fit, averaged weights (EMA) are taken, as those who store them evaluate them; that is logged.

    Args:
        states: Tensors by name, by where they are in the file.
        expected: Names of the network's state.
        label: What the file is called in an error.
        adapt: Brings old names into today's form.
        leave_out: Name of a submodule that need not be there.

    Raises:
        WeightsError: If no name fits; says what the file holds.
    """
    wanted = {
        name
        for name in expected
        if not name.endswith(_COUNTER) and not (leave_out is not None and name.startswith(f"{leave_out}."))
    }
    fitted = {where: adapt(_without_prefix(dict(state), wanted, label)) for where, state in states.items()}
    hits = {where: len(wanted & state.keys()) for where, state in fitted.items()}
    best = max(hits.values(), default=0)
    if not best:
        held = "; ".join(_described(where, list(state)) for where, state in states.items())
        raise WeightsError(
            f"{label} has no tensor that this network has; it holds {held}; check the model name, or save the weights "
            "alone with torch.save(model.state_dict(), path)"
        )
    places = [where for where in fitted if hits[where] == best]
    chosen = next((where for where in places if _is_average(where)), places[0])
    if len(places) > 1 and _is_average(chosen):
        _log_choice(label, chosen, [where for where in places if where != chosen])
    return fitted[chosen]


def _without_prefix(state: State, wanted: set[str], label: str) -> State:
    """Take off what stands before the names of the network, and leave out what is beside it."""
    while prefix := next((one for one in _PREFIXES if state and all(name.startswith(one) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    prefixes = {"": len(wanted & state.keys())}
    for name in sorted(wanted)[:3]:
        for key in state:
            if key.endswith(f".{name}") and (before := key.removesuffix(name)) not in prefixes:
                prefixes[before] = sum(f"{before}{other}" in state for other in wanted)
    prefix = max(prefixes, key=lambda one: (prefixes[one], _is_average(one), -len(one)))
    others = [one for one in prefixes if one != prefix and prefixes[one] == prefixes[prefix]]
    if others and _is_average(prefix):
        _log_choice(label, prefix, others)
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def _log_choice(label: str, chosen: str, others: list[str]) -> None:
    named = ", ".join(repr(other) for other in others)
    _LOG.warning("%s: took the averaged weights %r; it also holds %s", label, chosen, named)


def _is_average(where: str) -> bool:
    return not _AVERAGES.isdisjoint(re.split(r"[^a-z0-9]+", where.lower()))


def _described(where: str, names: list[str]) -> str:
    """Return what a file holds at a place: how many tensors, and how they are called."""
    first = names[0].partition(".")[0] + "."
    same = len(names) > 1 and all(name.startswith(first) for name in names)
    called = f"all names begin with {first!r}" if same else f"such as {names[0]!r}"
    return f"{len(names)} tensors{f' in {where!r}' if where else ''}, {called}"
