"""Get a network: a CIFAR network of AutoGate's own, a torchvision or timm name, or your own factory."""

from autogate.models._hash import state_sha256
from autogate.models._head import head_classes
from autogate.models._load import LoadedModel, default_input_size, load_model
from autogate.models._registry import list_models

__all__ = ["LoadedModel", "default_input_size", "head_classes", "list_models", "load_model", "state_sha256"]
