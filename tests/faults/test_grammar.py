"""The grammar of faults: reproducible draws that each change something, of every place, moment and class."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.errors import SuiteError
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.faults import faulty_subject
from cnnbench.numerics.faults.grammar.arithmetic import element_mask, fewer_bits, slice_mask
from cnnbench.numerics.faults.grammar.arrays import draw_array_change, in_bits
from cnnbench.numerics.faults.grammar.drawing import Chance
from cnnbench.numerics.faults.grammar.faults import FaultId, draw_fault
from cnnbench.numerics.faults.grammar.fields import field_changes, layer_changes
from cnnbench.numerics.faults.grammar.networks import network, network_case, score_networks
from cnnbench.numerics.faults.score import Scoring, fault_ids
from cnnbench.numerics.subject import InProcessSubject, Updates
from cnnbench.spec.kinds import layer_kinds
from cnnbench.spec.layers import Conv
from cnnbench.spec.passes import lower
from cnnbench.spec.streams import stream

OPTIONS = ProgramOptions("reference", precision("float32"))
PLACES = {"op", "load", "fold", "program", "fusion", "loss", "optimizer", "repetition"}
MOMENTS = {"always", "batch", "call", "load", "size", "training", "values"}
CHANGES = {
    *("channel", "constant", "element", "field", "gradient", "order"),
    *("precision", "range", "result", "state", "term"),
}


@pytest.fixture(scope="module")
def drawn():
    asked = Scoring(loaded_backend("numpy"), OPTIONS, seed=5)
    return [draw_fault(name, asked.backend, OPTIONS) for name in islice(fault_ids(asked), 1200)]


def test_every_place_moment_and_class_is_drawn(drawn):
    assert {fault.where for fault in drawn} == PLACES
    assert {fault.occasion.when for fault in drawn} == MOMENTS
    assert {fault.change.what for fault in drawn} == CHANGES
    combinations = Counter((fault.where, fault.occasion.when) for fault in drawn)
    for where in PLACES - {"load"}:
        assert combinations[where, "call"], where
    for where in ("op", "fold", "program", "fusion"):
        assert all(combinations[where, when] for when in ("values", "size", "batch")), where
    assert all(fault.change.nodes or fault.where in ("repetition", "load") for fault in drawn)


def test_a_fault_is_drawn_again_by_its_id(drawn):
    backend = loaded_backend("numpy")
    for fault in drawn[:40]:
        again = draw_fault(FaultId.parse(str(fault.id)), backend, OPTIONS)
        assert (again.text, again.where, again.change.nodes) == (fault.text, fault.where, fault.change.nodes)
        assert "\n" not in fault.text


def test_an_id_that_is_none_is_refused():
    with pytest.raises(SuiteError, match="NETWORK/SEED/NUMBER"):
        FaultId.parse("residual")
    with pytest.raises(SuiteError, match="residual"):
        network("residul")


def test_the_networks_hold_every_kind_that_ships():
    held = set()
    for name in score_networks():
        if name not in ("lenet5", "resnet20"):
            graph = network(name)
            held |= {node.layer.kind for g in (graph, lower(graph)) for node in g.nodes}
    shipped = {kind for kind, cls in layer_kinds().items() if cls.__module__.startswith("cnnbench.spec.")}
    assert shipped <= held


def results(subject, fault):
    """What a fault may change, on the case's operands: outputs, gradients with their loss, states of some steps."""
    case = fault.case
    options = replace(case.options, training=True, fold_batch_norm=False)
    found = {}
    forward = subject.forward(case.graph, case.stored, case.inputs, case.options)
    found |= {f"output {name}": array for name, array in forward.outputs.items()}
    if not case.has_loss:
        return found
    batch = case.training_batch()
    gradient = subject.gradient(case.graph, case.stored, batch, options, case.loss)
    found |= {f"gradient {name}": array for name, array in {**gradient.weights, **gradient.inputs}.items()}
    found |= {f"state {name}": array for name, array in gradient.state.items()} | {"loss": np.asarray(gradient.loss)}
    updates = Updates(case.loss, case.training.optimizer, case.training.rates)
    for i, step in enumerate(subject.steps(case.graph, case.stored, [batch] * len(updates.rates), options, updates)):
        for part in step.training:
            found |= {f"{i} {name}": array for name, array in part.items()}
        found[f"{i} loss"] = np.asarray(step.loss)
    return found


