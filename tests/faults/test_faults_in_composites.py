"""Faults of composite kinds and of their parts, whether a backend lowers the kind or has an op of its own for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from cnnbench.errors import SuiteError, UnavailableError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.operations import Gradients, Operation, OpResult
from cnnbench.execution.precision import precision
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.faults import Fault, examined, fault, inject, kill_table, require_reach
from cnnbench.numerics.faults.engine.base import other_layer, other_outputs
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.composites import Composite, TrainableSubsample

OPTIONS = ProgramOptions("reference", precision("float32"))
AROUND = SuspectNetwork((4, 8, 8))
SUBSAMPLE = surrounded(TrainableSubsample(kernel_size=2), AROUND)
OF_A_PART = Fault(
    "trainable_subsample.mean",
    "avg_pool",
    "the mean of a window for its sum",
    SUBSAMPLE,
    node="suspect.sum",
    operation=other_layer(lambda layer: replace(layer, divisor=None)),
)
OF_THE_WHOLE = Fault(
    "trainable_subsample.window",
    "trainable_subsample",
    "another window",
    surrounded(TrainableSubsample(kernel_size=(2, 4)), AROUND),
    operation=other_layer(lambda layer: replace(layer, kernel_size=(4, 2))),
)
OF_ITS_OUTPUT = replace(
    OF_THE_WHOLE,
    name="trainable_subsample.doubled",
    operation=other_outputs(lambda layer, inputs, outputs, call: (2 * outputs[0],)),
)


@dataclass(frozen=True, kw_only=True)
class DoubleTanhPart(Composite, kind="double_tanh_for_faults"):
    """tanh(2 x) as two layers. Shapes: any -> the same."""

    def expand(self, builder, *inputs):
        from cnnbench.spec.layers import Add, Tanh

        return builder.add("tanh", Tanh(), builder.add("sum", Add(), inputs[0], inputs[0]))


def test_a_part_is_named_within_its_composite():
    (row,) = kill_table(load_backend("numpy"), OPTIONS, [OF_A_PART])
    assert (row.killed, row.located, row.false_alarm, row.skipped) == (True, True, False, None)


def test_a_composite_that_is_lowered_is_examined_as_one_node():
    (row,) = kill_table(load_backend("numpy"), OPTIONS, [OF_THE_WHOLE])
    assert (row.killed, row.located, row.false_alarm, row.skipped) == (True, True, False, None)


def test_a_change_of_outputs_needs_an_op_of_its_own():
    backend = load_backend("numpy")
    (row,) = kill_table(backend, OPTIONS, [OF_ITS_OUTPUT])
    assert row.skipped == "numpy makes trainable_subsample of its parts, and this fault changes an op of its own"
    with pytest.raises(UnavailableError, match="of its parts"), inject(backend, OF_ITS_OUTPUT):
        pass


def native_double_tanh(factor):
    """An op of its own for the composite, right for a factor of 2."""
    import numpy as np

    def forward(layer, inputs, weights, state, call):
        y = np.tanh(factor * inputs[0])
        return OpResult((y,), saved=y)

    def backward(layer, saved, gradients, weights, call):
        return Gradients((factor * (1 - saved**2) * gradients[0],))

    return Operation(forward, backward)


@pytest.mark.parametrize(("factor", "status"), [(2, "passed"), (2.001, "failed")])
@pytest.mark.parametrize("check", ["local", "gradient"])
def test_an_op_of_its_own_for_a_composite_is_examined_whole(factor, status, check):
    backend = load_backend("numpy")
    backend.operations = backend.operations.replace(DoubleTanhPart.kind, native_double_tanh(factor))
    case = surrounded(DoubleTanhPart(), AROUND)(OPTIONS, 0)
    (outcome,) = run_checks([check], InProcessSubject(backend), case)
    assert outcome.status == status, outcome.message
    assert {use.budget for use in outcome.nodes if use.node == "suspect"} == {"measured sensitivity"}
    if status == "failed":
        assert outcome.node == "suspect"


def test_a_fault_of_a_composite_leaves_the_backend_as_it_was():
    backend = load_backend("numpy")
    case = examined(OF_THE_WHOLE.case(OPTIONS, 3), OF_THE_WHOLE)
    with inject(backend, OF_THE_WHOLE):
        assert run_checks(["local"], InProcessSubject(backend), case)[0].status == "failed"
    assert run_checks(["local"], InProcessSubject(backend), case)[0].status == "passed"


def test_a_network_without_the_kind_is_told_so():
    with pytest.raises(SuiteError, match="no node of that kind") as raised:
        require_reach(SUBSAMPLE(OPTIONS, 0), fault("batch_norm.biased_running_variance"))
    assert "avg_pool, channel_affine" in str(raised.value)  # what it has instead
    assert "has one" in str(raised.value)  # where there is one
    require_reach(SUBSAMPLE(OPTIONS, 0), OF_A_PART)
    require_reach(SUBSAMPLE(OPTIONS, 0), OF_THE_WHOLE)


@pytest.mark.parametrize("name", ["cross_entropy.no_label_smoothing", "avg_pool.count_include_pad"])
def test_a_fault_that_changes_nothing_is_told_so(name):
    case = fault("conv.kernel_flip").case(OPTIONS, 0) if name.startswith("cross") else SUBSAMPLE(OPTIONS, 0)
    if name.startswith("avg"):
        item = replace(OF_A_PART, operation=other_layer(lambda layer: layer))
    else:
        item = fault(name)
    with pytest.raises(SuiteError, match="changes nothing here"):
        require_reach(case, item)
