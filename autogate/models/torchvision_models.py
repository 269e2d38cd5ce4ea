"""Classification networks of torchvision."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor, nn

from autogate.errors import ModelError, WeightsError
from autogate.models.source import Pretrained, Source, download_error
from autogate.records import Preprocessing
from autogate.system import one_line

# Networks with auxiliary heads, which only training from scratch uses, and how their entries begin.
_AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}
_INPUT_SIZES = {"inception_v3": 299}
# torchvision's DenseNet files still have names such as "norm.1", which no module can have today.
_DENSENET_NAME = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


def names() -> list[str]:
    """Return the names of torchvision's classification networks."""
    return list(torchvision.models.list_models(module=torchvision.models))


class TorchvisionSource(Source):
    """A network of ``torchvision.models``, without auxiliary heads."""

    def build(self, num_classes: int | None) -> nn.Module:
        """Build the network."""
        options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
        if self.name in _AUXILIARY:
            options.update(aux_logits=False, init_weights=True)
        try:
            module: nn.Module = torchvision.models.get_model(self.name, weights=None, **options)
        except Exception as problem:  # constructors raise many types
            raise ModelError(
                f"torchvision cannot build {self.name!r} ({one_line(problem, with_type=True)})"
            ) from problem
        return module

    def input_size(self) -> int:
        """Return 224, or 299 for Inception."""
        return _INPUT_SIZES.get(self.name, 224)

    def weights_names(self) -> list[str]:
        """Return ``DEFAULT`` and names such as ``IMAGENET1K_V2``."""
        return ["DEFAULT", *(key for key in self._published() if key != "DEFAULT")]

    def fetch(self, weights: str) -> Pretrained:
        """Download torchvision's weights."""
        entry = self._published().get(weights)
        if entry is None:
            known = ", ".join(self.weights_names())
            raise WeightsError(f"{self.name!r} has no weights {weights!r}; use one of {known}, or a file's path")
        try:
            state = entry.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except Exception as problem:  # no network, no space, a broken download
            raise download_error(f"{self.name} from {entry.url}", problem) from problem
        return Pretrained({"": state}, self._preprocessing(entry), f"torchvision {entry}")

    def recognise(self, path: Path) -> Preprocessing | None:
        """Return the preprocessing of a file that torchvision published, recognised by its name and hash."""
        for entry in self._published().values():
            start = re.search(r"-([0-9a-f]{8,})\.pth$", entry.url)
            if start and path.name == entry.url.rpartition("/")[2]:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
                return self._preprocessing(entry) if found.startswith(start[1]) else None
        return None

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Leave out auxiliary heads and bring old names into today's form."""
        auxiliary = _AUXILIARY.get(self.name, ())
        renamed = {key: value for key, value in state.items() if not key.startswith(auxiliary)} if auxiliary else state
        if self.name.startswith("densenet"):
            renamed = {_DENSENET_NAME.sub(r"\1\2", key): value for key, value in renamed.items()}
        return renamed

    def _published(self) -> dict[str, Any]:
        return dict(torchvision.models.get_model_weights(self.name).__members__)

    def _preprocessing(self, entry: Any) -> Preprocessing:
        transforms = entry.transforms()
        mean, std = (tuple(float(v) for v in values) for values in (transforms.mean, transforms.std))
        if self.name in _AUXILIARY:
            # These files want values in [-1, 1]. torchvision converts inside the network, from the ImageNet
            # statistics, if told so when it is built; here the preprocessing says it.
            mean = std = (0.5, 0.5, 0.5)
        return Preprocessing(int(transforms.crop_size[0]), mean, std)
