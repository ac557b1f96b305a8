"""Faults around compiled programs: each hook changes what it says, at the moments that it says, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.faults import Fault, faulty_backend, faulty_subject
from cnnbench.numerics.faults.engine.base import other_outputs
from cnnbench.numerics.faults.engine.programs import Loaded, ProgramChange, changed_programs
from cnnbench.numerics.faults.engine.switching import from_call, from_load, on_images, on_sizes, on_values
from cnnbench.numerics.subject import InProcessSubject, Updates
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import BatchNorm, Conv, GlobalAvgPool, Linear
from cnnbench.spec.losses import CrossEntropy
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import initialize, split_state

UPDATES = Updates(CrossEntropy(), SGD(momentum=0.9), (0.1, 0.1, 0.1))
OPTIONS = ProgramOptions("reference", precision("float32"))
BACKENDS = [
    ("numpy", "reference"),
    ("numpy", "fast"),
    pytest.param("torch", "eager", marks=pytest.mark.torch),
    pytest.param("jax", "jit", marks=[pytest.mark.jax, pytest.mark.slow]),
    pytest.param("tensorflow", "graph", marks=[pytest.mark.tensorflow, pytest.mark.slow]),
]


def graph():
    builder = Builder("small")
    x = builder.add("conv", Conv(out_channels=3, kernel_size=3), builder.input("image", (2, 6, 5)))
    x = builder.add("pool", GlobalAvgPool(), builder.add("norm", BatchNorm(), x))
    return builder.build({"logits": builder.add("fc", Linear(out_features=3), x)})


GRAPH = graph()
ARRAYS = initialize(GRAPH, 3)


def images(count=2, seed=0):
    return {"image": stream(seed, "test images").normal(size=(count, 2, 6, 5)).astype(np.float32)}


def batch(seed=0):
    return {**images(seed=seed), "targets": np.array([0, 2])}


def program_fault(change, when=None):
    return Fault(
        "test.change", "program", "a change", lambda options, seed: None, programs=changed_programs(change), when=when
    )


def op_fault(when=None):
    doubled = other_outputs(lambda layer, inputs, outputs, call: (2 * outputs[0],))
    return Fault("test.op", "conv", "twice", lambda options, seed: None, operation=doubled, when=when)


class Session:
    """A forward program that is loaded once and run many times."""

    def __init__(self, found, backend="numpy", mode="reference", fold=False):
        self.backend = loaded_backend(backend)
        if found is not None:
            self.backend = faulty_backend(self.backend, found)
        options = ProgramOptions(mode, precision("float32"), fold_batch_norm=fold)
        self.program = self.backend.compile_forward(GRAPH, options)
        self.load(ARRAYS)

    def load(self, arrays):
        self.program.load(*split_state(GRAPH, arrays))

    def result(self, given):
        result = self.program.run(self.program.upload(given))
        self.backend.synchronize(result)
        return result

    def __call__(self, given):
        return self.program.download(self.result(given)).outputs["logits"]


def right(given, arrays=ARRAYS):
    return InProcessSubject(loaded_backend("numpy")).forward(GRAPH, arrays, given, OPTIONS).outputs["logits"]


def agrees(got, expected):
    return got.shape == expected.shape and np.allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("backend", "mode"), BACKENDS)
def test_a_change_of_each_part_reaches_the_result(backend, mode):
    if backend != "numpy":
        pytest.importorskip(backend, reason=f"needs {backend}")

    def heavier(given, moment):
        return given._replace(weights={**given.weights, "fc.weight": 2 * given.weights["fc.weight"]})

    def negated(given, moment):
        return {name: -array for name, array in given.items()}

    def shifted(found, moment):
        return found._replace(outputs={name: array + 1 for name, array in found.outputs.items()})

    given = images()
    other = {**ARRAYS, "fc.weight": 2 * ARRAYS["fc.weight"]}
    assert agrees(Session(program_fault(ProgramChange(load=heavier)), backend, mode)(given), right(given, other))
    negative = {"image": -given["image"]}
    assert agrees(Session(program_fault(ProgramChange(upload=negated)), backend, mode)(given), right(negative))
    assert agrees(Session(program_fault(ProgramChange(outputs=shifted)), backend, mode)(given), right(given) + 1)
    assert agrees(Session(None, backend, mode)(given), right(given))


@pytest.mark.parametrize(("backend", "mode"), BACKENDS)
def test_a_fault_of_an_op_may_begin_at_a_call(backend, mode):
    if backend != "numpy":
        pytest.importorskip(backend, reason=f"needs {backend}")
    always, late = Session(op_fault(), backend, mode), Session(op_fault(from_call(3)), backend, mode)
    given, wrong = images(), always(images())
    assert not agrees(wrong, right(given))
    assert [agrees(late(given), right(given)) for _ in range(4)] == [True, True, False, False]
    assert agrees(late(given), wrong)


@pytest.mark.parametrize(
    ("when", "wrong", "fine"),
    [
        (on_images(lambda count: count >= 3), images(3), images(2)),
        (on_sizes(lambda sizes: sizes[0] == 6), images(), {"image": np.ones((2, 2, 5, 6), np.float32)}),
        (on_values(lambda array: array.max() > 10), {"image": np.full((2, 2, 6, 5), 11, np.float32)}, images()),
    ],
)
def test_a_fault_may_show_for_some_batches_only(when, wrong, fine):
    session = Session(op_fault(when))
    if fine["image"].shape == images()["image"].shape:
        assert agrees(session(fine), right(fine))
    assert not agrees(session(wrong), right(wrong))


def test_a_program_may_ignore_its_second_load():
    first = {}

    def stale(given, moment):
        return first.setdefault("given", given)

    session = Session(program_fault(ProgramChange(load=stale)))
    given, other = images(), initialize(GRAPH, 4)
    assert agrees(session(given), right(given))
    session.load(other)
    assert agrees(session(given), right(given))
    assert not agrees(session(given), right(given, other))
    late = Session(op_fault(from_load(2)))
    assert agrees(late(given), right(given))
    late.load(ARRAYS)
    assert not agrees(late(given), right(given))


def test_state_may_move_at_inference():
    def drifting(given: Loaded, moment):
        return given._replace(state={name: array + moment.call for name, array in given.state.items()})

    session = Session(program_fault(ProgramChange(load=drifting, moves=True)))
    first, second = session(images()), session(images())
    assert not np.array_equal(first, second)


def test_a_result_may_be_kept_and_work_put_off():
    kept = Session(program_fault(ProgramChange(kept=lambda moment: "one")))
    first = kept(images())
    assert agrees(first, right(images()))
    assert np.array_equal(kept(images(seed=1)), first)
    lazy = Session(program_fault(ProgramChange(put_off=True)))
    result = lazy.result(images())
    assert result.inner is None  # also after synchronize
    assert agrees(lazy.program.download(result).outputs["logits"], right(images()))


def test_gradients_the_loss_and_what_training_goes_on_from_may_change():
    backend = loaded_backend("numpy")

    def zero(found, moment):
        return found._replace(weights={name: 0 * array for name, array in found.weights.items()})

    def still(before, after, moment):
        return after if moment.call < 2 else after._replace(weights=before.weights)

    change = ProgramChange(gradients=zero, loss=lambda value, moment: value + 1, trained=still)
    wrong, clean = faulty_subject(backend, program_fault(change)), InProcessSubject(backend)
    options = replace(OPTIONS, training=True)
    found = wrong.gradient(GRAPH, ARRAYS, batch(), options, CrossEntropy())
    expected = clean.gradient(GRAPH, ARRAYS, batch(), options, CrossEntropy())
    assert all(not array.any() for array in found.weights.values())
    assert found.loss == expected.loss + 1
    steps = list(wrong.steps(GRAPH, ARRAYS, [batch()] * 3, options, UPDATES))
    exact = list(clean.steps(GRAPH, ARRAYS, [batch()] * 3, options, UPDATES))
    assert steps[0].loss == exact[0].loss + 1
    moved = [step.training.weights["fc.weight"] for step in steps]
    assert np.array_equal(moved[0], exact[0].training.weights["fc.weight"])
    assert np.array_equal(moved[0], moved[1])
    assert np.array_equal(moved[1], moved[2])


def test_another_rule_may_begin_at_a_step():
    backend = loaded_backend("numpy")
    late = Fault(
        "test.rule",
        "optimizer",
        "Nesterov from the second step on",
        lambda options, seed: None,
        optimizer=lambda rule: replace(rule, nesterov=True),
        when=from_call(2),
    )
    options = replace(OPTIONS, training=True)
    steps = list(faulty_subject(backend, late).steps(GRAPH, ARRAYS, [batch()] * 3, options, UPDATES))
    exact = list(InProcessSubject(backend).steps(GRAPH, ARRAYS, [batch()] * 3, options, UPDATES))
    pairs = zip(steps, exact, strict=True)
    same = [np.array_equal(a.training.weights["fc.bias"], b.training.weights["fc.bias"]) for a, b in pairs]
    assert same == [True, False, False]


def test_a_faulty_backend_leaves_the_given_one_right():
    backend = loaded_backend("numpy")
    wrong = faulty_backend(backend, op_fault())
    given = images()
    assert not agrees(InProcessSubject(wrong).forward(GRAPH, ARRAYS, given, OPTIONS).outputs["logits"], right(given))
    assert agrees(InProcessSubject(backend).forward(GRAPH, ARRAYS, given, OPTIONS).outputs["logits"], right(given))
