"""The timed check: right programs pass, and one that is right at first sight only is found out, with the step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from deceitful_programs import deceitful
from loaded_backends import loaded_backend

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.checks.read_back import unlike
from cnnbench.numerics.faults import Fault, faulty_subject
from cnnbench.numerics.faults.engine.base import other_outputs
from cnnbench.numerics.faults.engine.programs import ProgramChange, changed_programs
from cnnbench.numerics.faults.engine.switching import from_call, from_load, on_images, on_values
from cnnbench.numerics.faults.grammar.networks import network_case
from cnnbench.numerics.rounding import all_to_storage
from cnnbench.numerics.structured_images import structured_batches, structured_images
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import BatchNorm, Conv, Flatten, GlobalAvgPool, Linear, ReLU
from cnnbench.spec.layers.embedding import TokenEmbedding
from cnnbench.spec.passes import fold_arrays
from cnnbench.spec.weights import initialize


def network():
    builder = Builder("timed")
    x = builder.add("conv", Conv(out_channels=4, kernel_size=3), builder.input("x", (2, 6, 6)))
    x = builder.add("relu", ReLU(), builder.add("bn", BatchNorm(), x))
    return builder.build({"logits": builder.add("fc", Linear(out_features=5), builder.add("pool", GlobalAvgPool(), x))})


def case_of(graph=None, mode="fast", name="float32", batch=2, seed=0, **more):
    graph = graph or network()
    generator = np.random.default_rng(seed)
    arrays = {key: generator.uniform(0.5, 1.5, a.shape).astype(np.float32) for key, a in initialize(graph, 0).items()}
    for key, array in arrays.items():
        if "running_var" not in key:
            array *= generator.choice([-1, 1], array.shape)
    x = {item.name: generator.normal(size=item.full_shape(batch)).astype(np.float32) for item in graph.inputs}
    return Case(graph, arrays, x, ProgramOptions(mode, precision(name), **more), seed=seed)


def checked(subject, case):
    (outcome,) = run_checks(["timed"], subject, case)
    return outcome


FOUND = {
    "batch_of_three": "a batch of 3",
    "odd_batch": "a batch of 1",
    "second_call": "same input again",
    "twentieth_call": "same input again",
    "after_reload": "other weights loaded",
    "loaded_once": "other weights loaded",
    "statistics_kept": "other weights loaded",
    "one_weight_lost": "weights read back after loading",
    "moving_state": "same input again",
    "after_prepare": "first input",
    "warm_half": "same input again",
    "one_image": "same input again",
    "kept_by_identity": "other values in the operands' own memory",
    "kept_by_number": "other values in the operands' own memory",
    "kept_by_host_memory": "the first values there again",
    "lingering_nan": "after a call on NaN",
}


@pytest.mark.parametrize("name", FOUND)
def test_a_program_that_is_right_at_first_sight_is_found_out(name):
    outcome = checked(InProcessSubject(deceitful(load_backend("numpy"), name)), case_of())
    assert outcome.status == "failed", outcome.message
    assert outcome.message.startswith(f"{FOUND[name]}: "), outcome.message
    assert outcome.details["step"] == FOUND[name]
    (first,) = run_checks(["end_to_end"], InProcessSubject(deceitful(load_backend("numpy"), name)), case_of())
    assert first.status == "passed", "the fault shows at first sight, and tests nothing here"


def subject_with(when=None, **change):
    fault = Fault("test.fault", "relu", "a fault", lambda options, seed: None, when=when, **change)
    return faulty_subject(load_backend("numpy"), fault)


STRUCTURED = {
    "program.constant_images": "images of zeros",
    "program.ones": "images of ones",
    "program.sparse_images": "images of zeros but for one value",
    "program.equal_images": "images of zeros but for one value",
    "program.one_constant_image": "a constant image before others",
    "between_programs.weights": "once a second program holds other weights",
    "between_programs.statistics": "once a second program holds other weights",
    "between_programs.results": "a second program with other weights",
}


@pytest.mark.parametrize("name", STRUCTURED)
@pytest.mark.parametrize("sizes", [(1, 3), ()])
def test_special_answers_to_special_images_and_what_two_programs_share_are_found_out(name, sizes):
    case = replace(case_of(batch=3), sizes=sizes)
    outcome = checked(faulty_subject(load_backend("numpy"), name), case)
    assert outcome.status == "failed"
    assert outcome.details["step"] == STRUCTURED[name]


@pytest.mark.parametrize("held", ["zeros", "their mean"])
def test_a_constant_image_is_known_for_what_the_reference_makes_of_it_in_a_large_network_too(held, monkeypatch):
    monkeypatch.setattr("cnnbench.numerics.checks.timed.LARGE_MACS", 0)
    case = replace(case_of(), sizes=())
    change = ProgramChange(outputs=shifted)
    level = 0.0 if held == "zeros" else float(case.inputs["x"].mean(dtype=np.float64))
    when = on_values(lambda array: bool((array == np.float32(level)).all()))
    outcome = checked(subject_with(when, programs=changed_programs(change, ("compile_forward",))), case)
    assert outcome.status == "failed"
    assert outcome.details["step"] == f"images of {held}"


def test_integers_of_structured_images_are_those_that_the_case_has():
    builder = Builder("indices")
    graph = builder.build(
        {
            "y": builder.add(
                "e", TokenEmbedding(num_embeddings=9, embedding_dim=3), builder.input("ids", (4,), dtype="int")
            )
        }
    )
    ids = np.array([[5, 3, 7, 2], [4, 4, 6, 3]])
    case = Case(graph, initialize(graph, 0), {"ids": ids}, ProgramOptions("fast", precision("float32")))
    batches = dict(structured_batches(case, structured_images(case)))
    assert {int(value) for batch in batches.values() for value in batch["ids"].flat} <= {int(v) for v in ids.flat}
    assert all(batch["ids"].dtype == ids.dtype and len(batch["ids"]) == 2 for batch in batches.values())
    assert checked(InProcessSubject(load_backend("numpy")), case).status == "passed"


LESS = other_outputs(lambda layer, inputs, outputs, call: (outputs[0] * np.float32(0.99),))
WHEN = {
    "call": (from_call(4), "same input again"),
    "batch": (on_images(lambda count: count == 1), "a batch of 1"),
    "load": (from_load(2), "other weights loaded"),
    "values": (on_values(lambda array: np.isnan(array).any() or array.reshape(-1)[0] > 0.5), None),
}


@pytest.mark.parametrize("name", WHEN)
def test_a_node_that_is_wrong_only_at_some_calls_is_located(name):
    when, step = WHEN[name]
    outcome = checked(subject_with(when, operation=LESS), case_of(seed=3))
    assert outcome.status == "failed"
    assert step in (None, outcome.details["step"])
    assert outcome.node == "relu", outcome.message
    assert "the program goes wrong at relu, in a program of the 3 nodes up to there and not in fewer" in outcome.message
    assert "first node that introduces error: relu" in outcome.details["report"]
    assert outcome.reproducer is None  # one pass does not show it


@pytest.mark.parametrize("call", [2, 3, 4, 9])
def test_calls_of_the_checks_before_it_count_where_they_were_on_the_same_program(call):
    subject = subject_with(from_call(call), operation=LESS)
    found = run_checks(["end_to_end", "exact", "timed"], subject, case_of())
    assert [item.status for item in found] == ["passed", "failed" if call < 4 else "passed", "failed"]
    assert {item.node for item in found if item.status == "failed"} == {"relu"}


def shifted(found, moment):
    return found._replace(outputs={n: a + np.float32(0.01) if n == "logits" else a for n, a in found.outputs.items()})


WHOLE = {
    "input": (ProgramChange(upload=lambda batch, moment: {n: -a for n, a in batch.items()}), "x"),
    "output": (ProgramChange(outputs=shifted), "fc"),
    "result": (ProgramChange(kept=lambda moment: 0), "x"),
    "array": (
        ProgramChange(load=lambda given, moment: given._replace(weights={n: a * 1 for n, a in given.weights.items()})),
        None,
    ),
    "weight": (
        ProgramChange(
            load=lambda given, moment: given._replace(
                weights={n: a * (0.5 if n == "fc.weight" else 1) for n, a in given.weights.items()}
            )
        ),
        "fc",
    ),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("hidden", [False, True])
def test_what_is_wrong_of_a_program_as_a_whole_is_named(name, hidden):
    change, node = WHOLE[name]
    change = replace(change, hidden=hidden)
    outcome = checked(subject_with(from_call(2), programs=changed_programs(change, ("compile_forward",))), case_of())
    assert outcome.node == node, outcome.message
    assert outcome.status == ("passed" if node is None else "failed")
    assert ("a program that only copies it gives other values too" in outcome.message) == (node == "x")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize(
    ("backend", "mode"),
    [
        ("numpy", "reference"),
        ("numpy", "fast"),
        pytest.param("torch", "eager", marks=pytest.mark.torch),
        pytest.param("jax", "jit", marks=[pytest.mark.jax, pytest.mark.slow]),
        pytest.param("tensorflow", "graph", marks=[pytest.mark.tensorflow, pytest.mark.slow]),
        pytest.param("tensorflow", "xla", marks=[pytest.mark.tensorflow, pytest.mark.slow]),
        pytest.param("torch", "compile", marks=[pytest.mark.torch, pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
def test_a_right_program_passes(backend, mode, fold, seed):
    if backend != "numpy":
        pytest.importorskip(backend, reason=f"needs {backend}")
    outcome = checked(InProcessSubject(loaded_backend(backend)), case_of(mode=mode, fold_batch_norm=fold, seed=seed))
    assert outcome.status == "passed", outcome.message
    assert outcome.details["calls"] > 30
    assert 0 < outcome.budget_used < 0.5


@pytest.mark.parametrize("name", ["float64", "bfloat16", "float16"])
def test_narrow_and_wide_programs_are_read_back_in_their_own_type(name):
    backend = "numpy" if name == "float64" else "torch"
    mode = "fast" if name == "float64" else "eager"
    if backend != "numpy":
        pytest.importorskip(backend, reason=f"needs {backend}")
    for fold in (False, True):
        outcome = checked(
            InProcessSubject(loaded_backend(backend)), case_of(mode=mode, name=name, fold_batch_norm=fold)
        )
        assert outcome.status == "passed", outcome.message
        assert "not_compared" not in outcome.details


def test_the_end_to_end_check_before_it_compiles_its_program():
    class Counting(InProcessSubject):
        def open(self, graph, options):
            opened.append(graph)
            return super().open(graph, options)

        def forward(self, graph, arrays, batch, options):
            passes.append(graph)
            return super().forward(graph, arrays, batch, options)

    opened, passes, case = [], [], case_of()
    found = run_checks(["end_to_end", "timed", "determinism"], Counting(load_backend("numpy")), case)
    assert [item.status for item in found] == ["passed"] * 3
    assert (len(opened), len(passes)) == (2, 1)  # the program, and the second one that stands beside it
    (alone,) = run_checks(["end_to_end"], Counting(load_backend("numpy")), case)
    assert alone.status == "passed"
    assert len(opened) == 2


def test_one_image_and_a_network_without_weights_are_checked_too():
    subject = InProcessSubject(load_backend("numpy"))
    assert checked(subject, case_of(batch=1)).status == "passed"
    builder = Builder("bare")
    graph = builder.build(builder.add("flat", Flatten(), builder.add("relu", ReLU(), builder.input("x", (2, 3, 3)))))
    assert checked(subject, case_of(graph)).status == "passed"


def test_a_subject_that_keeps_no_program_is_skipped():
    class Plain:
        def __init__(self):
            inner = InProcessSubject(load_backend("numpy"))
            self.forward, self.gradient, self.steps = inner.forward, inner.gradient, inner.steps

    outcome = checked(Plain(), case_of())
    assert outcome.status == "skipped"
    assert "keeps no program" in outcome.message


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_folded_weights_may_lie_one_step_beside_and_no_further(name):
    """PyTorch rounds float64 to float16 by way of float32, so one weight in some thousands is the neighbour of another.

    Small ones are 2^-24 apart in float16, more than any share of them.
    """
    policy = precision(name)
    case = replace(case_of(name=name), options=ProgramOptions("fast", policy, fold_batch_norm=True))
    stored = all_to_storage(case.arrays, policy)
    loaded = {**stored, "conv.weight": stored["conv.weight"] * stored["conv.weight"].dtype.type(2.0**-17)}
    exact = fold_arrays(case.graph, {key: array.astype(np.float64) for key, array in loaded.items()})
    held = all_to_storage({key: array for key, array in exact.items() if not key.startswith("bn.")}, policy)
    assert unlike(held, loaded, case) is None
    weight = held["conv.weight"].astype(name)
    for steps, admitted in ((1, True), (4, False)):
        beside = weight
        for _ in range(steps):
            beside = np.nextafter(beside, np.inf, dtype=name)
        found = unlike({**held, "conv.weight": beside.astype(held["conv.weight"].dtype)}, loaded, case)
        assert (found is None) is admitted, steps


@pytest.mark.parametrize("kind", ["level_roi_align", "roi_align", "grid_sample"])
def test_a_size_that_the_inputs_cannot_be_divided_among_is_left_out_and_named(kind):
    case = network_case(f"kind:{kind}", ProgramOptions("fast", precision("float32")))
    outcome = checked(InProcessSubject(loaded_backend("numpy")), case)
    assert outcome.status == "passed", outcome.message
    left_out = outcome.details.get("not_sized")
    assert (left_out is not None) == (kind == "level_roi_align")
    assert left_out is None or left_out.startswith("a batch of 3: the boxes do not fit the images")
