"""A network as it is deployed in a runtime of files: what it is judged by is what that computes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from autogate.data import ImageData
from autogate.policy import Policy
from autogate.runtimes import CALIBRATION_IMAGES, DeployedNetwork
from autogate.surgery import decides_on_data


@dataclass(frozen=True)
class Deployment:
    """Where networks are deployed.

    Attributes:
        runtime: Name of the runtime.
        dtype: Element type that it computes in.
        threads: CPU threads that compute there.
        batch_size: Images per call.
    """

    runtime: str
    dtype: str
    threads: int
    batch_size: int

    def network(self, compact: nn.Module, policy: Policy, data: ImageData) -> nn.Module:
        """Return a compact network as the runtime computes it, in eight bits calibrated with training images.

        Raises:
            DeviceError: If it cannot be quantised or run.
        """
        images = data.train.first_images(CALIBRATION_IMAGES)
        batch_size = self.batch_size if decides_on_data(policy) else None
        return DeployedNetwork(compact.cpu(), self.runtime, self.dtype, self.threads, images, batch_size)
