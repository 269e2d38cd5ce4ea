"""VGG-16 with batch normalisation, sized for CIFAR: thirteen convolutions and one linear head."""

from __future__ import annotations

from torch import Tensor, nn

# Output channels of the convolutions between two poolings.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class CifarVGG16(nn.Module):
    """A plain chain of convolutions for images of 32x32 or larger.

    Args:
        num_classes: Outputs of the linear head.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_channels = 3
        for stage in STAGES:
            for channels in stage:
                # The batch normalisation that follows has the bias.
                layers.append(nn.Conv2d(in_channels, channels, 3, padding=1, bias=False))
                layers += [nn.BatchNorm2d(channels), nn.ReLU()]
                in_channels = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images, float ``[B, 3, H, W]`` with H and W of at least 32, to logits ``[B, num_classes]``."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))  # type: ignore[no-any-return]
