"""``autogate resume``."""

from __future__ import annotations

from typing import Any

import autogate
from autogate.api import terminal_reporter
from autogate.cli.options import Format, FormatOption, Storage, StudyName
from autogate.cli.search import print_result
from autogate.cli.settings import parsed, takes_settings


@takes_settings("resume", unless_given="unchanged")
def command(study: StudyName, storage: Storage = None, output: FormatOption = Format.table, **settings: Any) -> int:
    """Continue a study: after an interruption, with further trials, another budget, or for another device."""
    return print_result(
        autogate.resume(study, storage=storage, reporter=terminal_reporter(), **parsed(settings)), output
    )
