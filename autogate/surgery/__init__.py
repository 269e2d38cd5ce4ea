"""Put a policy into a network (training form), and rebuild it without the gated work (compact form)."""

from autogate.surgery.compact_network import UNIT, compact_form, script_decisions
from autogate.surgery.dense_check import check_dense
from autogate.surgery.head_switch import run_heads
from autogate.surgery.policies import canonical, decides_on_data, training_knobs
from autogate.surgery.sliced_layers import Selected, selections
from autogate.surgery.training_network import attach_gates, by_path, dense_parts, gate_path, site_at, training_form
from autogate.surgery.weights import pack, restore_compact, restore_gates, unpack

__all__ = [
    "Selected",
    "UNIT",
    "attach_gates",
    "by_path",
    "canonical",
    "check_dense",
    "compact_form",
    "decides_on_data",
    "dense_parts",
    "gate_path",
    "pack",
    "restore_compact",
    "restore_gates",
    "run_heads",
    "script_decisions",
    "selections",
    "site_at",
    "training_form",
    "training_knobs",
    "unpack",
]
