"""What each family's paper shows, trained here: accuracy and three cost columns beside dense.

    python benchmarks/families.py ROW --data FOLDER --weights FOLDER [--network NAME] [--epochs N] [--seeds 0 1 2]
    python benchmarks/families.py ROW ... --measure

Dense and gated networks are trained with equal budgets. Each training is kept when it is done, so an interrupted
row continues where it was; until it is done, its result says which trainings are missing. ``--measure`` times the
trained networks beside dense, on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from reproductions import antidote, dce, gss, lcnet, mod
from reproductions.crew import finished, say
from reproductions.row import Options, Row
from reproductions.workbench import Run, Workbench

from autogate.data import load_data
from autogate.latency.hardware import machine_facts

ROWS: dict[str, Row] = {"antidote": antidote.ROW, "dce": dce.ROW, "gss": gss.ROW, "lcnet": lcnet.ROW, "mod": mod.ROW}
HERE = Path(__file__).parent


def main() -> None:
    """Do one row and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=tuple(ROWS))
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", type=Path, required=True, help="folder of NETWORK-cifar10jpeg.safetensors files")
    parser.add_argument("--network")
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--levels", nargs="+", default=[], help="only these cuts, widths or sparsities of the row")
    parser.add_argument("--trials", type=int, default=4, help="settings tried by each method that is tuned")
    parser.add_argument("--float32", action="store_true", help="for processors that have no bfloat16 arithmetic")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--batch-size", type=int, default=1, help="images per call when measuring")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--trained", type=Path, default=HERE / "trained", help="folder that keeps what was trained")
    args = parser.parse_args()
    row = ROWS[args.row]
    network = args.network or row.networks[0]
    images = len(load_data(args.data).train)
    options = Options(
        network,
        args.weights,
        images,
        args.epochs or row.epochs,
        tuple(args.seeds),
        args.float32,
        tuple(args.levels),
        args.trials,
    )
    out = HERE / "results" / "families" / f"{args.row}-{network}.json"
    bench = Workbench(args.data, args.trained, args.device)
    results: dict[str, Any] = {}

    def write() -> dict[str, Any]:
        document = {
            "command": _command(args, options),
            "machine": machine_facts(),
            "device": str(bench.device),
            "network": network,
            "train_images": images,
            "epochs": options.epochs,
            "epochs_of_the_full_row": row.epochs,
            "not_done": [run.name for run in wanted()],
            "published": row.published,
            "figures": row.figures(options, results),
            "runs": results,
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        return document

    def wanted() -> list[Run]:
        return [run for run in row.runs(options, results) if run.name not in results]

    for run, found in finished(bench, args.jobs, wanted):
        results[run.name] = found
        say(f"{run.name}: accuracy {found['accuracy']:.4f}")
        write()
    if args.measure:
        _measure(bench, row.runs(options, results), results, args.batch_size)
    print(json.dumps(write()["figures"], indent=2))


def _command(args: argparse.Namespace, options: Options) -> str:
    words = ["python benchmarks/families.py", args.row, "--network", options.network, "--epochs", f"{options.epochs:g}"]
    words += ["--seeds", *map(str, options.seeds)]
    words += ["--levels", *options.levels] if options.levels else []
    words += ["--trials", str(options.trials)] if args.row == "gss" else []
    words += ["--data FOLDER --weights FOLDER"]
    words += [f"--{name}" for name in ("float32", "measure") if getattr(args, name)]
    return " ".join(words)


def _measure(bench: Workbench, runs: list[Run], results: dict[str, Any], batch_size: int) -> None:
    for run in runs:
        if not run.policy.is_dense and run.gates is None and run.score_on == "test":
            results[run.name]["latency"] = bench.measure(run, batch_size)
            say(f"{run.name}: measured {results[run.name]['latency']['ratio']:.3f} of dense")


if __name__ == "__main__":
    main()
