"""Budgets for other people's tests: whether an array is what a layer, or a network, should give, up to rounding.

``assert_same(model.conv(x), Conv(out_channels=8, kernel_size=3), x, [weight, bias])`` takes the place of ``allclose``
with a tolerance that was tried out: how far a value may lie from the exact one is derived from layer and operands.

Arrays may be of NumPy, PyTorch, JAX or TensorFlow; none of these is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from cnnbench.errors import SpecError
from cnnbench.face.foreign_arrays import host_array, named, precision_of, several
from cnnbench.face.keywords import takes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnbench.execution.precision import PrecisionPolicy
    from cnnbench.face.networks import Network
    from cnnbench.numerics.reference import LayerCall
    from cnnbench.spec.layers import Layer

    Array = NDArray[Any]


class Expected(NamedTuple):
    """What a layer's output should be: exact values in float64, and the largest |error| of each in two budgets.

    Args:
        value: Exact.
        sharp: What good implementations keep within, and faults exceed.
        worst: What no correct implementation exceeds.
    """

    value: Array
    sharp: Array
    worst: Array


class SameKeywords(TypedDict, total=False):
    """How a layer's output is compared.

    Args:
        state: Running statistics in the layer's order, or by name; of layers that have any.
        precision: ``float64``, ``float32``, ``tf32``, ``bfloat16``, ``float16``: in what the layer was computed; that
            of the compared array unless given.
        output: Which of the layer's outputs it is; the first unless given.
        channels_last: Whether images, operands and output, are (N, *spatial, C), as in Keras; weights never are.
        worst_case: Whether the worst-case budget decides, in place of the sharp one.
    """

    state: Sequence[Any] | Mapping[str, Any]
    precision: str | None
    output: int
    channels_last: bool
    worst_case: bool


@takes(SameKeywords)
def budget(layer: Layer, inputs: Any, weights: Any = (), **how: Unpack[SameKeywords]) -> Expected:
    """What a layer gives, and how far from it a right implementation may be, value by value.

    Args:
        layer: Of ``cnnbench.spec.layers``; fields that depend on the operands may be left open.
        inputs: An array, or several; (N, C, *spatial).
        weights: In the layer's order or by name, in canonical layout: convolution OIHW, linear [out, in].
        how: ``SameKeywords``; ``precision`` is float32 unless given.

    Raises:
        SpecError: Operands or weights that the layer does not take.
    """
    from cnnbench.execution.precision import precision
    from cnnbench.numerics.budgets import Setting, forward_budget
    from cnnbench.numerics.reference import reference

    policy = precision(how.get("precision") or "float32")
    call = _call(layer, inputs, weights, policy, how)
    values = reference().forward(call)
    admitted = forward_budget(Setting(call, values, policy, reference())).outputs
    position = how.get("output", 0)
    return Expected(values.outputs[position], admitted[position].sharp, admitted[position].worst)


@takes(SameKeywords)
def assert_same(actual: Any, layer: Layer, inputs: Any, weights: Any = (), **how: Unpack[SameKeywords]) -> float:
    """Raises AssertionError where an array is not what a layer gives, up to the rounding that its precision admits.

    Args:
        actual: The layer's output, of any framework.
        layer: As ``budget`` takes it.
        inputs: As ``budget`` takes them.
        weights: As ``budget`` takes them.
        how: ``SameKeywords``.

    Returns:
        The largest share of the budget that a value uses: below 1.

    Raises:
        SpecError: As ``budget``.
    """
    from cnnbench.execution.precision import precision
    from cnnbench.numerics.budgets import Budget
    from cnnbench.numerics.comparison import Place, compare
    from cnnbench.numerics.quantity import Quantity

    policy = precision(how.get("precision") or precision_of(actual))
    asked: SameKeywords = {**how, "precision": policy.name}
    expected = budget(layer, inputs, weights, **asked)
    got = _as_host(_moved(host_array(actual), how), policy)
    place = Place("", layer.kind, Quantity.output(how.get("output", 0), training=False))
    found = compare(place, got, expected.value, Budget(expected.sharp, expected.worst), policy)
    use, worst = found.use, how.get("worst_case", False)
    share = use.worst_case_used if worst else use.sharp_used
    if share <= 1:
        return share
    said = found.text
    if not said:
        admitted, name = (expected.worst, "worst-case") if worst else (expected.sharp, "sharp")
        beyond = int((abs(got - expected.value) > admitted).sum())
        said = f"error is {share:.3g} times the {name} budget of {policy.name} at {list(use.worst_index or ())}: "
        said += f"got {use.got}, expected {use.expected}; {beyond} of {got.size} values are beyond it"
    raise AssertionError(f"{layer.kind}, output {how.get('output', 0)}: {said}")


class NetworkKeywords(TypedDict, total=False):
    """How a network's outputs are compared.

    Args:
        weights: As ``cnnbench.load`` takes them. seed: of drawn ones.
        precision: As in ``SameKeywords``.
        convert: Makes an array of the framework of a NumPy array, where the compared network is called:
            ``torch.from_numpy``. NumPy arrays are handed over unless given.
    """

    weights: Any
    seed: int
    precision: str | None
    convert: Callable[[Any], Any]


@takes(NetworkKeywords)
def assert_same_network(actual: Any, network: Network, inputs: Any, **how: Unpack[NetworkKeywords]) -> float:
    """Raises AssertionError where outputs, or a function's, are not those of a network up to its own rounding.

    How far outputs may lie from the exact ones is measured: by runs of the float64 reference in which every node's
    output is moved as rounding moves it.

    Args:
        actual: The outputs: an array, arrays in the order of the network's outputs, or by their names; or a function, a
            module for example, that is called on the inputs in their order.
        network: As ``cnnbench.load`` takes it; a ``cnnbench.Model`` has its weights with it.
        inputs: An array, arrays in the order of the network's inputs, or by their names; (N, C, *spatial).
        how: ``NetworkKeywords``.

    Returns:
        The largest share of the admitted error that an output uses: below 1.

    Raises:
        SpecError, DataError: As ``cnnbench.load``.
    """
    import numpy as np

    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.execution.precision import precision
    from cnnbench.face.networks import load_examined
    from cnnbench.numerics.case import Case
    from cnnbench.numerics.comparison import first_problem, largest_differences
    from cnnbench.numerics.envelope import forward_envelope
    from cnnbench.numerics.oracle import Oracle

    model = load_examined(network, how.get("weights"), seed=how.get("seed", 0))
    graph = model.graph
    batch = named(inputs, [item.name for item in graph.inputs], "inputs")
    if callable(actual):
        convert = how.get("convert", lambda array: array)
        actual = actual(*(convert(batch[item.name]) for item in graph.inputs))
    given = named(actual, [name for name, _ in graph.outputs], "outputs")
    policy = precision(how.get("precision") or precision_of(actual))
    case = Case(graph, model.arrays, batch, ProgramOptions("reference", policy))
    right, envelope = forward_envelope(Oracle.of(case))
    exact = {name: right[name] for name in given}
    got = {name: _as_host(array, policy) for name, array in given.items()}
    if (wrong := first_problem(got, exact, policy)) is not None:
        raise AssertionError(f"{graph.name}, output {wrong.name}: {wrong.text}")
    apart = largest_differences(got, exact)
    shares = {name: difference / (envelope.factor * envelope.size[name]) for name, difference in apart.items()}
    name = max(shares, key=lambda output: shares[output])
    if shares[name] <= 1:
        return shares[name]
    difference = np.abs(got[name] - exact[name])
    index = tuple(int(i) for i in np.unravel_index(int(difference.argmax()), difference.shape))
    raise AssertionError(
        f"{graph.name}, output {name}: {shares[name]:.3g} times what rounding explains in {policy.name}, "
        f"at {list(index)}: got {got[name][index]}, expected {exact[name][index]}"
    )


def _moved(array: Array, how: Mapping[str, Any]) -> Array:
    """An image with its channels behind the batch axis."""
    import numpy as np

    return np.moveaxis(array, -1, 1) if how.get("channels_last") and array.ndim > 2 else array


def _as_host(array: Array, policy: PrecisionPolicy) -> Array:
    """As downloads give values: floats in the policy's host type, integers in 64 bits."""
    import numpy as np

    from cnnbench.numerics.rounding import host_dtype

    return array.astype(host_dtype(policy) if array.dtype.kind == "f" else np.int64)


