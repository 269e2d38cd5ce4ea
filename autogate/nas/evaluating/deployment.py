"""A network as it is deployed in eight bits: what it is judged by is what the runtime computes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from autogate.data import ImageData
from autogate.policy import Policy
from autogate.runtimes import CALIBRATION_IMAGES, QuantisedNetwork
from autogate.surgery import decides_on_data


@dataclass(frozen=True)
class Deployment:
    """Where networks in eight bits are deployed.

    Attributes:
        runtime: Name of the runtime.
        threads: CPU threads that compute there.
        batch_size: Images per call.
    """

    runtime: str
    threads: int
    batch_size: int

    def network(self, compact: nn.Module, policy: Policy, data: ImageData) -> nn.Module:
        """Return a compact network quantised, calibrated with training images, as the runtime computes it.

        Raises:
            DeviceError: If it cannot be quantised or run.
        """
        images = data.train.first_images(CALIBRATION_IMAGES)
        batch_size = self.batch_size if decides_on_data(policy) else None
        return QuantisedNetwork(compact.cpu(), self.runtime, self.threads, images, batch_size)
