"""Networks whose outputs are of the whole batch: means, losses, products without a batch axis, integers, no numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from loaded_backends import loaded_backend

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.faults import Fault, faulty_subject
from cnnbench.numerics.faults.engine.programs import ProgramChange, changed_programs
from cnnbench.numerics.faults.engine.switching import on_images
from cnnbench.numerics.faults.grammar.networks import network_case
from cnnbench.numerics.subject import InProcessSubject

OPTIONS = ProgramOptions("fast", precision("float32"))
PROGRAM = ("end_to_end", "timed", "special", "determinism", "training")


KINDS = (
    *("mse_loss", "cross_entropy_loss", "mean_variance_norm", "matmul", "anchor_grid", "top_k", "arg_reduce"),
    *("max_pool_positions", "non_max_suppression", "roi_align", "yolo_loss"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_program_raises_no_alarm(kind):
    case = network_case(f"kind:{kind}", OPTIONS)
    found = run_checks(PROGRAM, InProcessSubject(loaded_backend("numpy")), case)
    assert [outcome.message for outcome in found if outcome.status == "failed"] == []
    assert any(outcome.status == "passed" for outcome in found)


def test_outputs_that_are_nan_in_the_reference_are_not_applicable():
    case = network_case("kind:yolo_loss", OPTIONS)
    (found,) = run_checks(["end_to_end"], InProcessSubject(loaded_backend("numpy")), case)
    assert found.status == "skipped"
    assert found.message.startswith("not applicable: ")


@pytest.mark.parametrize("kind", ["mse_loss", "mean_variance_norm"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_mean_that_is_wrong_for_other_batches_is_found(kind, count):
    def shifted(found, moment):
        return found._replace(outputs={name: array * 1.01 for name, array in found.outputs.items()})

    fault = Fault(
        "test.mean",
        "program",
        "1 % off",
        lambda options, seed: network_case(f"kind:{kind}", options, seed),
        programs=changed_programs(ProgramChange(outputs=shifted)),
        when=on_images(lambda images: images == count),
    )
    case = replace(network_case(f"kind:{kind}", OPTIONS), whole=frozenset())
    (found,) = run_checks(["timed"], faulty_subject(loaded_backend("numpy"), fault), case)
    assert found.status == "failed"
    assert f"a batch of {count}" in found.message
