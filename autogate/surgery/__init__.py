"""Put a policy into a network (training form), and rebuild it without the gated work (compact form)."""

from autogate.surgery.compact_form import compact_form
from autogate.surgery.dense_check import check_dense
from autogate.surgery.live import Selected, selections
from autogate.surgery.policies import canonical, training_knobs
from autogate.surgery.training_form import attach_gates, by_path, gate_path, site_at, training_form

__all__ = [
    "Selected",
    "attach_gates",
    "by_path",
    "canonical",
    "check_dense",
    "compact_form",
    "gate_path",
    "selections",
    "site_at",
    "training_form",
    "training_knobs",
]
