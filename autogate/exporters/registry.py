"""The registry of export formats: found by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from autogate.errors import ExportError
from autogate.exporters.exporter import BASE_FILES, Exporter
from autogate.goals import AUTO
from autogate.system import Registry, registering

EXPORTERS: Registry[Exporter] = Registry(
    "export format",
    "autogate.exporters",
    ExportError,
    built_in=(
        "autogate.exporters.pt2",
        "autogate.exporters.onnx",
        "autogate.exporters.openvino",
        "autogate.exporters.aoti",
    ),
)
register_exporter = registering(EXPORTERS, Exporter)  # type: ignore[type-abstract]


def find_exporters(formats: Sequence[str], runtime: str = "eager") -> tuple[Exporter, ...]:
    """Return the exporters of the named formats, once each; one text may hold several names with commas between.

    Args:
        formats: The names; ``auto`` is the format of ``runtime``.
        runtime: Name of the runtime that a network was searched for.

    Raises:
        ExportError: If one is unknown, its package is broken, packages it needs are missing, or two of them write files
            of the same name.
    """
    names = formats.split(",") if isinstance(formats, str) else formats
    asked = [_format_of(runtime) if name.strip() == AUTO else name.strip() for name in names]
    found = tuple(EXPORTERS.find(name) for name in dict.fromkeys(asked))
    for exporter in found:
        if (missing := exporter.missing_reason()) is not None:
            raise ExportError(missing)
    counts = Counter(name for files in (BASE_FILES, *(exporter.files for exporter in found)) for name in files)
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        clashing = [exporter.name for exporter in found if twice in exporter.files]
        raise ExportError(f"{twice} would be written twice, by format {' and '.join(clashing)}; export them apart")
    return found


def _format_of(runtime: str) -> str:
    """Return the usual format of a runtime; one without a format runs modules of PyTorch, whose format is ``pt2``."""
    return next((name for name, exporter in EXPORTERS.items() if runtime in exporter.runtimes), "pt2")
