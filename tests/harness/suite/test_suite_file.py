"""A suite file: strict keys and types with their place, shorthand, overrides, the command line's adjustments."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cnnbench.errors import CnnbenchError, SuiteError
from cnnbench.harness.suite.file import Adjustments, adjusted, load_suite
from cnnbench.harness.suite.model import Suite

GOOD = """\
schema_version: 1
name: small
matrix:
  architectures: [lenet5, resnet20]
  backends:
    - numpy
    - {name: torch, mode: eager}
  batch: [1, 8]
measure:
  latency: {rounds: 4}
train:
  architectures: lenet5
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "suite.yaml"
        path.write_text(text)
        return path

    return write


def explain(path: Path, *overrides: str) -> CnnbenchError:
    with pytest.raises(SuiteError) as caught:
        load_suite(path, overrides)
    return caught.value


def test_defaults_and_shorthand(write) -> None:
    suite = load_suite(write(GOOD))
    (block,) = suite.matrix  # a mapping stands for a list of one block
    assert [(choice.name, choice.mode) for choice in block.backends] == [("numpy", None), ("torch", ("eager",))]
    assert suite.measure.latency is not None
    assert (suite.measure.latency.rounds, suite.measure.latency.launches) == (4, 3)
    assert suite.train is not None
    assert suite.train.architectures == ("lenet5",)
    assert suite.train.optimizer.kind == "sgd"
    assert suite.measure.names == ("latency", "memory")


def test_an_image_is_a_side_or_a_whole_shape(write) -> None:
    text = GOOD.replace("  batch: [1, 8]", "  image: [32, [1, 28, 28]]")
    assert load_suite(write(text)).matrix[0].image == ((32,), (1, 28, 28))


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "message", "remedy"),
    [
        ("batch: [1", "bacth: [1", 8, 3, "unknown key 'bacth' in matrix", "'batch'"),
        ("mode: eager", "moed: eager", 7, 21, "unknown key 'moed' in matrix.backends.1", "'mode'"),
        ("rounds: 4", "round: 4", 10, 13, "unknown key 'round' in measure.latency", "'rounds'"),
        ("name: small", "nname: small", 2, 1, "unknown key 'nname' in the suite (and 1 more error)", "'name'"),
        ("lenet5, ", "lenet6, ", 4, 19, "unknown architecture 'lenet6'", "'lenet5'"),
        ("- numpy", "- numpi", 6, 7, "unknown backend 'numpi'", "'numpy'"),
        ("mode: eager", "mode: egaer", 7, 27, "unknown torch mode 'egaer'", "'eager'"),
        ("batch: [1, 8]", "precision: [floot32]", 8, 15, "unknown precision 'floot32'", "'float32'"),
        ("batch: [1, 8]", "data: digit", 8, 9, "unknown dataset 'digit'", "'digits'"),
        (
            "architectures: lenet5",
            "architectures: resnet18",
            12,
            18,
            "unknown architecture in the matrix",
            "'resnet20'",
        ),
        (": lenet5\n", ": lenet5\n  optimizer: {kind: sgd, mometum: 0.5}\n", 13, 14, "sgd has no field", "'momentum'"),
        (": lenet5\n", ": lenet5\n  loss: cross_entrpy\n", 13, 9, "unknown loss 'cross_entrpy'", "'cross_entropy'"),
        (": lenet5\n", ": lenet5\n  schedule: cosin\n", 13, 13, "unknown schedule 'cosin'", "'cosine'"),
        ("measure:", "checks: [locl]\nmeasure:", 9, 10, "the value of checks.0 is not valid", "'local'"),
    ],
)
def test_a_wrong_name_is_shown_with_its_place_and_the_nearest_right_one(
    write, old: str, new: str, line: int, column: int, message: str, remedy: str
) -> None:
    path = write(GOOD.replace(old, new))
    error = explain(path)
    assert error.where == f"{path}:{line}:{column}"
    assert message in error.message
    assert remedy in str(error.remedy)
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("old", "new", "where", "received"),
    [
        ("batch: [1, 8]", "batch: [1, '8']", "8:14", "'8'"),
        ("batch: [1, 8]", "batch: [1, true]", "8:14", "True"),
        ("batch: [1, 8]", "batch: [1, 1.5]", "8:14", "1.5"),
        ("batch: [1, 8]", "batch: 0", "8:10", "0"),
        ("rounds: 4", "rounds: four", "10:21", "'four'"),
        ("{rounds: 4}", "true", "10:12", "True"),
        ("schema_version: 1", "schema_version: 2", "1:17", "2"),
        ("name: small", "name: a/b", "2:7", "'a/b'"),
    ],
)
def test_a_wrong_type_or_value_is_shown_with_its_place(write, old: str, new: str, where: str, received: str) -> None:
    path = write(GOOD.replace(old, new))
    error = explain(path)
    assert error.where == f"{path}:{where}"
    assert error.received == received
    assert error.expected


