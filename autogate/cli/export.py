"""``autogate export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import autogate
from autogate.cli.options import Storage, StudyName, duration_s
from autogate.cli.printing import console, print_json, print_table
from autogate.units import in_mib, score_text

_TIMES = ("p50", "pass_p90", "pass_p99")


def command(
    study: StudyName,
    to: Annotated[Path, typer.Option(help="Directory to write.")],
    trial: Annotated[str, typer.Option(help="best, or the trial number of a finalist.")] = "best",
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            help="Formats to write, with commas between: pt2, onnx, openvino, aoti, one of a plug-in, or auto, the "
            "target's.",
        ),
    ] = "auto",
    time: Annotated[str, typer.Option(help="Time to time each format for, at most; 0 for not at all.")] = "3s",
    storage: Storage = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")] = False,
) -> None:
    """Write policy, weights and report of a finalist, and the network in the formats; verify and time them."""
    time_s = 0.0 if time.strip() == "0" else duration_s(time, "time")
    wanted = formats.split(",")
    report = autogate.export(study, to, trial=trial, formats=wanted, storage=storage, time_s=time_s).to_json()
    if as_json:
        print_json(report)
        return
    verified = report["verified"]
    formats_files = [file for one in report["formats"].values() for file in one["files"]]
    files = ["policy.json", "model.safetensors", *formats_files, "report.json", "inputs.safetensors"]
    console().print(
        f"wrote {to}: {', '.join(files)}\n"
        f"reloaded and compared on {verified['images']} images: largest difference {verified['max_difference']:.1e}, "
        f"{verified['changed_predictions']} predictions changed",
        markup=False,
    )
    _print_formats(report["formats"], verified["images"])
    lines = [_quantised(name, one["quantised"]) for name, one in report["formats"].items() if "quantised" in one]
    lines += [line for name, one in report["formats"].items() if (line := _warning(name, one)) is not None]
    console().print("\n".join([*lines, f"measure it with: autogate measure {to}"]), markup=False)


def _print_formats(formats: dict[str, Any], images: int) -> None:
    """Print a row for each format: its size, its accuracy, what it takes and what dense takes in it."""
    rows = []
    for name, one in formats.items():
        accuracy = "" if one.get("accuracy") is None else score_text(one["accuracy"])
        found = one.get("measured")
        times, ratio = [""] * 4, ""
        if found is not None:
            gated, (low, high) = found["gated"], found["ratio_interval"]
            times = [f"{ms:.3f}" for ms in (found["dense"]["p50"], *(gated[key] for key in _TIMES))]
            ratio = f"{found['ratio']:.3f} [{low:.3f}, {high:.3f}]"
        rows.append((name, in_mib(one["bytes"]), accuracy, *times, ratio))
    columns = (
        "format",
        "size",
        f"accuracy on {images} images",
        "dense p50 ms",
        "p50 ms",
        "p90",
        "p99",
        "ratio to dense",
    )
    print_table("formats, each beside dense in the same format", columns, rows)


def _warning(name: str, one: dict[str, Any]) -> str | None:
    """Return what a user must know of a format before it is deployed; None if there is nothing."""
    if "untimed" in one:
        return f"format {name} was not timed: {one['untimed']}"
    if one.get("measured") is None or one["measured"]["gated_is"] == "faster":
        return None
    return f"format {name} is no faster than the dense network in it: do not deploy it for speed"


def _quantised(name: str, found: dict[str, Any]) -> str:
    """Return a line on a format in eight bits."""
    line = f"format {name} is in int8: {found['changed_predictions']} predictions changed"
    if found["accuracy"] is not None:
        right, in_float = score_text(found["accuracy"]), score_text(found["float_accuracy"])
        line += f"; {right} of these images right, {in_float} in float32"
    return line