def test_most_faults_change_a_result_on_the_operands_of_their_case(drawn):
    """The rest are below rounding (an epsilon), or show at moments that one call does not meet."""
    backend = loaded_backend("numpy")
    changed, tried = 0, 0
    for fault in drawn:
        if fault.id.network not in ("residual", "branches") or fault.occasion.when not in ("always", "training"):
            continue
        if fault.where == "repetition" or "as first loaded" in fault.text:
            continue
        tried += 1
        right = results(InProcessSubject(backend), fault)
        wrong = results(faulty_subject(backend, fault.fault), fault)
        assert right.keys() == wrong.keys()
        changed += any(not np.array_equal(right[name], wrong[name], equal_nan=True) for name in right)
        if tried == 60:
            break
    assert changed >= 0.85 * tried > 0


def test_a_field_changes_to_neighbours_reversals_and_other_options():
    layer = Conv(out_channels=4, kernel_size=(3, 3), stride=(1, 2), padding=((0, 1), (2, 3)))
    found = {str(change) for change in field_changes(layer)}
    assert "stride (2, 1) for (1, 2)" in found
    assert "padding ((1, 0), (3, 2)) for ((0, 1), (2, 3))" in found
    assert "padding ((1, 0), (2, 3)) for ((0, 1), (2, 3))" in found
    assert "groups 2 for 1" in found
    assert not any(change.startswith("bias") for change in found)


def test_a_field_that_a_layer_refuses_on_its_shapes_is_left_out():
    graph = lower(network("residual"))
    found = {change.name for change in layer_changes(graph, graph.node("block.conv2"))}
    assert "padding" in found
    assert not found & {"stride", "groups", "out_channels", "kernel_size"}  # they would change shapes


@pytest.mark.parametrize("bits", [8, 11, 20])
def test_fewer_bits_round_to_nearest(bits):
    values = stream(0, "bits").normal(size=1000).astype(np.float32) * np.float32(100)
    for rounded in (fewer_bits(values, bits), in_bits(values, bits), fewer_bits(values.astype(np.float64), bits)):
        error = np.abs(rounded - values) / np.abs(values)
        assert 2.0 ** -(bits + 1) < error.max() <= 2.0**-bits
    assert np.array_equal(fewer_bits(values, 24), values)


def test_masks_are_one_where_they_say():
    value = np.zeros((2, 3, 4), np.float32)
    mask = np.broadcast_to(element_mask(value, 0.999), value.shape)
    assert mask.sum() == 2
    assert mask[0, 2, 3] == mask[1, 2, 3] == 1
    assert element_mask(value, 0.0, every_image=False)[1, 0, 0] == 1
    assert np.broadcast_to(slice_mask(value, 2, -1), value.shape)[..., -1].all()


def test_a_change_of_an_array_keeps_its_shape():
    for seed in range(200):
        chance = Chance(stream(seed, "arrays"))
        shape = chance.of(((), (3,), (2, 2), (3, 2, 4)))
        array = stream(seed, "values").normal(size=shape).astype(np.float32)
        change = draw_array_change(chance, shape)
        assert change.of(array).shape == shape
        assert change.of(array).dtype == np.float32


@pytest.mark.parametrize("name", ["residual", "transformer", "kind:grid_sample", "kind:power"])
def test_a_case_holds_finite_values_and_no_identities(name):
    case = network_case(name, OPTIONS, 3)
    assert all(np.isfinite(array).all() for array in case.inputs.values())
    found = InProcessSubject(loaded_backend("numpy")).forward(case.graph, case.stored, case.inputs, case.options)
    assert all(np.isfinite(array).all() for array in found.outputs.values())
