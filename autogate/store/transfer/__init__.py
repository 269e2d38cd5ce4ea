"""Whole studies: out of a database and into another, as plain rows that may be lines of a file meanwhile."""

from autogate.store.transfer.delete import delete_if_empty, delete_study
from autogate.store.transfer.insert import add_study
from autogate.store.transfer.lines import read_rows, write_rows
from autogate.store.transfer.rows import study_rows
from autogate.store.transfer.vacuum import vacuum

__all__ = ["add_study", "delete_if_empty", "delete_study", "read_rows", "study_rows", "vacuum", "write_rows"]
