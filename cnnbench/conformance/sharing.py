"""What a backend's programs must do where nodes share weights: use, differentiate, move and update each array once.

Each function is one of the programs of ``conformance.programs``, and takes and raises what they do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.conformance.programs import CLASSES, IMAGE, Arrays, drawn_batch
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Add, BatchNorm, Conv, GlobalAvgPool, Linear, MaxPool, ReLU
from cnnbench.spec.losses import CrossEntropy
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.passes import copies_of, with_copies
from cnnbench.spec.weights import general_position, split_state

ROUNDINGS = 32  # at most 2 are seen on the shipped backends


def shared_network() -> Graph:
    """A convolution and a batch norm applied to two sizes, and a linear layer applied twice in a row."""
    builder = Builder("shared network")
    wide = builder.input("image", IMAGE)
    narrow = builder.add("half", MaxPool(kernel_size=2), wide)
    found = []
    for level, x in (("wide", wide), ("narrow", narrow)):
        owner = None if level == "wide" else "wide"
        conv = Conv(out_channels=6, kernel_size=3, padding=1, groups=3)
        x = builder.add(f"{level}.conv", conv, x, weights_of=owner and f"{owner}.conv")
        x = builder.add(f"{level}.norm", BatchNorm(), x, weights_of=owner and f"{owner}.norm")
        found.append(builder.add(f"{level}.pool", GlobalAvgPool(), builder.add(f"{level}.act", ReLU(), x)))
    x = builder.add("step0", Linear(out_features=6), builder.add("sum", Add(), *found))
    x = builder.add("step1", Linear(out_features=6), x, weights_of="step0")
    return builder.build({"logits": builder.add("fc", Linear(out_features=CLASSES), x)})


def _both(graph: Graph) -> list[tuple[Graph, Arrays]]:
    """The graph, and the graph with copies, each with its arrays."""
    arrays = general_position(graph, 0)
    copies = {copy: arrays[name] for name, uses in copies_of(graph).items() for copy in uses}
    return [(graph, arrays), (with_copies(graph), copies)]


def shared_weights_compute_as_copies(backend: Backend, options: ProgramOptions) -> None:
    """A network whose nodes share weights gives what the same network gives with a copy for each of them."""
    graph = shared_network()
    found = []
    for asked, given in _both(graph):
        program = backend.compile_forward(asked, options)
        program.load(*split_state(asked, given))
        operands = program.upload({"image": drawn_batch()["image"]})
        found.append(program.download(program.run(operands)).outputs["logits"])
    _close(found[0], found[1], options, "the output of shared weights")


def shared_weights_sum_their_gradients(backend: Backend, options: ProgramOptions) -> None:
    """The gradient of a weight that several nodes use is the sum of the gradients of its copies."""
    graph = shared_network()
    found = []
    for asked, given in _both(graph):
        program = backend.compile_gradient(asked, replace(options, training=True), CrossEntropy())
        program.load(*split_state(asked, given))
        found.append(program.download(program.run(program.upload(drawn_batch()))).weights)
    wanted = {
        name: np.sum([found[1][copy] for copy in uses], axis=0, dtype=np.float64)
        for name, uses in copies_of(graph).items()
        if uses[0] in found[1]
    }
    assert set(found[0]) == set(wanted), f"gradients of {sorted(found[0])}, expected {sorted(wanted)}"
    for name, gradient in wanted.items():
        _close(found[0][name], gradient, options, f"the gradient of {name}")


def a_shared_weight_takes_one_step(backend: Backend, options: ProgramOptions) -> None:
    """One step of plain SGD moves a weight that several nodes use by the rate times its whole gradient, once."""
    graph = shared_network()
    training = replace(options, training=True)
    weights, state = split_state(graph, general_position(graph, 0))
    slope = backend.compile_gradient(graph, training, CrossEntropy())
    slope.load(weights, state)
    gradients = slope.download(slope.run(slope.upload(drawn_batch()))).weights
    program = backend.compile_step(graph, training, CrossEntropy(), SGD(momentum=0.0))
    program.load(weights, state)
    program.run(program.upload(drawn_batch()), 0.5)
    found = program.snapshot().weights
    assert set(found) == set(weights), f"weights {sorted(found)}, expected {sorted(weights)}"
    for name, gradient in gradients.items():
        _close(found[name], weights[name] - 0.5 * np.asarray(gradient, np.float64), options, f"{name} after a step")


def shared_statistics_are_updated_in_turn(backend: Backend, options: ProgramOptions) -> None:
    """A batch norm applied twice updates its running statistics twice: the second use goes on from the first's.

    One use makes (1 - m) r + m s of r. The copies each start from r, so that both s are known from them.
    """
    graph = shared_network()
    found = []
    for asked, given in _both(graph):
        program = backend.compile_forward(asked, replace(options, training=True))
        program.load(*split_state(asked, given))
        found.append(program.download(program.run(program.upload({"image": drawn_batch()["image"]}))).state)
    kept = 1 - BatchNorm().momentum
    for role in ("running_mean", "running_var"):
        start = general_position(graph, 0)[f"wide.norm.{role}"].astype(np.float64)
        first, second = (np.asarray(found[1][f"{level}.norm.{role}"], np.float64) for level in ("wide", "narrow"))
        _close(found[0][f"wide.norm.{role}"], kept * first + (second - kept * start), options, f"the {role}")


def _close(found: Any, expected: Any, options: ProgramOptions, what: str) -> None:
    """Within a few roundings of the largest value: sums in another order; a use too many or too few is far beyond."""
    error = np.abs(np.asarray(found, np.float64) - expected).max(initial=0.0)
    limit = ROUNDINGS * options.precision.storage_roundoff * max(np.abs(expected).max(initial=0.0), 1.0)
    assert error <= limit, f"{what} is {error:.3g} off, at most {limit:.3g} expected"


SHARING: dict[str, Callable[[Backend, ProgramOptions], None]] = {
    function.__name__: function
    for function in (
        shared_weights_compute_as_copies,
        shared_weights_sum_their_gradients,
        a_shared_weight_takes_one_step,
        shared_statistics_are_updated_in_turn,
    )
}
