"""``autogate predict``."""

from __future__ import annotations

from typing import Annotated

import typer

import autogate
from autogate.cli.options import Format, FormatOption, Storage, StudyName
from autogate.cli.printing import console, print_json


def command(
    study: StudyName,
    policy: Annotated[str, typer.Argument(help="best, a trial number, or a policy.json.")] = "best",
    profile: Annotated[str | None, typer.Option(help="Predict for the device of this profile file.")] = None,
    storage: Storage = None,
    output: FormatOption = Format.table,
) -> None:
    """Predict the latency of a policy."""
    result = autogate.predict(study, policy, profile=profile, storage=storage).to_json()
    if output is Format.json:
        print_json(result)
        return
    predicted = result["predicted_ms"]
    regime = "" if result["regime"] is None else f", mostly {result['regime']}"
    console().print(
        f"predicted on {result['device']}, batch {result['batch_size']}: p50 {predicted['p50']:.3f} ms, "
        f"p95 {predicted['p95']:.3f} ms, at most {predicted['upper']:.3f} ms; "
        f"{result['ratio']:.3f} of dense ({result['dense_ms']:.3f} ms), ±{result['error']:.1%}{regime}",
        markup=False,
    )
