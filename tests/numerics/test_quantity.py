"""What a check compares is a value: it is kept and read as data, and no program reads its text."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

import cnnbench
from cnnbench.numerics.outcome import CheckOutcome, NodeUse
from cnnbench.numerics.quantity import Quantity

CORE = Path(cnnbench.__file__).parent
TEXTS = {
    Quantity.output(): "output",
    Quantity.output(2): "output 2",
    Quantity.output(training=True): "output in training",
    Quantity.output(1, training=True): "output 1 in training",
    Quantity.state("running_mean"): "running_mean",
    Quantity.input_gradient(0): "input gradient 0",
    Quantity.weight_gradient("weight"): "gradient of weight",
    Quantity.loss_gradient(): "gradient of the output",
}


@pytest.mark.parametrize(("quantity", "text"), TEXTS.items(), ids=TEXTS.values())
def test_a_quantity_comes_back_from_json_and_reads_as_text(quantity, text):
    assert Quantity.model_validate_json(quantity.model_dump_json()) == quantity
    assert str(quantity) == quantity.text == text


def test_gradients_and_what_training_gives_are_known_by_role():
    gradients = [text for quantity, text in TEXTS.items() if quantity.is_gradient]
    assert gradients == ["input gradient 0", "gradient of weight", "gradient of the output"]
    in_training = [text for quantity, text in TEXTS.items() if quantity.in_training]
    assert in_training == ["output in training", "output 1 in training", "running_mean"]


@pytest.mark.parametrize(
    "fields",
    [
        {"role": "output", "name": "weight"},
        {"role": "weight_gradient"},
        {"role": "state", "name": "running_mean", "index": 1},
        {"role": "input_gradient", "index": -1},
        {"role": "loss_gradient", "training": True},
        {"role": "gradient"},
    ],
)
def test_a_quantity_that_cannot_be_is_refused(fields):
    with pytest.raises(ValidationError):
        Quantity(**fields)


def test_figures_of_numpy_become_plain_numbers_once():
    use = NodeUse(
        node="conv",
        kind="conv",
        quantity=Quantity.output(),
        sharp_used=np.float32(0.5),
        worst_case_used=np.inf,
        budget="derived",
        worst_index=(np.int64(1), np.int64(2)),
        got=np.float64(1.5),
    )
    assert [type(value) for value in (use.sharp_used, use.got, use.worst_index[0])] == [float, float, int]
    outcome = CheckOutcome(name="local", status="passed", details={"classes": np.arange(2)}, nodes=(use,))
    assert outcome.details == {"classes": [0, 1]}
    assert CheckOutcome.model_validate_json(outcome.model_dump_json()) == outcome
    assert "nodes" not in outcome.without_nodes().model_dump()


def test_a_reproducer_is_named_within_its_folder(tmp_path):
    outcome = CheckOutcome(name="local", status="failed", reproducer=str(tmp_path / "local-conv.safetensors"))
    assert outcome.within(tmp_path).reproducer == "local-conv.safetensors"
    assert outcome.within(tmp_path / "elsewhere") == outcome


READS = {"startswith", "endswith", "partition", "rpartition", "split", "removeprefix", "removesuffix", "find", "index"}
TEXT = re.compile(r"quantity\.text$|^str\(.*quantity\)$|^f.*quantity.*$")


def parsed(source: str) -> list[str]:
    """The expressions of a module that look into the text of a quantity, or compare it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        operands: list[ast.AST] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READS:
            operands = [node.func.value]
        elif isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
        found += [ast.unparse(node) for operand in operands if TEXT.search(ast.unparse(operand))]
    return found


def test_no_module_parses_or_compares_the_text_of_a_quantity():
    assert parsed("use.quantity.text.endswith('in training')")
    assert parsed("'gradient' in str(use.quantity)")
    assert parsed("f'{use.quantity}' == 'output'")
    assert {path: found for path in CORE.rglob("*.py") if (found := parsed(path.read_text()))} == {}
