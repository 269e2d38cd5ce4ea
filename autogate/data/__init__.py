"""Get images: the built-in digits, an image folder, a torchvision dataset, your own factory, or your own datasets."""

from autogate.data.datasets import from_datasets
from autogate.data.image_data import ImageData, check_divisible
from autogate.data.load import load_data
from autogate.data.own_inputs import from_own_task, is_own_task
from autogate.data.split import Split

__all__ = [
    "ImageData",
    "Split",
    "check_divisible",
    "from_datasets",
    "from_own_task",
    "is_own_task",
    "load_data",
]
