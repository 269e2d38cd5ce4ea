"""From the name of a network to what can build it."""

from __future__ import annotations

from torch import nn

from autogate.errors import ModelError
from autogate.models import timm_models as _timm
from autogate.models import torchvision_models as _torchvision
from autogate.models.factory import call_factory, is_factory
from autogate.models.registry import INPUT_SIZE, NUM_CLASSES, build_builtin, list_models
from autogate.models.source import Source
from autogate.system import suggest


class BuiltinSource(Source):
    """One of AutoGate's own CIFAR networks."""

    def build(self, num_classes: int | None) -> nn.Module:
        """Build the network."""
        return build_builtin(self.name, NUM_CLASSES if num_classes is None else num_classes)

    def input_size(self) -> int:
        """Return 32."""
        return INPUT_SIZE


class FactorySource(Source):
    """A user's ``package.module:factory``."""

    def build(self, num_classes: int | None) -> nn.Module:
        """Call the factory, with ``num_classes`` if it takes that."""
        module = call_factory(self.name, ModelError, num_classes=num_classes)
        if not isinstance(module, nn.Module):
            raise ModelError(f"{self.name} returned {type(module).__name__}; it must return a torch.nn.Module")
        return module

    def input_size(self) -> int:
        """Return 32."""
        return INPUT_SIZE


def find_source(name: str) -> Source:
    """Return the source of a network name.

    Raises:
        ModelError: If no such network is known.
    """
    if name in list_models():
        return BuiltinSource(name)
    if name.startswith(_timm.PREFIX):
        source = _timm.TimmSource(name)
        suggestion = source.suggestion()
        if suggestion is not None:
            raise _unknown(name, suggestion)
        return source
    if is_factory(name):
        return FactorySource(name)
    if name in _torchvision.names():
        return _torchvision.TorchvisionSource(name)
    raise _unknown(name, suggest(name, list_models() + _torchvision.names()))


def _unknown(name: str, suggestion: str) -> ModelError:
    if suggestion:
        return ModelError(f"unknown model {name!r}; {suggestion}")
    forms = "a torchvision name, timm:NAME or package.module:factory"
    return ModelError(f"unknown model {name!r}; use one of {', '.join(list_models())}, {forms}")
