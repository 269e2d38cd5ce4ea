"""Get images: the built-in digits, an image folder, a torchvision dataset, or your own factory."""

from autogate.data._datasets import from_datasets
from autogate.data._image_data import ImageData
from autogate.data._load import load_data
from autogate.data._split import Split

__all__ = ["ImageData", "Split", "from_datasets", "load_data"]
