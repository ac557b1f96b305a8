"""A layer's operands, as a user of ``cnnbench.testing`` gives them, in the form in which the reference takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnnbench.errors import SpecError
from cnnbench.face.foreign_arrays import host_array, several

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnbench.execution.precision import PrecisionPolicy
    from cnnbench.numerics.reference import LayerCall
    from cnnbench.spec.layers import Layer, WeightSpec

    Array = NDArray[Any]


def channels_moved(array: Array, how: Mapping[str, Any]) -> Array:
    """An image with its channels behind the batch axis.

    Args:
        array: The image.
        how: ``SameKeywords``.
    """
    import numpy as np

    return np.moveaxis(array, -1, 1) if how.get("channels_last") and array.ndim > 2 else array


def in_host_type(array: Array, policy: PrecisionPolicy) -> Array:
    """The array in the type of downloaded results: floats in the policy's host type, integers in 64 bits.

    Args:
        array: On the host.
        policy: The precision of what computed it.
    """
    import numpy as np

    from cnnbench.numerics.rounding import host_dtype

    return array.astype(host_dtype(policy) if array.dtype.kind == "f" else np.int64)


def layer_call(layer: Layer, inputs: Any, weights: Any, policy: PrecisionPolicy, how: Mapping[str, Any]) -> LayerCall:
    """The layer, resolved, on operands rounded to the policy's storage type.

    Args:
        layer: Of the spec.
        inputs: One array or several.
        weights: In the layer's order, or by name.
        policy: The precision.
        how: ``SameKeywords``.

    Raises:
        SpecError: The layer does not take these operands or weights.
    """
    import numpy as np

    from cnnbench.numerics.reference import LayerCall
    from cnnbench.numerics.rounding import to_storage

    def stored(array: Any) -> Array:
        found = host_array(array)
        floats = found.dtype.kind == "f"
        return np.asarray(to_storage(found, policy), np.float64) if floats else found.astype(np.int64)

    operands = tuple(channels_moved(stored(array), how) for array in several(inputs))
    least, most = layer.num_inputs
    if len(operands) < least or (most is not None and len(operands) > most):
        limit = f"{least} or more" if most is None else " to ".join(map(str, sorted({least, most})))
        raise SpecError("the number of inputs is wrong", where=layer.kind, received=len(operands), expected=limit)
    shapes = tuple(array.shape for array in operands)
    resolved = layer.resolve(shapes)
    parts = []
    for what, specs, given in (
        ("weights", resolved.weights(shapes), weights),
        ("running statistics", resolved.state(shapes), how.get("state", ())),
    ):
        found = tuple(map(stored, _in_order(given, specs)))
        if [array.shape for array in found] != [spec.shape for spec in specs]:
            received = ", ".join(str(array.shape) for array in found) or "none"
            raise SpecError(
                f"the {what} do not fit the layer", where=layer.kind, received=received, expected=_shown(specs)
            )
        parts.append(found)
    arrays, state = parts
    return LayerCall(resolved, operands, arrays, state)


def _in_order(given: Any, specs: Sequence[WeightSpec]) -> list[Any]:
    """Arrays in the layer's order; by name they must be the layer's, all of them."""
    if not isinstance(given, Mapping):
        return list(given)
    names = [spec.name for spec in specs]
    if set(given) != set(names):
        received = ", ".join(map(str, given)) or "none"
        raise SpecError("the names are not those of the layer's arrays", received=received, expected=_shown(specs))
    return [given[name] for name in names]


def _shown(specs: Sequence[WeightSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.shape}" for spec in specs) or "none"
