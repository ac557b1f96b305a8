"""The networks of torchvision, timm and keras.applications: their list, and each with weights in general position."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

SOURCES = ("torchvision", "timm", "keras")
NEEDED = {
    "torchvision": ("torch", "torchvision", "onnxscript", "onnxruntime"),
    "timm": ("torch", "timm", "onnxscript", "onnxruntime"),
    "keras": ("tensorflow", "tf2onnx", "onnxruntime"),
}
"""The packages that a source's networks and their exporters need."""
LARGEST = 150e6  # parameters; what is larger is left out, and counted so


class Listed(NamedTuple):
    """A network. Args: family: of its source. parameters: how many; 0 where they cannot be counted."""

    name: str
    family: str
    parameters: int


def listed(source: str) -> list[Listed]:
    """The networks of a source: each family's smallest first, then the others; both by size."""
    found = list({"torchvision": _of_torchvision, "timm": _smallest_of_timm, "keras": _of_keras}[source]())
    smallest = {item.family: item.name for item in sorted(found, key=lambda item: -item.parameters)}
    return sorted(found, key=lambda item: (smallest[item.family] != item.name, item.parameters))


def _of_torchvision() -> Iterator[Listed]:
    tolerate_missing_operators()
    from torchvision import models

    for name in models.list_models(module=models):
        declared = models.get_model_weights(name).DEFAULT.meta["num_params"]
        yield Listed(name, models.get_model_builder(name).__module__, declared)


def _smallest_of_timm() -> Iterator[Listed]:
    """The smallest network of every module."""
    tolerate_missing_operators()
    import timm

    for module in timm.list_modules():
        counted = [Listed(name, module, num_parameters("timm", name)) for name in timm.list_models(module=module)]
        built = [item for item in counted if item.parameters]
        if built:
            yield min(built, key=lambda item: item.parameters)


def _of_keras() -> Iterator[Listed]:
    import keras

    for name, function in sorted(vars(keras.applications).items()):
        if inspect.isfunction(function):
            model, _ = keras_network(name)
            yield Listed(name, function.__module__, model.count_params())
            keras.backend.clear_session()


@cache
def tolerate_missing_operators() -> None:
    """Lets torchvision be imported without its compiled operators, which no network here uses."""
    import torch

    register = torch.library.register_fake

    def tolerant(name: Any, *args: Any, **keywords: Any) -> Callable[[Any], Any]:
        def keep(function: Any) -> Any:
            try:
                return register(name, *args, **keywords)(function)
            except (RuntimeError, AttributeError):
                return function

        return keep

    torch.library.register_fake = tolerant


def torch_module(source: str, name: str) -> Any:
    """The module as its package makes it."""
    tolerate_missing_operators()
    if source == "torchvision":
        import torchvision

        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        return torchvision.models.get_model(name, **options)
    import timm

    return timm.create_model(name)


def num_parameters(source: str, name: str) -> int:
    """Counted without making them, where the module can be built so; else 0."""
    import torch

    try:
        with torch.device("meta"):
            return sum(p.numel() for p in torch_module(source, name).parameters())
    except Exception:
        return 0


def torch_network(source: str, name: str) -> tuple[Any, list[int]]:
    """The module with weights in general position, and the image sizes that it takes, the smallest first."""
    import torch

    torch.manual_seed(0)
    model = torch_module(source, name).eval()
    usual = 299 if name == "inception_v3" else getattr(model, "default_cfg", {"input_size": (224,)})["input_size"][-1]
    with torch.no_grad():
        for module in model.modules():
            for key, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                _general_position(key, value)
    return model, [size for size in dict.fromkeys((64, usual)) if _takes(model, size)]


def _general_position(key: str, value: Any) -> None:
    if not value.is_floating_point():
        return
    if key == "running_var" or (value.ndim <= 1 and key in ("weight", "gamma", "running_var")) or "scale" in key:
        value.uniform_(0.5, 1.5)
    elif key in ("bias", "beta", "running_mean"):
        value.normal_(0.0, 0.1)
    elif not value.any():  # a last layer of zeros would give every image the same output
        value.normal_(0.0, 0.05)


def _takes(model: Any, size: int) -> bool:
    import torch

    try:
        with torch.no_grad():
            found = model(torch.zeros(2, 3, size, size))
        return found.ndim == 2 and bool(torch.isfinite(found).all())
    except Exception:
        return False


def keras_network(name: str) -> tuple[Any, int]:
    """The model as keras.applications makes it, for the smallest image that it takes, and that size."""
    import keras

    keras.utils.set_random_seed(0)
    make = getattr(keras.applications, name)
    for size in (64, 75, 128, 224):
        try:
            return make(weights=None, input_shape=(size, size, 3), classes=1000, classifier_activation=None), size
        except ValueError:
            continue
    return make(weights=None, input_shape=(331, 331, 3), classes=1000, classifier_activation=None), 331
