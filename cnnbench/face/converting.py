"""``convert_weights``: a user's model with the weights of the network that it is a port of."""

from __future__ import annotations

from typing import Any

from cnnbench.errors import SpecError
from cnnbench.face.foreign_models import reader_of_model
from cnnbench.face.networks import Image, Network, load


def convert_weights(reference: Network, model: Any, *, image: Image = None) -> Any:
    """A copy of a model with the weights and running statistics of the network that it is a port of.

    Both are aligned as ``port`` does it, so names and layouts may differ. Nothing is left over on either side.

    Args:
        reference: The network that has the weights: whatever ``load`` takes, such as ``nets.py:resnet``.
        model: A live module of PyTorch, a Keras model, or a JAX function with its parameters.
        image: (C, *spatial) of one image; None for the reference's own.

    Raises:
        SpecError: A layer with weights has no counterpart, or one of another shape; or the model's graph computes a
            weight from others.
    """
    from cnnbench.porting.converting import converted
    from cnnbench.porting.normal_form import normal_form
    from cnnbench.spec.interchange.model_readers import GivenInputs

    reader = reader_of_model(model)
    if reader is None:
        received = f"{type(model).__module__}.{type(model).__qualname__}"
        raise SpecError("this is no model that is read", received=received)
    source = load(reference, image=image)
    shapes = tuple(item.shape for item in source.graph.inputs)
    given = GivenInputs(image=shapes[0]) if len(shapes) == 1 and len(shapes[0]) > 1 else GivenInputs(shapes)
    return converted(normal_form(source.graph, source.arrays), reader.code(), model, given)
