"""Train, score and cost one gated network after another; what is done is kept and not done again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from autogate.data import ImageData, Split, load_data
from autogate.gates import TrainingGate
from autogate.latency.hardware import device_name, resolve_device, setting_of
from autogate.latency.profile import fastest_layout
from autogate.latency.timing import compare
from autogate.models import load_model
from autogate.policy import DENSE, Policy, digest
from autogate.records import Realisation
from autogate.resources import dense_macs, paper_macs, parameter_count, policy_varies, realisable_macs
from autogate.sites import Network, find_sites
from autogate.surgery import attach_gates, by_path, canonical, compact_form, gate_path, training_form
from autogate.training import Recipe, TrainingBackend, recalibrate

from .other_gates import aig_evaluations

Gates = dict[str, TrainingGate]
_COUNTED_IMAGES = 64
_MEASURED_INPUTS = 64
_MEASURING_SECONDS = 30.0


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        name: Unique in its row, for people.
        network: A network's name.
        policy: The gates, which need not be canonical.
        recipe: How to train.
        seed: Seed of the weights, if they are random, and of the training.
        start: A weights file, another run, or None for random weights.
        gates: Makes gates that are no family's, in place of the policy's, which then stands for their cost.
        score_on: Images that judge it.
    """

    name: str
    network: str
    policy: Policy
    recipe: Recipe
    seed: int = 0
    start: Run | Path | None = None
    gates: Callable[[Network, Policy], Gates] | None = None
    score_on: Literal["val", "test"] = "test"

    @property
    def key(self) -> str:
        """Identity of the trained network."""
        start = self.start.key if isinstance(self.start, Run) else self.start and self.start.name
        gates = None if self.gates is None else self.gates.__qualname__
        return digest([self.network, self.policy.to_json(), self.recipe.digest, self.seed, start, gates, self.score_on])


