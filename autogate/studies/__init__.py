"""Reading a study from the database: its documents, its front over time, its progress; knows no torch."""

from autogate.studies.documents import (
    best_within,
    choose,
    finalist_document,
    floor_of,
    pareto_document,
    point_document,
    search_document,
)
from autogate.studies.front import Front, pareto_front
from autogate.studies.front_history import FrontHistory, complete_history, write_history
from autogate.studies.overview import describe_document, history_document, study_line, watch_document
from autogate.studies.reporter import Reporter
from autogate.studies.study_run import StudyRun

__all__ = [
    "Front",
    "FrontHistory",
    "Reporter",
    "StudyRun",
    "best_within",
    "choose",
    "complete_history",
    "describe_document",
    "finalist_document",
    "floor_of",
    "history_document",
    "pareto_document",
    "pareto_front",
    "point_document",
    "search_document",
    "study_line",
    "watch_document",
    "write_history",
]
