"""Programs of the TensorFlow backend: steps against closed forms, whole networks, transfer, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cnnbench.errors import CnnbenchError, DataError, NumericalError, UnavailableError
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.host import HostTraining
from cnnbench.execution.operations import Operation, OpResult
from cnnbench.execution.precision import precision
from cnnbench.spec import layers as L
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.kinds import layer_kinds
from cnnbench.spec.losses import CrossEntropy
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import initialize, split_state

pytestmark = pytest.mark.tensorflow

MODES = pytest.mark.parametrize("mode", ["graph", "xla"])


def options(mode: str = "graph", name: str = "float64", *, training: bool = False) -> ProgramOptions:
    return ProgramOptions(mode, precision(name), training=training)


def linear_graph() -> Graph:
    builder = Builder("linear")
    return builder.build(builder.add("fc", L.Linear(out_features=2), builder.input("x", (3,))))


def small_graph(dropout: float = 0.4) -> Graph:
    builder = Builder("small")
    x = builder.input("image", (2, 6, 5))
    x = builder.add("conv", L.Conv(out_channels=4, kernel_size=3, padding=1, bias=False), x)
    x = builder.add("norm", L.BatchNorm(), x)
    x = builder.add("relu", L.ReLU(), x)
    x = builder.add("drop", L.Dropout(p=dropout), x)
    x = builder.add("pool", L.GlobalAvgPool(), x)
    return builder.build({"logits": builder.add("fc", L.Linear(out_features=3), x)})


def forward(backend: Backend, graph: Graph, how: ProgramOptions, arrays: Any, batch: Any) -> Any:
    program = backend.compile_forward(graph, how)
    program.load(*split_state(graph, arrays))
    return program.download(program.run(program.upload(batch)))


def largest_relative_difference(found: Any, expected: Any) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@MODES
def test_training_steps_equal_the_reference_with_masks_and_running_statistics(
    mode: str, tensorflow_backend: Backend, oracle: Backend
) -> None:
    graph = small_graph()
    arrays = initialize(graph, 3)

    def batches() -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng(8)
        for _ in range(3):
            masks = {m.name: (rng.random(m.shape) < m.keep).astype(float) for m in graph.named_masks(7)}
            yield {"image": rng.normal(size=(7, 2, 6, 5)), "targets": rng.integers(0, 3, 7), **masks}

    def trained(backend: Backend, how: ProgramOptions) -> tuple[list[float], HostTraining]:
        loss = CrossEntropy(label_smoothing=0.1)
        program = backend.compile_step(graph, how, loss, SGD(momentum=0.9, weight_decay=0.01))
        program.load(*split_state(graph, arrays))
        losses = [program.loss(program.run(program.upload(batch), 0.1)) for batch in batches()]
        return losses, program.snapshot()

    losses, found = trained(tensorflow_backend, options(mode, training=True))
    expected_losses, expected = trained(oracle, options("reference", training=True))
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-13)
    for kind in ("weights", "state", "slots"):
        assert getattr(found, kind).keys() == getattr(expected, kind).keys()
        for name, array in getattr(expected, kind).items():
            np.testing.assert_allclose(getattr(found, kind)[name], array, rtol=1e-12, atol=1e-14, err_msg=name)


@MODES
def test_a_tie_of_maxima_sends_its_gradient_to_the_first(
    mode: str, tensorflow_backend: Backend, oracle: Backend
) -> None:
    builder, image = Builder("ties"), (2, 8, 7)
    pools = {
        "plain": L.MaxPool(kernel_size=3, stride=2, padding=1),
        "same": L.MaxPool(kernel_size=3, stride=2, padding="same"),
        "dilated": L.MaxPool(kernel_size=2, stride=1, dilation=2),
        "all": L.GlobalMaxPool(),
    }
    x = builder.input("x", image)
    graph = builder.build({name: builder.add(name, pool, x) for name, pool in pools.items()})
    rng = np.random.default_rng(4)
    batch = {"x": rng.integers(0, 2, (3, *image)).astype(float)}
    batch |= {
        f"gradient.{name}": rng.integers(1, 9, graph.shapes(3)[value]).astype(float) for name, value in graph.outputs
    }
    results = []
    for backend, how in ((oracle, options("reference")), (tensorflow_backend, options(mode))):
        program = backend.compile_gradient(graph, how)
        program.load({}, {})
        results.append(program.download(program.run(program.upload(batch))).inputs["x"])
    np.testing.assert_array_equal(results[1], results[0])


@MODES
def test_bfloat16_rounds_to_eight_bits_and_trains(mode: str, tensorflow_backend: Backend) -> None:
    graph, rng = small_graph(), np.random.default_rng(2)
    arrays = initialize(graph, 1)
    batch = {"image": rng.normal(size=(4, 2, 6, 5)), "targets": rng.integers(0, 3, 4)}
    batch |= {m.name: (rng.random(m.shape) < m.keep).astype(float) for m in graph.named_masks(4)}
    exact = forward(tensorflow_backend, graph, options(mode), arrays, batch).outputs["logits"]
    found = forward(tensorflow_backend, graph, options(mode, "bfloat16"), arrays, batch).outputs["logits"]
    assert found.dtype == np.float32
    assert np.array_equal(found.view(np.uint32) & 0xFFFF, np.zeros_like(found, np.uint32))
    assert 1e-6 < largest_relative_difference(found, exact) < 0.05
    program = tensorflow_backend.compile_step(graph, options(mode, "bfloat16", training=True), CrossEntropy(), SGD())
    program.load(*split_state(graph, arrays))
    losses = [program.loss(program.run(program.upload(batch), 0.1)) for _ in range(8)]
    assert losses[-1] < losses[0]


@MODES
@pytest.mark.parametrize("padding", [0, "same", ((1, 0), (0, 2))])
def test_gradients_in_bfloat16_are_summed_in_something_wider(
    mode: str, padding: Any, tensorflow_backend: Backend
) -> None:
    """Sums of 8,000 positive terms, which an accumulator of 8 bits would lose: it stops growing at 256 to 512."""
    builder = Builder("sums")
    x = builder.input("x", (4, 33, 31))
    graph = builder.build(builder.add("conv", L.Conv(out_channels=3, kernel_size=(3, 2), padding=padding), x))
    rng = np.random.default_rng(3)

    def eighths(shape: tuple[int, ...]) -> Any:
        return rng.integers(1, 9, shape) / 8

    batch = {"x": eighths((8, 4, 33, 31)), "gradient.output": eighths(graph.shapes(8)["conv"])}
    arrays = {name: np.ones(array.shape) for name, array in initialize(graph, 0).items()}
    found = []
    for name in ("float64", "bfloat16"):
        program = tensorflow_backend.compile_gradient(graph, options(mode, name))
        program.load(arrays, {})
        found.append(program.download(program.run(program.upload(batch))).weights)
    for name, array in found[0].items():
        np.testing.assert_allclose(found[1][name], array, rtol=2.0**-8, err_msg=name)


def test_programs_take_new_arrays_and_new_batch_sizes(tensorflow_backend: Backend) -> None:
    graph = linear_graph()
    program = tensorflow_backend.compile_forward(graph, options())
    rng = np.random.default_rng(0)
    for batch in (1, 3):
        w, b, x = rng.normal(size=(2, 3)), rng.normal(size=2), rng.normal(size=(batch, 3))
        program.load({"fc.weight": w, "fc.bias": b}, {})
        operands = program.upload({"x": x})
        expected = x @ w.T + b
        x[:] = np.nan  # the upload must not share the caller's memory
        found = program.download(program.run(operands)).outputs["output"]
        np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_native_randomness_drops_the_stated_share(tensorflow_backend: Backend) -> None:
    from cnnbench.execution.contract import ProcessSettings

    builder = Builder("dropout")
    graph = builder.build(builder.add("drop", L.Dropout(p=0.3), builder.input("x", (4, 100, 50))))
    tensorflow_backend.configure(ProcessSettings(threads=2, native_randomness=True))
    try:
        how = options(name="float32", training=True)
        found = forward(tensorflow_backend, graph, how, {}, {"x": np.ones((1, 4, 100, 50))}).outputs["output"]
    finally:
        tensorflow_backend.configure(ProcessSettings(threads=2))
    assert set(np.unique(found)) == {np.float32(0), np.float32(1 / 0.7)}
    assert float((found == 0).mean()) == pytest.approx(0.3, abs=0.02)


def test_a_replaced_op_is_what_later_programs_run(tensorflow_backend: Backend) -> None:
    graph = linear_graph()
    arrays, batch = initialize(graph, 0), {"x": np.ones((1, 3))}
    whole = tensorflow_backend.operations

    def twice(layer: Any, inputs: Any, weights: Any, state: Any, call: Any) -> OpResult:
        return OpResult((2 * whole["linear"].forward(layer, inputs, weights, state, call).outputs[0],))

    expected = forward(tensorflow_backend, graph, options(), arrays, batch).outputs["output"]
    tensorflow_backend.operations = whole.replace("linear", Operation(twice, None, whole["linear"].weight_layout))
    try:
        found = forward(tensorflow_backend, graph, options(), arrays, batch).outputs["output"]
    finally:
        tensorflow_backend.operations = whole
    np.testing.assert_allclose(found, 2 * expected, rtol=1e-14)


def test_what_it_cannot_do_is_refused_with_a_reason(tensorflow_backend: Backend) -> None:
    graph = linear_graph()
    for wrong in (
        replace(options(), layout="channels_first"),
        replace(options(), mode="eager"),
        replace(options(), precision=precision("float16")),
    ):
        with pytest.raises(UnavailableError):
            tensorflow_backend.compile_forward(graph, wrong)
    with pytest.raises(CnnbenchError, match="fold"):
        tensorflow_backend.compile_forward(graph, replace(options(training=True), fold_batch_norm=True))
    with pytest.raises(DataError, match="'x' is missing") as caught:
        tensorflow_backend.compile_forward(graph, options()).upload({"y": np.zeros((1, 3))})
    assert caught.value.expected == "real numbers of shape (1, 3)"
    builder = Builder("norm")
    norm = builder.build(builder.add("norm", L.BatchNorm(), builder.input("x", (3,))))
    with pytest.raises(NumericalError, match="one value a channel"):
        forward(tensorflow_backend, norm, options(training=True), initialize(norm, 0), {"x": np.zeros((1, 3))})


def test_settings_are_reported(tensorflow_backend: Backend) -> None:
    facts = tensorflow_backend.describe()
    assert facts["intra_op_threads"] == "2"
    assert facts["tf32"] == "False"
    assert all(isinstance(value, str) for value in facts.values())
    capabilities = tensorflow_backend.capabilities()
    core = {kind: cls for kind, cls in layer_kinds().items() if cls.__module__.startswith("cnnbench.spec.")}
    primitives = {kind for kind, cls in core.items() if not cls.is_composite}
    assert primitives - capabilities.kinds - {gap.kind for gap in capabilities.gaps} == set()
