"""Write, reload, verify and measure a deliverable."""

from autogate.export.finalist import export_finalist
from autogate.export.measuring import measure_export, measure_memory, measurement_document
from autogate.export.reload import reload

__all__ = ["export_finalist", "measure_export", "measure_memory", "measurement_document", "reload"]
