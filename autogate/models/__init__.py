"""Get a network: a CIFAR network of AutoGate's own, a torchvision or timm name, or your own factory."""

from autogate.models.factory import call_factory, is_factory
from autogate.models.hash import state_sha256
from autogate.models.head import head_classes
from autogate.models.load import LoadedModel, default_input_size, load_model
from autogate.models.registry import list_models

__all__ = [
    "LoadedModel",
    "call_factory",
    "default_input_size",
    "head_classes",
    "is_factory",
    "list_models",
    "load_model",
    "state_sha256",
]