class Workbench:
    """Does runs.

    Args:
        data: An image folder.
        folder: Folder for trained weights and what is known of them, by dataset; rows share it.
        device: Device to train and measure on.
    """

    def __init__(self, data: str, folder: Path, device: str) -> None:
        self.source, self.root = data, folder
        self.data: ImageData = load_data(data)
        self.folder = folder / self.data.fingerprint[:12]
        self.device = resolve_device(device)

    def do(self, run: Run, say: Callable[[str], None]) -> dict[str, Any]:
        """Train and score one network, unless that has been done; return what is known of it."""
        known = self._file(run, "json")
        if not known.exists():
            row = self._train(run, say)
            known.write_text(json.dumps(row) + "\n", encoding="utf-8")
        found: dict[str, Any] = json.loads(known.read_text(encoding="utf-8"))
        return found

    def _train(self, run: Run, say: Callable[[str], None]) -> dict[str, Any]:
        network, policy, gates = self._prepared(run)
        form = training_form(network, gates)
        last = time.monotonic()

        def progress(fraction: float, what: str) -> None:
            nonlocal last
            if time.monotonic() - last > 60:
                last = time.monotonic()
                say(f"{run.name}: {fraction:.0%}, {what}")

        start = time.monotonic()
        methods = TrainingBackend()
        methods.train(form, self.data.train, run.recipe, "full", seed=run.seed, device=self.device, progress=progress)
        seconds = time.monotonic() - start
        recalibrate(form, self.data.train, seed=run.seed, device=self.device)
        self._save(run, network, gates)
        ways = self._ways(run, network, policy, form)
        accuracy, macs = self._scored(run, network, policy, form)
        compact = compact_form(network, policy, gates) if run.gates is None else form.eval()
        dense = dense_macs(network)
        row = {
            "accuracy": accuracy,
            "judged_on": run.score_on,
            "paper_macs_ratio": macs,
            "train_seconds": round(seconds),
            "trained_on": device_name(self.device),
            "policy": policy.to_json(),
            "recipe": asdict(run.recipe),
            "seed": run.seed,
            "train_images": len(self.data.train),
            "start": run.start.name if run.start is not None else None,
        }
        if ways:
            row["ways_of_evaluating"] = {
                way: {"accuracy": found, "paper_macs_ratio": left} for way, (found, left) in ways.items()
            }
        if run.gates is None:
            row |= {
                "realisable_macs_ratio": realisable_macs(compact, self._inputs(_COUNTED_IMAGES)) / dense,
                "parameters": parameter_count(compact),
            }
        return row

    def _ways(self, run: Run, network: Network, policy: Policy, form: nn.Module) -> dict[str, tuple[float, float]]:
        ways = {}
        for way in aig_evaluations(form, self.data.val, self.device):
            recalibrate(form, self.data.train, seed=run.seed, device=self.device)
            ways[way] = self._scored(run, network, policy, form)
        return ways

    def _scored(self, run: Run, network: Network, policy: Policy, form: nn.Module) -> tuple[float, float]:
        """Return accuracy, and the share of the MACs that is left as the papers count them."""
        torch.manual_seed(run.seed)
        accuracy, traces = TrainingBackend().score(form, self._judged_on(run), "test", device=self.device)
        sites = {gate_path(site): site for site in policy.gates}
        realisation = Realisation({sites[path]: trace for path, trace in traces.decisions.items()})
        return accuracy, paper_macs(network, policy, realisation) / dense_macs(network)

    def measure(self, run: Run, batch_size: int) -> dict[str, Any]:
        """Time a trained network beside its dense one; where the cost is fixed, the weights do not matter."""
        network, policy, gates = self._prepared(run)
        if policy_varies(policy) or self._file(run, "safetensors").exists():
            self._load(run, network, gates)
        layout = fastest_layout(network, lambda name: setting_of(self.device, batch_size=batch_size, layout=name))
        setting = setting_of(self.device, batch_size=batch_size, layout=layout)
        comparison = compare(
            compact_form(network, DENSE, {}),
            compact_form(network, policy, gates),
            self._inputs(_MEASURED_INPUTS, batch_size),
            setting,
            varies=policy_varies(policy),
            stat="mean",
            seconds=_MEASURING_SECONDS,
        )
        return comparison.to_json()

    def _prepared(self, run: Run) -> tuple[Network, Policy, Gates]:
        torch.manual_seed(run.seed)
        weights = str(run.start) if isinstance(run.start, Path) else None
        loaded = load_model(run.network, weights=weights, num_classes=self.data.num_classes, seed=run.seed)
        size = self.data.preprocessing.input_size
        network = find_sites(loaded.module, (3, size, size))
        if isinstance(run.start, Run):
            network.model.load_state_dict(_strip(load_file(self._file(run.start, "safetensors")), "model."))
        policy = canonical(run.policy, network.sites, strict=True)
        gates = run.gates(network, policy) if run.gates is not None else attach_gates(network, policy)
        return network, policy, gates

    def _judged_on(self, run: Run) -> Split:
        return self.data.test if run.score_on == "test" else self.data.val

    def _inputs(self, images: int, batch_size: int = 1) -> list[torch.Tensor]:
        batches = self.data.test.batches(batch_size, limit=images, drop_last=True)
        return [batch for batch, _ in batches]

    def _file(self, run: Run, suffix: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{run.key}.{suffix}"

    def _save(self, run: Run, network: Network, gates: Gates) -> None:
        state = _holder(network, gates).state_dict()
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        save_file(state, self._file(run, "safetensors"))

    def _load(self, run: Run, network: Network, gates: Gates) -> None:
        _holder(network, gates).load_state_dict(load_file(self._file(run, "safetensors")))


def _holder(network: Network, gates: Gates) -> nn.Module:
    holder = nn.Module()
    holder.model = network.model
    for path, gate in by_path(gates).items():
        holder.add_module(path.replace(".", "_"), gate)
    return holder


def _strip(state: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
