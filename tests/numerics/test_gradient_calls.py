"""Gradients that are right at first: later calls, other batches and other weights of one gradient program are seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.conformance import layer_cases
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.checks.gradient_calls import opposite
from cnnbench.numerics.faults import Fault, faulty_subject
from cnnbench.numerics.faults.engine.base import other_outputs
from cnnbench.numerics.faults.engine.programs import ProgramChange, changed_programs
from cnnbench.numerics.faults.engine.switching import from_call, from_load, on_images
from cnnbench.numerics.faults.grammar.arithmetic import in_training
from cnnbench.numerics.faults.grammar.networks import network_case
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.other_operands import in_reverse
from cnnbench.numerics.sized_case import sized_oracles
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import ReLU

GRADIENT = ("compile_gradient",)
BACKENDS = [
    ("numpy", "fast"),
    pytest.param("torch", "eager", marks=pytest.mark.torch),
    pytest.param("jax", "jit", marks=[pytest.mark.jax, pytest.mark.slow]),
    pytest.param("tensorflow", "graph", marks=[pytest.mark.tensorflow, pytest.mark.slow]),
]


def case_of(network="residual", mode="fast", seed=0, batch=2):
    return network_case(network, ProgramOptions(mode, precision("float32")), seed, batch)


def off(found, moment):
    """Gradients of weights and inputs 1 % off."""
    weights, inputs = ({name: 1.01 * array for name, array in part.items()} for part in (found.weights, found.inputs))
    return found._replace(weights=weights, inputs=inputs)


def of_gradients(when=None, **change):
    programs = changed_programs(ProgramChange(**(change or {"gradients": off})), GRADIENT)
    return Fault("test.gradient", "program", "wrong", lambda options, seed: None, programs=programs, when=when)


def checked(fault, case, check="gradient", backend="numpy"):
    (outcome,) = run_checks([check], faulty_subject(loaded_backend(backend), fault), case)
    return outcome


@pytest.mark.parametrize(("backend", "mode"), BACKENDS)
@pytest.mark.parametrize("network", ["residual", "kind:dropout", "kind:token_embedding"])
def test_a_right_backend_passes(backend, mode, network):
    subject = InProcessSubject(loaded_backend(backend))
    for seed, batch in ((11, 2), (12, 1)):
        outcomes = run_checks(["local", "gradient"], subject, case_of(network, mode, seed, batch))
        assert [outcome.message for outcome in outcomes if outcome.status == "failed"] == []


@pytest.mark.parametrize("when", [from_call(2), from_call(3), from_call(6), from_load(2), from_load(3)])
def test_a_gradient_that_is_wrong_from_a_later_call_or_load_on_is_found(when):
    outcome = checked(of_gradients(when), case_of())
    assert outcome.status == "failed"
    assert outcome.node is not None
    assert outcome.message.startswith(("the same call again", "a call with the opposite cotangents"))


@pytest.mark.parametrize(("images", "text"), [(1, "on 1 image, "), (3, "on 3 images, ")])
def test_a_gradient_that_is_wrong_for_another_number_of_images_is_found(images, text):
    outcome = checked(of_gradients(on_images(lambda count: count == images)), case_of("lenet5"))
    assert outcome.status == "failed"
    assert outcome.message.startswith(text)


def test_a_program_that_keeps_its_first_gradients_is_found():
    outcome = checked(of_gradients(kept=lambda moment: moment.loads), case_of())
    assert outcome.status == "failed"
    assert "opposite cotangents" in outcome.message


def test_a_whole_program_that_ignores_a_second_batch_or_load_is_found():
    for kept in (lambda moment: moment.program, lambda moment: moment.batch["image"].tobytes()):

        def whole(moment, kept=kept):
            return kept(moment) if "targets" in moment.batch and "image" in moment.batch else None

        outcome = checked(of_gradients(kept=whole), case_of())
        assert outcome.status == "failed"
        assert outcome.message.startswith(("a call on another batch", "a call with other weights"))


def test_values_that_are_narrower_in_training_alone_are_found():
    def halved(layer, inputs, outputs, call):
        return tuple((outputs[i].astype(np.float16)).astype(outputs[i].dtype) for i in range(len(outputs)))

    fault = Fault(
        "test.relu", "relu", "16 bits", lambda options, seed: None, operation=in_training(other_outputs(halved))
    )
    outcome = checked(fault, case_of("lenet5"), "local")
    assert (outcome.status, outcome.node) == ("failed", "relu1")
    assert "output in training" in outcome.message


def test_layers_on_other_numbers_of_images_read_the_images_of_the_case():
    oracle = Oracle.of(case_of("lenet5"))
    found = dict(sized_oracles(oracle))
    assert [*found] == [1, 3]
    x = oracle.inputs("conv1")[0]
    np.testing.assert_array_equal(found[1].inputs("conv1")[0], x[:1])
    np.testing.assert_array_equal(found[3].inputs("conv1")[0], x[[0, 1, 0]])
    assert not [*sized_oracles(Oracle.of(replace(case_of("lenet5"), sizes=(2,))))]


def test_regions_of_an_image_that_is_not_there_are_left_out():
    case = layer_cases()["roi_align/aligned"].case(ProgramOptions("fast", precision("float32")))
    assert max(case.batch["input2"]) == 1
    assert [*dict(sized_oracles(Oracle.of(case)))] == [3]


def test_a_single_number_in_reverse_keeps_its_shape():
    assert in_reverse(np.ones(())).shape == ()
    np.testing.assert_array_equal(in_reverse(np.arange(4).reshape(2, 2)), [[3, 2], [1, 0]])


def test_opposite_cotangents_leave_the_inputs_as_they_are():
    b = Builder("one layer")
    graph = b.build({"y": b.add("relu", ReLU(), b.input("x", (3,)))})
    batch = {"x": np.ones((1, 3)), "gradient.y": np.ones((1, 3))}
    found = opposite(batch, graph)
    np.testing.assert_array_equal(found["x"], 1)
    np.testing.assert_array_equal(found["gradient.y"], -1)
