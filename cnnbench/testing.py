"""Assertions for any test suite: an array is what a layer, or a network, computes, within derived rounding budgets.

``assert_same(model.conv(x), Conv(out_channels=8, kernel_size=3), x, [weight, bias])`` replaces ``allclose`` and its
hand-tuned tolerance. The admitted error of each value is derived from the layer and its operands.

Arrays may be of NumPy, PyTorch, JAX or TensorFlow; none of these is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from cnnbench.errors import SpecError
from cnnbench.face.foreign_arrays import host_array, named, precision_of, require_every
from cnnbench.face.keywords import takes
from cnnbench.face.layer_operands import channels_moved, in_host_type, layer_call

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnbench.spec.graph import Graph
    from cnnbench.spec.layers import Layer

    Array = NDArray[Any]


class Expected(NamedTuple):
    """A layer's exact output, and the largest |error| that each of its values may have, by two budgets.

    Args:
        value: The exact output, in float64.
        sharp: The budget that good implementations keep and faults exceed.
        worst: The worst-case bound, which no correct implementation exceeds.
    """

    value: Array
    sharp: Array
    worst: Array


class SameKeywords(TypedDict, total=False):
    """Options for comparing a layer's output.

    Args:
        state: Running statistics in the layer's order or by name, for layers that have them.
        precision: The precision in which the layer was computed: ``float64``, ``float32``, ``tf32``, ``bfloat16`` or
            ``float16``. By default that of the compared array.
        output: Index of the compared output; 0 by default.
        channels_last: Whether operands and output are (N, *spatial, C), as in Keras. Weights are always canonical.
        worst_case: Whether the worst-case bound decides instead of the sharp budget.
    """

    state: Sequence[Any] | Mapping[str, Any]
    precision: str | None
    output: int
    channels_last: bool
    worst_case: bool


@takes(SameKeywords)
def budget(layer: Layer, inputs: Any, weights: Any = (), **how: Unpack[SameKeywords]) -> Expected:
    """A layer's exact output, and the error that rounding explains in each of its values.

    Args:
        layer: A layer of ``cnnbench.spec.layers``; fields that depend on the operands may be left out.
        inputs: One array or several, (N, C, *spatial).
        weights: Weights in the layer's order or by name, in canonical layout: convolution OIHW, linear [out, in].
        how: ``SameKeywords``; ``precision`` is float32 by default.

    Raises:
        SpecError: The layer does not take these operands or weights.
    """
    from cnnbench.execution.precision import precision
    from cnnbench.numerics.budgets import Setting, forward_budget
    from cnnbench.numerics.reference import reference

    policy = precision(how.get("precision") or "float32")
    call = layer_call(layer, inputs, weights, policy, how)
    values = reference().forward(call)
    admitted = forward_budget(Setting(call, values, policy, reference())).outputs
    position = how.get("output", 0)
    if position not in range(len(admitted)):
        raise SpecError(
            "the layer has no such output", where="output", received=position, expected=f"below {len(admitted)}"
        )
    return Expected(values.outputs[position], admitted[position].sharp, admitted[position].worst)


@takes(SameKeywords)
def assert_same(actual: Any, layer: Layer, inputs: Any, weights: Any = (), **how: Unpack[SameKeywords]) -> float:
    """Asserts that an array is a layer's output, up to the rounding error that its precision explains.

    Args:
        actual: The layer's output, an array of any framework.
        layer: As ``budget`` takes it.
        inputs: As ``budget`` takes them.
        weights: As ``budget`` takes them.
        how: ``SameKeywords``.

    Returns:
        The largest |error| / budget over all values, at most 1.

    Raises:
        AssertionError: A value is beyond the budget.
        SpecError: As ``budget``.
    """
    from cnnbench.execution.precision import precision
    from cnnbench.numerics.budgets import Budget
    from cnnbench.numerics.comparison import Place, compare
    from cnnbench.numerics.quantity import Quantity

    policy = precision(how.get("precision") or precision_of(actual))
    asked: SameKeywords = {**how, "precision": policy.name}
    expected = budget(layer, inputs, weights, **asked)
    got = in_host_type(channels_moved(host_array(actual), how), policy)
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
    """Options for comparing a network's outputs.

    Args:
        weights: As ``cnnbench.load`` takes them.
        seed: Seed of weights that are drawn.
        precision: As in ``SameKeywords``.
        convert: Converts each NumPy input for the called function, for example ``torch.from_numpy``. By default it is
            called on NumPy arrays.
    """

    weights: Any
    seed: int
    precision: str | None
    convert: Callable[[Any], Any]


@takes(NetworkKeywords)
def assert_same_network(actual: Any, network: Any, inputs: Any, **how: Unpack[NetworkKeywords]) -> float:
    """Asserts that outputs, or a model's outputs, are those of a network, up to the error that rounding explains.

    That error is measured by runs of the reference in which every node's output is moved at random within its rounding
    budget.

    Args:
        actual: The outputs: one array (the first), all in the order of the network's outputs, or all by name. Or a
            model: a module of PyTorch, a Keras model, a JAX function with parameters ``(apply, params)``, a
            ``cnnbench.Model``; it runs at inference on the host. Or any other function, or with ``convert`` a module,
            that is called on the inputs in their order. Outputs of a model count in their order, whatever their names.
        network: Such a model, which is then read as a network; or what ``cnnbench.load`` takes.
        inputs: One array, arrays in the order of the network's inputs, or arrays by name; (N, C, *spatial).
        how: ``NetworkKeywords``.

    Returns:
        The largest |error| / admitted error over all outputs, at most 1.

    Raises:
        AssertionError: An output is beyond the admitted error.
        SpecError, DataError: As ``cnnbench.load``; a model of which parts are not read.
    """
    import numpy as np

    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.execution.precision import precision
    from cnnbench.face.foreign_models import network_of, reader_of_model
    from cnnbench.face.networks import Model, load_examined
    from cnnbench.numerics.case import Case
    from cnnbench.numerics.comparison import first_problem, largest_differences
    from cnnbench.numerics.envelope import forward_envelope
    from cnnbench.numerics.oracle import Oracle

    if reader_of_model(network) is not None:
        network = Model(*network_of(network, inputs))
    model = load_examined(network, how.get("weights"), seed=how.get("seed", 0))
    graph = model.graph
    batch = named(inputs, [item.name for item in graph.inputs], "inputs")
    require_every(batch, [item.name for item in graph.inputs], "inputs")
    actual, given = _outputs_of(actual, batch, graph, how)
    for item in graph.inputs:  # images in bytes
        if item.dtype == "float" and batch[item.name].dtype.kind != "f":
            batch[item.name] = batch[item.name].astype(np.float32)
    policy = precision(how.get("precision") or precision_of(actual))
    case = Case(graph, model.arrays, batch, ProgramOptions("reference", policy))
    right, envelope = forward_envelope(Oracle.of(case))
    exact = {name: right[name] for name in given}
    got = {name: in_host_type(array, policy) for name, array in given.items()}
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


def _outputs_of(actual: Any, batch: Mapping[str, Array], graph: Graph, how: Mapping[str, Any]) -> tuple[Any, Any]:
    """What is compared, in the caller's arrays and as host arrays by name; all outputs, unless one array is given."""
    from cnnbench.face.foreign_models import model_outputs

    names = [name for name, _ in graph.outputs]
    alone = not isinstance(actual, Mapping | list | tuple)
    found = None if "convert" in how else model_outputs(actual, batch, how)
    if found is not None:
        actual, alone = found, False
    elif callable(actual):
        convert = how.get("convert", lambda array: array)
        actual, alone = actual(*(convert(batch[item.name]) for item in graph.inputs)), False
    given = named(actual, names, "outputs")
    if not alone:
        require_every(given, names, "outputs")
    return actual, given
