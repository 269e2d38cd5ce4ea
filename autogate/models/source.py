"""What every kind of network name can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from autogate.errors import WeightsError
from autogate.records import Preprocessing
from autogate.system import one_line


@dataclass(frozen=True)
class Pretrained:
    """Weights that were had: tensors by name and by where they are, what they were trained with, their full name."""

    states: Mapping[str, Mapping[str, Tensor]]
    preprocessing: Preprocessing | None
    label: str


class Source(ABC):
    """A way to build one named network."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def build(self, num_classes: int | None) -> nn.Module:
        """Build the network with random weights.

        Args:
            num_classes: Outputs of the classifier; None takes the network's default.

        Raises:
            ModelError: If it cannot be built.
        """

    @abstractmethod
    def input_size(self) -> int:
        """Return the usual input height and width, in pixels."""

    def weights_names(self) -> list[str]:
        """Return the names of published weights."""
        return []

    def fetch(self, weights: str) -> Pretrained:
        """Download published weights, or take them from the cache.

        Raises:
            WeightsError: If there is no such name, or the download fails.
        """
        raise WeightsError(f"there are no published weights for {self.name!r}; pass the path of a weights file")

    def recognise(self, path: Path) -> Preprocessing | None:
        """Return the preprocessing of a weights file that is a published one, else None."""
        return None

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Bring the names of a state dict into the form this network uses."""
        return state


def download_error(what: str, problem: BaseException) -> WeightsError:
    """Return the error for published weights that cannot be had."""
    advice = "download them where there is a network and pass the file's path"
    return WeightsError(f"cannot download the weights of {what} ({one_line(problem, with_type=True)}); {advice}")
