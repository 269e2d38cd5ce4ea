"""Load a network by name, with or without weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from autogate.errors import ModelError, WeightsError
from autogate.models import timm_models as _timm
from autogate.models import torchvision_models as _torchvision
from autogate.models.checkpoints import select_weights
from autogate.models.cifar_networks import INPUT_SIZE, NUM_CLASSES, build_builtin, list_models
from autogate.models.factory import call_factory, is_factory
from autogate.models.fit import fit_weights
from autogate.models.head import Head, find_head, head_classes
from autogate.models.source import Pretrained, Source
from autogate.models.weights import check_finite, read_weights, state_sha256
from autogate.records import Preprocessing
from autogate.system import suggest


class BuiltinSource(Source):
    """One of AutoGate's built-in CIFAR networks."""

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


@dataclass(frozen=True)
class LoadedModel:
    """A network and what is known about it.

    Attributes:
        module: The network, in eval mode, on the CPU, in float32.
        name: Its name as the user typed it.
        weights: Where the weights came from; None for a random initialisation.
        weights_sha256: :func:`~autogate.models.state_sha256` of the weights; None without weights.
        preprocessing: What the weights were trained with; None if that is not known.
        num_classes: Outputs of the classifier; None if it has none, and none were asked for.
    """

    module: nn.Module
    name: str
    weights: str | None
    weights_sha256: str | None
    preprocessing: Preprocessing | None
    num_classes: int | None


def load_model(
    name: str,
    *,
    num_classes: int | None = None,
    weights: str | None = None,
    new_head: bool = False,
    seed: int = 0,
) -> LoadedModel:
    """Build a network and load its weights.

    Args:
        name: A built-in CIFAR network, a torchvision name, ``timm:NAME`` or ``package.module:factory``.
        num_classes: Outputs of the classifier; None takes those of the weights, else the network's default.
        weights: ``DEFAULT``, a torchvision name such as ``IMAGENET1K_V2``, or the path of a file.
        new_head: Whether to leave the classifier of the weights aside and start it afresh.
        seed: Seed of everything initialised at random; the global random state stays as it was.

    Raises:
        ModelError: If the network is unknown or cannot be built.
        WeightsError: If the weights cannot be had, are damaged or unsafe, or do not fit.
    """
    if num_classes is not None and num_classes < 1:
        raise ModelError(f"a network needs at least one class, not {num_classes}")
    source = find_source(name)
    if weights is None:
        module = _build(source, num_classes, seed)
        return _finish(module, name, None, None, num_classes, source.input_size())
    found = _obtain(source, weights)
    module = _build(source, num_classes, seed)
    head = find_head(module, source.input_size())
    new = head[0] if head and new_head else None
    state = select_weights(found.states, module.state_dict(), label=found.label, adapt=source.adapt, leave_out=new)
    check_finite(state, found.label)
    classes = _classes_to_build(head, state, num_classes, found.label, new_head)
    if classes is not None:
        module = _build(source, classes, seed)
    fit_weights(module, state, label=found.label, leave_out=new)
    return _finish(module, name, found.label, found.preprocessing, num_classes, source.input_size())


def default_input_size(name: str) -> int:
    """Return the usual input height and width of a network, in pixels.

    Raises:
        ModelError: If the network is unknown.
    """
    return find_source(name).input_size()


def _build(source: Source, num_classes: int | None, seed: int) -> nn.Module:
    # The CPU generator alone: torch.manual_seed would also reseed the accelerators, which fork_rng left out.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        module = source.build(num_classes).cpu().float().eval()
    built = None if num_classes is None else head_classes(module, source.input_size())
    if built is not None and built != num_classes:
        advice = "let its factory take num_classes, or use data with as many classes"
        raise ModelError(f"{source.name} has {built} outputs, not {num_classes}; {advice}")
    return module


def _obtain(source: Source, weights: str) -> Pretrained:
    path = Path(weights).expanduser()
    if weights in source.weights_names() or (weights.isidentifier() and weights.isupper() and not path.exists()):
        return source.fetch(weights)
    return Pretrained(read_weights(path), source.recognise(path), weights)


def _classes_to_build(
    head: tuple[str, Head] | None, state: Mapping[str, Tensor], num_classes: int | None, label: str, new_head: bool
) -> int | None:
    """Return the class count of the weights if the network is to be built again for it; None if it fits."""
    weight = state.get(f"{head[0]}.weight") if head else None
    if head is None or weight is None or weight.ndim != head[1].weight.ndim:
        return None  # no class count to compare; loading says what does not match
    built, stored = int(head[1].weight.shape[0]), int(weight.shape[0])
    if built == stored or (new_head and num_classes is not None):
        return None
    if num_classes is None:
        return stored
    advice = "ask for a new head (--new-head) to train one, or use the data these weights are for"
    raise WeightsError(f"{label} has a head for {stored} classes, not {num_classes}; {advice}")


def _finish(
    module: nn.Module,
    name: str,
    weights: str | None,
    preprocessing: Preprocessing | None,
    num_classes: int | None,
    input_size: int,
) -> LoadedModel:
    classes = head_classes(module, input_size) or num_classes
    sha256 = None if weights is None else state_sha256(module.state_dict())
    return LoadedModel(module, name, weights, sha256, preprocessing, classes)
