"""Write a finished network in one or more formats, each in a file of its own; reload, verify and measure it."""

from autogate.exporters.exporter import Deliverable, Exporter, Loaded
from autogate.exporters.finalist import export_finalist, restore_finalist
from autogate.exporters.load import load_export
from autogate.exporters.measure import MeasuringOptions, measure_export, measure_in_all
from autogate.exporters.pt2 import program_of
from autogate.exporters.registry import EXPORTERS, find_exporters, register_exporter
from autogate.exporters.rehearsal import rehearse

__all__ = [
    "Deliverable",
    "EXPORTERS",
    "Exporter",
    "Loaded",
    "MeasuringOptions",
    "export_finalist",
    "find_exporters",
    "load_export",
    "measure_export",
    "measure_in_all",
    "program_of",
    "register_exporter",
    "rehearse",
    "restore_finalist",
]
