"""Write, reload, verify and measure a deliverable."""

from autogate.exporters.finalist import export_finalist, restore_finalist
from autogate.exporters.load import load_export
from autogate.exporters.measure import measure_export, measure_memory, measurement_document
from autogate.exporters.program import program_of

__all__ = [
    "export_finalist",
    "load_export",
    "measure_export",
    "measure_memory",
    "measurement_document",
    "program_of",
    "restore_finalist",
]
