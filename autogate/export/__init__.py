"""Write a deliverable, reload it, and verify it."""

from autogate.export.deliver import Deliverable, deliver, refusal
from autogate.export.reload import Exported, reload

__all__ = ["Deliverable", "Exported", "deliver", "refusal", "reload"]
