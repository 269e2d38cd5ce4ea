"""Get a network: a CIFAR network built in, a torchvision or timm name, or your own factory."""

from autogate.models.aliases import filled, stored_once
from autogate.models.cifar_networks import list_models
from autogate.models.factory import call_factory, is_factory
from autogate.models.head import head_classes
from autogate.models.inputs import input_channels
from autogate.models.load import LoadedModel, default_input_size, load_model
from autogate.models.weightless import without_data
from autogate.models.weights import state_sha256

__all__ = [
    "LoadedModel",
    "call_factory",
    "default_input_size",
    "filled",
    "head_classes",
    "input_channels",
    "is_factory",
    "list_models",
    "load_model",
    "state_sha256",
    "stored_once",
    "without_data",
]
