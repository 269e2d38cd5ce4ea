"""Say where a network's time goes on a device, and which gates pay there, or why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autogate.errors import UnprofiledGateError
from autogate.gates import get_family
from autogate.latency.model.latency_model import LatencyModel
from autogate.latency.model.operators import operators_by_unit, roofline
from autogate.latency.timing import prepare, random_input
from autogate.policy import DENSE, Gate, Policy
from autogate.records import Operator
from autogate.runtimes import no_saving_reason
from autogate.space.bound import BoundSpace
from autogate.surgery import attach_gates, canonical, compact_form, script_decisions

# A gate that takes this share of its units' work away and none of their time hits a step of the device.
_LESS_WORK = 0.95


@dataclass(frozen=True)
class UnitTime:
    """Where the time goes.

    Attributes:
        unit: Name of the unit's type.
        sites: Sites whose gates change it.
        dense_ms: Its predicted time in the dense network.
        share: Its share of the dense network's time.
        regime: The limit of the device that binds it.
    """

    unit: str
    sites: tuple[str, ...]
    dense_ms: float
    share: float
    regime: str


@dataclass(frozen=True)
class GateTime:
    """What a gate brings where it stands alone.

    Attributes:
        site: Where.
        gate: Which.
        saved_ms: Predicted saving in its lightest realisation; negative if it costs time.
        saved_share: The same over the dense network's time.
        reason: Why it saves nothing; None if it saves.
    """

    site: str
    gate: Gate
    saved_ms: float
    saved_share: float
    reason: str | None


def explain_units(model: LatencyModel) -> list[UnitTime]:
    """Return the time of every unit of the dense network, in the order in which data meets them."""
    card, setting = model.profile.card, model.profile.setting
    operators = _operators(model, DENSE, {})
    times = [model.unit_ms(unit) for unit in model.units]
    return [
        UnitTime(unit.type, unit.sites, ms, ms / sum(times), roofline(operators[unit.index], card, setting).regime)
        for unit, ms in zip(model.units, times, strict=True)
    ]


def explain_gates(model: LatencyModel, space: BoundSpace) -> list[GateTime]:
    """Return what every gate of the space brings alone at its site; one that saves nothing comes with the reason."""
    dense = _operators(model, DENSE, {})
    found = []
    known: dict[tuple[Gate, tuple[str, ...]], str] = {}
    setting = model.profile.setting
    for site, gate in space.gates():
        limit = no_saving_reason(gate, model.network.sites[site], setting.batch_size, setting.runtime)
        if limit is not None:
            found.append(GateTime(site, gate, 0.0, 0.0, limit))
            continue
        together = space.alone(site, gate)
        try:
            saved_ms = model.coverage(together).saved_ms
        except UnprofiledGateError:
            found.append(GateTime(site, gate, 0.0, 0.0, "the profile does not hold it"))
            continue
        reason = None
        if saved_ms <= 0:
            alike = (gate, tuple(unit.type for unit in model.units if site in unit.sites))
            if alike not in known:
                known[alike] = _why_not(model, together, dense)
            reason = known[alike]
        found.append(GateTime(site, gate, saved_ms, saved_ms / model.dense_ms, reason))
    return found


def _why_not(model: LatencyModel, gates: Mapping[str, Gate], dense: Mapping[int, Sequence[Operator]]) -> str:
    """Return what keeps gates from saving time, from the operators of the units that they change."""
    policy = canonical(Policy(gates), model.network.sites)
    batch_size = model.profile.setting.batch_size
    decisions = {
        site: get_family(gate.family).decisions(model.network.sites[site], gate, batch_size)[0] for site, gate in policy
    }
    gated = _operators(model, policy, decisions)
    changed = [unit.index for unit in model.units if not set(policy.gates).isdisjoint(unit.sites)]
    before, after = ([op for i in changed for op in operators[i]] for operators in (dense, gated))
    limits = roofline(after, model.profile.card, model.profile.setting)
    macs_left = sum(op.macs for op in after) / max(1, sum(op.macs for op in before))
    more_bytes = sum(op.moved_bytes for op in after) / max(1, sum(op.moved_bytes for op in before)) - 1
    if limits.regime == "launch-bound":
        return f"launch-bound: {len(after)} operators instead of {len(before)}, most too small to take less time"
    if more_bytes > 0:
        return f"gather-bound: {macs_left:.0%} of the MACs are left, but {more_bytes:+.0%} bytes are moved"
    if macs_left < _LESS_WORK:
        return f"staircase: {macs_left:.0%} of the MACs are left, but the kernels take as long"
    return f"{macs_left:.0%} of the MACs are left"


def _operators(
    model: LatencyModel, policy: Policy, decisions: Mapping[str, int | None]
) -> dict[int, tuple[Operator, ...]]:
    network, setting = model.network, model.profile.setting
    form = compact_form(network, policy, attach_gates(network, policy), plan=model.plan(policy))
    script_decisions(form, decisions)
    here = replace(setting, device="cpu", dtype="float32")
    prepare(form, here)
    found = operators_by_unit(form, random_input(network.input_shape, here))
    return {unit.index: found.get(unit.index, ()) for unit in model.units}