def test_a_missing_key_is_named(write) -> None:
    assert explain(write(GOOD.replace("schema_version: 1\n", ""))).message == "the key 'schema_version' is missing"


def test_a_key_given_twice_is_an_error(write) -> None:
    assert "twice" in explain(write(GOOD + "name: again\n")).message


def test_a_list_is_no_suite(write) -> None:
    assert explain(write("- 1\n")).message == "a suite is a mapping"


def test_overrides_reach_every_block_or_one_of_them(write) -> None:
    text = GOOD.replace("matrix:\n  architectures", "matrix:\n- architectures").replace(
        "train:\n  arch", "train:\n  arch"
    )
    two = text.replace("measure:", "- {architectures: lenet5, backends: numpy}\nmeasure:").replace("\n  b", "\n  b")
    every = load_suite(write(two), ["matrix.batch=[2]", "measure.latency.rounds=9"])
    assert [block.batch for block in every.matrix] == [(2,), (2,)]
    assert every.measure.latency is not None
    assert every.measure.latency.rounds == 9
    one = load_suite(write(two), ["matrix.1.batch=3", "gates.latency=null", "train.optimizer={kind: sgd, momentum: 0}"])
    assert [block.batch for block in one.matrix] == [(1, 8), (3,)]
    assert one.gates.latency is None
    assert one.train is not None
    assert one.train.optimizer.fields == {"momentum": 0}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("measure.latency.roundz=3", "unknown key 'roundz'"),
        ("matrix.batch=x", "the value of matrix.batch is not valid"),
        ("matrix.architectures=[lenet]", "unknown architecture 'lenet'"),
        ("measure", "the override cannot be understood"),
        ("name.first=x", "looked for in a plain value"),
        ("matrix.backends.7=numpy", "the list has 2 items only"),
        ("checks=[a", "not valid YAML"),
    ],
)
def test_a_wrong_override_is_blamed_on_the_override(write, override: str, message: str) -> None:
    error = explain(write(GOOD), override)
    assert message in error.message
    assert str(error.where).startswith(f"--set {override}")


def test_networks_in_files_are_found_beside_the_suite(write, tmp_path: Path) -> None:
    text = GOOD.replace("[lenet5, resnet20]", "[lenet5, 'file:nets/own.yaml']")
    assert load_suite(write(text)).matrix[0].architectures == ("lenet5", f"file:{tmp_path}/nets/own.yaml")


def test_the_command_lines_options_replace_the_axes(write) -> None:
    suite = load_suite(write(GOOD))
    changed = adjusted(suite, Adjustments(seed=7, threads=2, precision="float64", timeout_s=5.0))
    assert (changed.seed, changed.timeouts.call_s, changed.timeouts.compile_s) == (7, 5.0, 5.0)
    assert (changed.matrix[0].threads, changed.matrix[0].precision) == ((2,), ("float64",))
    assert adjusted(suite, Adjustments()) == suite
    with pytest.raises(SuiteError, match="unknown precision"):
        adjusted(suite, Adjustments(precision="float31"))


def test_quick_keeps_the_smallest_batch_and_few_rounds(write) -> None:
    quick = adjusted(load_suite(write(GOOD)), Adjustments(quick=True))
    assert quick.matrix[0].batch == (1,)
    assert quick.measure.latency is not None
    assert (quick.measure.latency.launches, quick.measure.latency.rounds) == (1, 3)
    assert quick.train is not None
    assert quick.train.epochs == 1


def test_thorough_is_a_key_of_the_suite_and_an_option(write) -> None:
    plain = load_suite(write(GOOD))
    assert not plain.checks.thorough
    assert adjusted(plain, Adjustments(thorough=True)).checks.thorough
    assert adjusted(plain, Adjustments(thorough=True)).checks.names == plain.checks.names
    assert load_suite(write(GOOD), ["checks.thorough=true"]).checks.thorough


