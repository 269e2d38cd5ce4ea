"""``autogate export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import autogate
from autogate.cli.options import Storage, StudyName
from autogate.cli.printing import console, print_json
from autogate.units import score_text


def command(
    study: StudyName,
    to: Annotated[Path, typer.Option(help="Directory to write.")],
    trial: Annotated[str, typer.Option(help="best, or the trial number of a finalist.")] = "best",
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            help="Formats to write, with commas between: pt2, onnx, openvino, one of a plug-in, or auto: the target's.",
        ),
    ] = "auto",
    storage: Storage = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")] = False,
) -> None:
    """Write policy, weights and report of a finalist, and the network in the formats; reload and verify them."""
    report = autogate.export(study, to, trial=trial, formats=formats.split(","), storage=storage).to_json()
    if as_json:
        print_json(report)
        return
    verified = report["verified"]
    formats_files = [file for one in report["formats"].values() for file in one["files"]]
    files = ["policy.json", "model.safetensors", *formats_files, "report.json", "inputs.safetensors"]
    console().print(
        f"wrote {to}: {', '.join(files)}\n"
        f"reloaded and compared on {verified['images']} images: largest difference {verified['max_difference']:.1e}, "
        f"{verified['changed_predictions']} predictions changed\n"
        + "".join(_quantised(name, one["quantised"]) for name, one in report["formats"].items() if "quantised" in one)
        + f"measure it with: autogate measure {to}",
        markup=False,
    )


def _quantised(name: str, found: dict[str, Any]) -> str:
    """Return a line on a format in eight bits."""
    line = f"format {name} is in int8: {found['changed_predictions']} predictions changed"
    if found["accuracy"] is not None:
        right, in_float = score_text(found["accuracy"]), score_text(found["float_accuracy"])
        line += f"; {right} of these images right, {in_float} in float32"
    return line + "\n"
