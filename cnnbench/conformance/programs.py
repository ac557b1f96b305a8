"""What a backend's programs must do beside computing right: keep state, resume, take indices, refuse what does not fit.

Each function takes a loaded backend and options, and raises AssertionError with what is wrong; the kit for plugin
authors makes tests of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.errors import DataError
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.host import SlotName
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import BatchNorm, Conv, GlobalAvgPool, Linear, ReLU
from cnnbench.spec.losses import CrossEntropy
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import general_position, split_state

Arrays = dict[str, Any]
IMAGE = (3, 6, 7)
CLASSES = 5


def small_network() -> Graph:
    """A convolution with groups, a batch norm, a ReLU, pooling and a classifier: every sort of array that there is."""
    builder = Builder("small network")
    x = builder.input("image", IMAGE)
    x = builder.add("conv", Conv(out_channels=6, kernel_size=(3, 2), padding=((0, 1), (1, 0)), groups=3), x)
    x = builder.add("act", ReLU(), builder.add("norm", BatchNorm(), x))
    x = builder.add("pool", GlobalAvgPool(), x)
    return builder.build({"logits": builder.add("fc", Linear(out_features=CLASSES), x)})


def drawn_batch(size: int = 4) -> Arrays:
    """Normal images and their classes."""
    generator = stream(0, "conformance programs", "batch")
    image = generator.normal(size=(size, *IMAGE)).astype(np.float32)
    return {"image": image, "targets": generator.integers(0, CLASSES, size)}


def _same(found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> None:
    assert set(found) == set(expected), f"arrays {sorted(found)}, expected {sorted(expected)}"
    for name, array in expected.items():
        assert np.array_equal(found[name], array), f"{name} is not what it was"


def weights_survive(backend: Backend, options: ProgramOptions) -> None:
    """Weights, running statistics and slots come back as they were loaded, whatever layout they were held in."""
    graph = small_network()
    weights, state = split_state(graph, general_position(graph, 0))
    slots = {SlotName(name, "momentum"): 2 * array for name, array in weights.items()}
    program = backend.compile_step(graph, replace(options, training=True), CrossEntropy(), SGD(momentum=0.9))
    program.load(weights, state, slots)
    found = program.snapshot()
    _same(found.weights, weights)
    _same(found.state, state)
    _same(found.slots, slots)


def weight_layouts_are_permutations(backend: Backend, options: ProgramOptions) -> None:
    """``to_canonical`` undoes ``to_native`` for every weight of every shared case, in both layouts."""
    from cnnbench.conformance.cases import layer_cases

    for name, case in layer_cases().items():
        if case.layer.kind not in backend.operations:
            continue
        layout = backend.operations[case.layer.kind].weight_layout
        node = case.graph().nodes[0]
        shapes = case.graph().input_shapes(node, max(case.batch, 1))
        for spec in node.layer.weights(shapes):
            array = np.arange(int(np.prod(spec.shape)), dtype=np.float32).reshape(spec.shape)
            for last in (False, True):
                native = layout.to_native(node.layer, spec.name, array, last)
                back = layout.to_canonical(node.layer, spec.name, native, last)
                assert np.array_equal(back, array), f"{name}: {spec.name} does not come back"


def state_goes_in_and_comes_out(backend: Backend, options: ProgramOptions) -> None:
    """A training pass returns new running statistics, and leaves those that were loaded (and the caller's) alone."""
    graph = small_network()
    arrays = general_position(graph, 0)
    before = {name: array.copy() for name, array in arrays.items()}
    weights, state = split_state(graph, arrays)
    program = backend.compile_forward(graph, replace(options, training=True))
    program.load(weights, state)
    operands = program.upload({"image": drawn_batch()["image"]})
    first, second = (program.download(program.run(operands)) for _ in range(2))
    _same(arrays, before)
    _same(second.state, first.state)
    assert all(not np.array_equal(first.state[name], state[name]) for name in state), "the statistics did not move"


def steps_go_on_from_a_snapshot(backend: Backend, options: ProgramOptions) -> None:
    """Two steps in a row equal one step, a snapshot, and one step of another program that starts from it."""
    graph = small_network()
    batch = drawn_batch()

    def program() -> Any:
        return backend.compile_step(
            graph, replace(options, training=True), CrossEntropy(), SGD(momentum=0.9, nesterov=True, weight_decay=0.01)
        )

    straight = program()
    straight.load(*split_state(graph, general_position(graph, 0)))
    operands = straight.upload(batch)
    straight.run(operands, 0.1)
    halfway = straight.snapshot()
    straight.run(operands, 0.05)
    resumed = program()
    resumed.load(halfway.weights, halfway.state, halfway.slots)
    resumed.run(resumed.upload(batch), 0.05)
    for found, expected in zip(resumed.snapshot(), straight.snapshot(), strict=True):
        _same(found, expected)


def results_are_the_caller_s(backend: Backend, options: ProgramOptions) -> None:
    """What was downloaded does not change when the program runs again on other data."""
    graph = small_network()
    program = backend.compile_forward(graph, options)
    program.load(*split_state(graph, general_position(graph, 0)))
    batch = drawn_batch()["image"]
    first = program.download(program.run(program.upload({"image": batch}))).outputs["logits"]
    kept = first.copy()
    program.download(program.run(program.upload({"image": -batch})))
    assert np.array_equal(first, kept), "an output was overwritten by the next run"
    wanted = np.float64 if options.precision.storage == "float64" else np.float32
    assert first.dtype == wanted, f"outputs are {first.dtype}, expected {np.dtype(wanted)}"


def a_batch_of_no_images(backend: Backend, options: ProgramOptions) -> None:
    """N = 0 gives outputs of no rows and of the right width."""
    graph = small_network()
    program = backend.compile_forward(graph, options)
    program.load(*split_state(graph, general_position(graph, 0)))
    found = program.download(program.run(program.upload({"image": drawn_batch(0)["image"]}))).outputs["logits"]
    assert found.shape == (0, CLASSES), f"shape {found.shape}, expected (0, {CLASSES})"


def integers_stay_integers(backend: Backend, options: ProgramOptions) -> None:
    """Indices that a layer moves come out as int64 and unchanged, also those that no float holds."""
    from cnnbench.spec.layers import Flatten

    builder = Builder("indices")
    graph = builder.build(builder.add("flat", Flatten(), builder.input("indices", (2, 3), dtype="int")))
    program = backend.compile_forward(graph, options)
    program.load({}, {})
    indices = np.arange(12).reshape(2, 2, 3) + 2**24 + 1
    (found,) = program.download(program.run(program.upload({"indices": indices}))).outputs.values()
    assert found.dtype == np.int64, f"indices came out as {found.dtype}"
    assert np.array_equal(found, indices.reshape(2, 6)), "indices changed"


def what_does_not_fit_is_refused(backend: Backend, options: ProgramOptions) -> None:
    """A weight, an input or a slot that is missing or of another shape is a DataError that names it, before any run."""
    graph, batch = small_network(), drawn_batch()
    weights, state = split_state(graph, general_position(graph, 0))
    slots = {SlotName(name, "momentum"): np.zeros_like(array) for name, array in weights.items()}
    program = backend.compile_step(graph, options, CrossEntropy(), SGD(momentum=0.9))
    others = {name: array for name, array in weights.items() if name != "fc.bias"}
    _refused("fc.bias", lambda: program.load(others, state))
    _refused("fc.bias", lambda: program.load({**others, "fc.bias": np.zeros(CLASSES + 1)}, state))
    _refused("fc.offset", lambda: program.load({**weights, "fc.offset": np.zeros(CLASSES)}, state))
    bias = SlotName("fc.bias", "momentum")
    _refused(bias, lambda: program.load(weights, state, {**slots, bias: np.zeros(1)}))
    program.load(weights, state, slots)
    _refused("image", lambda: program.upload({"targets": batch["targets"]}))
    _refused("image", lambda: program.upload({**batch, "image": batch["image"][:, :, ::2]}))
    _refused("targets", lambda: program.upload({**batch, "targets": batch["targets"][:1]}))
    _refused("targets", lambda: program.upload({**batch, "targets": batch["targets"] / 2}))


def _refused(name: str, call: Callable[[], object]) -> None:
    said = None
    try:
        call()
    except DataError as error:
        said = error.message
    assert said is not None, f"{name!r} was taken although it does not fit"
    assert name in said, f"the error does not name {name!r}: {said}"


PROGRAMS: dict[str, Callable[[Backend, ProgramOptions], None]] = {
    function.__name__: function
    for function in (
        weights_survive,
        weight_layouts_are_permutations,
        state_goes_in_and_comes_out,
        steps_go_on_from_a_snapshot,
        results_are_the_caller_s,
        a_batch_of_no_images,
        integers_stay_integers,
        what_does_not_fit_is_refused,
    )
}