def numbers(schema: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every number that the schema of a suite allows, with its place."""
    if isinstance(schema, dict):
        if schema.get("type") in ("number", "integer"):
            yield place, schema
        for key, value in schema.items():
            yield from numbers(value, f"{place}.{key}")
    elif isinstance(schema, list):
        for value in schema:
            yield from numbers(value, place)


def test_every_number_of_a_suite_has_a_largest_value() -> None:
    found = dict(numbers(Suite.model_json_schema()))

    assert len(found) > 30
    assert not [place for place, schema in found.items() if not {"maximum", "exclusiveMaximum", "const"} & set(schema)]


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1e300", "1e400"])
@pytest.mark.parametrize(
    "path",
    [
        "timeouts.call_s", "timeouts.start_s", "measure.budget_s", "measure.latency.max_round_s",
        "measure.latency.warmup.tolerance", "measure.latency.sequential.budget_s", "gates.latency.threshold",
        "gates.latency.min_change_s", "gates.memory.threshold", "gates.accuracy.margin",
        "gates.numerics.max_budget_used", "gates.confidence", "gates.false_discovery_rate", "train.learning_rate",
    ],
)  # fmt: skip
def test_what_is_not_finite_or_has_no_use_is_refused_where_it_stands(write, path: str, value: str) -> None:
    overrides = ["train={architectures: lenet5}"] if path.startswith("train") else []
    overrides += ["measure.latency.sequential={max_launches: 9}"] if "sequential" in path else []
    with pytest.raises(CnnbenchError) as caught:
        load_suite(write(GOOD), [*overrides, f"{path}={value}"])
    assert path in str(caught.value)


@pytest.mark.parametrize("value", [".inf", "[0.9, .nan]", "{a: -.inf}"])
@pytest.mark.parametrize("part", ["optimizer", "loss", "schedule"])
def test_rates_of_components_are_finite(write, part: str, value: str) -> None:
    with pytest.raises(SuiteError, match="a finite number for rate"):
        load_suite(write(GOOD), [f"train={{architectures: lenet5, {part}: {{kind: x, rate: {value}}}}}"])


@pytest.mark.parametrize(
    "option", [{"timeout_s": math.inf}, {"timeout_s": math.nan}, {"timeout_s": 1e30}, {"timeout_s": 0.0},
               {"seed": 10**30}, {"seed": -1}, {"threads": 10**12}, {"threads": 0}]
)  # fmt: skip
def test_options_have_the_bounds_of_the_suite(option: dict[str, Any]) -> None:
    with pytest.raises(SuiteError) as caught:
        Adjustments.of(**option)
    assert caught.value.where == next(iter(option))
    assert caught.value.expected


def test_references_to_own_models_are_names_of_networks(write, tmp_path: Path) -> None:
    """As they stand, too: those into files from the suite's folder, those into modules as they are."""
    text = GOOD.replace("[lenet5, resnet20]", "['nets.py:tiny', 'file:nets.py:small', 'own.zoo:net', lenet5]")
    names = load_suite(write(text)).matrix[0].architectures
    assert names == (f"file:{tmp_path}/nets.py:tiny", f"file:{tmp_path}/nets.py:small", "own.zoo:net", "lenet5")


@pytest.mark.parametrize(
    ("exclusion", "message"),
    [
        ("{backend: torhc}", "no cell of the block has the backend 'torhc'"),
        ("{backend: [numpy, torhc]}", "did you mean 'torch'"),
        ("{batch: 16}", "no cell of the block has the batch 16"),
        ("{image: 48}", "no cell of the block has the image"),
        ("{backend: numpy, batch: 4}", "no cell of the block has all that is to be left out together"),
    ],
)
def test_an_exclusion_that_leaves_nothing_out_is_refused(write, exclusion, message) -> None:
    text = """schema_version: 1
name: s
matrix:
  architectures: lenet5
  backends: [numpy, torch]
  batch: [1, 8]
  include: [{backends: torch, batch: 4}]
  exclude: [%s]
"""
    with pytest.raises(SuiteError, match=r":8:\d+") as raised:
        load_suite(write(text % exclusion))
    assert message in str(raised.value)
    allowed = load_suite(write(text % "{backend: numpy, batch: 8}, {batch: 4}, {image: 32, backend: torch}"))
    assert len(adjusted(allowed, Adjustments(quick=True)).matrix[0].exclude) == 3  # however few batches are left
