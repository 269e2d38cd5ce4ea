"""Networks of timm, imported only when one is asked for."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from autogate.errors import ModelError
from autogate.models.source import Pretrained, Source, download_error
from autogate.records import Preprocessing
from autogate.system import one_line, suggest

PREFIX = "timm:"


class TimmSource(Source):
    """A ``timm:NAME``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.timm_name = name.removeprefix(PREFIX)
        try:
            self.timm: Any = importlib.import_module("timm")
        except ImportError as problem:
            raise ModelError(f"{name!r} needs timm; run: pip install 'autogate[timm]'") from problem

    def suggestion(self) -> str | None:
        """Return what to offer instead if timm does not know the name (may be empty), None if it does."""
        known = self.timm.list_models()
        if self.timm_name.partition(".")[0] in known:
            return None
        return suggest(self.timm_name, known, prefix=PREFIX)

    def build(self, num_classes: int | None) -> nn.Module:
        """Build the network."""
        options = {} if num_classes is None else {"num_classes": num_classes}
        try:
            module: nn.Module = self.timm.create_model(self.timm_name, pretrained=False, **options)
        except Exception as problem:  # timm raises many types
            raise ModelError(f"timm cannot build {self.timm_name!r} ({one_line(problem, with_type=True)})") from problem
        return module

    def input_size(self) -> int:
        """Return the size in timm's default configuration."""
        config = self.timm.get_pretrained_cfg(self.timm_name)
        return 224 if config is None else int(config.input_size[-1])

    def weights_names(self) -> list[str]:
        """Return ``DEFAULT``."""
        return ["DEFAULT"]

    def fetch(self, weights: str) -> Pretrained:
        """Download timm's weights, with the class count they were trained for."""
        try:
            module = self.timm.create_model(self.timm_name, pretrained=True)
        except Exception as problem:  # timm and its hub raise many types: no network, no such file, no weights
            raise download_error(self.name, problem) from problem
        config = module.pretrained_cfg
        mean, std = (tuple(float(v) for v in config[key]) for key in ("mean", "std"))
        preprocessing = Preprocessing(int(config["input_size"][-1]), mean, std)
        return Pretrained({"": module.state_dict()}, preprocessing, f"{self.name} pretrained")