def _call(layer: Layer, inputs: Any, weights: Any, policy: PrecisionPolicy, how: Mapping[str, Any]) -> LayerCall:
    """The layer, resolved, on operands rounded to the policy's storage type."""
    import numpy as np

    from cnnbench.numerics.reference import LayerCall
    from cnnbench.numerics.rounding import to_storage

    def stored(array: Any) -> Array:
        found = host_array(array)
        floats = found.dtype.kind == "f"
        return np.asarray(to_storage(found, policy), np.float64) if floats else found.astype(np.int64)

    operands = tuple(_moved(stored(array), how) for array in several(inputs))
    shapes = tuple(array.shape for array in operands)
    resolved = layer.resolve(shapes)
    parts = []
    for what, specs, given in (
        ("weights", resolved.weights(shapes), weights),
        ("running statistics", resolved.state(shapes), how.get("state", ())),
    ):
        ordered = [given[spec.name] for spec in specs] if isinstance(given, Mapping) else list(given)
        expected = ", ".join(f"{spec.name} {spec.shape}" for spec in specs) or "none"
        found = tuple(map(stored, ordered))
        if [array.shape for array in found] != [spec.shape for spec in specs]:
            received = ", ".join(str(array.shape) for array in found) or "none"
            raise SpecError(f"the {what} do not fit the layer", where=layer.kind, received=received, expected=expected)
        parts.append(found)
    arrays, state = parts
    return LayerCall(resolved, operands, arrays, state)
