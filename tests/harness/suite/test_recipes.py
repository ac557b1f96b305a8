"""Recipes: several ways to train in one suite, each in cells of its own that are told apart by content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cnnbench.errors import SuiteError
from cnnbench.execution import backends
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.file import Adjustments, adjusted, load_suite
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.plan import Filters, Plan, plan, two_sided
from cnnbench.harness.suite.trainings import loop_settings, training_units

RECIPES = [
    {"optimizer": "sgd", "schedule": ["constant", "cosine"]},
    {"name": "other", "optimizer": "adam", "learning_rate": [0.01, 0.001], "epochs": 2},
]


def suite(recipes: Any = RECIPES, backends: Any = ("numpy", "torch"), **more: Any) -> Suite:
    matrix = {"architectures": ["lenet5", "resnet20"], "backends": list(backends), "data": "digits"}
    matrix |= more.pop("matrix", {})
    train = {"architectures": "lenet5", "recipes": recipes} | more.pop("train", {})
    return Suite.model_validate({"schema_version": 1, "name": "s", "matrix": matrix, "train": train, **more})


def trained(result: Plan) -> list[Cell]:
    return [cell for cell in result.cells if cell.train]


def test_each_recipe_is_a_cell_of_each_backend_with_a_readable_name() -> None:
    cells = plan(suite()).cells
    work = "b1-1x32x32-float32-digits"
    assert [cell.id for cell in cells if cell.architecture == "lenet5"] == [
        f"lenet5-{recipe}-{series}-{work}"
        for recipe in ("sgd-constant", "sgd-cosine", "other-0.01", "other-0.001")
        for series in ("numpy-fast", "torch-eager")
    ]
    assert [cell.recipe for cell in cells if cell.architecture == "resnet20"] == [None, None]


def test_recipes_have_keys_of_their_own_and_one_comparison_group() -> None:
    cells = trained(plan(suite(backends=["numpy"])))
    for name in ("key", "program_key", "training_group", "training_key", "recipe_digest"):
        assert len({getattr(cell, name) for cell in cells}) == 4, name
    for name in ("network_key", "comparison_group", "forward_key", "group"):
        assert len({getattr(cell, name) for cell in cells}) == 1, name


def test_two_backends_of_one_recipe_train_alike() -> None:
    cells = trained(plan(suite()))
    assert [a.training_group == b.training_group for a, b in zip(cells[::2], cells[1::2], strict=True)] == [True] * 4


def test_a_recipe_is_known_by_its_settings_and_not_by_its_name() -> None:
    one = trained(plan(suite({"name": "one", "optimizer": "adam"})))
    two = trained(plan(suite({"name": "two", "optimizer": {"kind": "adam"}, "learning_rate": 0.05})))
    changed = trained(plan(suite({"name": "one", "optimizer": {"kind": "adam", "beta1": 0.8}})))
    for first, second, third in zip(one, two, changed, strict=True):
        assert first.id != second.id
        assert (first.key, first.training_key, first.recipe_digest) == (
            second.key, second.training_key, second.recipe_digest,
        )  # fmt: skip
        assert not {first.key, first.training_key, first.recipe_digest} & {
            third.key, third.training_key, third.recipe_digest,
        }  # fmt: skip


def test_a_recipe_asks_for_the_same_as_a_suite_that_trains_in_that_way_alone() -> None:
    alone = suite(recipes=[], train={"optimizer": "adam", "learning_rate": 0.01, "epochs": 2})
    (found,) = {cell.key for cell in trained(plan(suite())) if cell.recipe == "other-0.01"} & {
        cell.key for cell in trained(plan(alone)) if cell.backend == "numpy"
    }
    assert found
    assert [cell.recipe_digest for cell in trained(plan(alone))] == [None, None]


def test_keys_of_suites_without_recipes_are_those_of_earlier_versions() -> None:
    shipped = plan(load_suite(Path(__file__).parents[3] / "suites" / "lenet.yaml"))
    assert {cell.backend: cell.key for cell in shipped.cells if cell.train} == {
        "numpy": "64da9c06a24e6d68",
        "torch": "49170834cdc01f51",
        "jax": "fd354cd5b62a4ace",
        "tensorflow": "1542749b97e0bf17",
    }


def test_what_two_recipes_ask_alike_is_one_cell() -> None:
    assert len(trained(plan(suite([{"optimizer": "adam"}, {"name": "again", "optimizer": "adam"}])))) == 2


def test_recipes_of_one_name_are_numbered() -> None:
    rules = [{"optimizer": "sgd"}, {"optimizer": {"kind": "sgd", "nesterov": True}}, {"name": "SGD", "epochs": 9}]
    assert [cell.recipe for cell in trained(plan(suite(rules, ["numpy"])))] == ["sgd", "sgd-2", "SGD-3"]


def test_augmentations_are_named_by_what_they_do() -> None:
    ways = [{}, {"flip": True}, {"flip": True, "crop_padding": 2, "cutout": 4}]
    cells = trained(plan(suite({"name": "a", "augmentation": ways}, ["numpy"])))
    assert [cell.recipe for cell in cells] == ["a-plain", "a-flip", "a-flip_crop_cutout"]


def test_a_program_is_timed_once_and_checked_for_each_recipe() -> None:
    cells = trained(plan(suite(backends=["numpy"], checks=["end_to_end", "training"])))
    assert [cell.measure for cell in cells] == [("latency", "memory"), (), (), ()]
    assert [cell.checks for cell in cells] == [("end_to_end", "training")] * 4


def test_further_batches_are_timed_and_not_trained_again() -> None:
    cells = plan(suite(backends=["numpy"], matrix={"architectures": "lenet5", "batch": [1, 8]})).cells
    assert [(cell.recipe, cell.batch, cell.train, bool(cell.measure)) for cell in cells] == [
        ("sgd-constant", 1, True, True),
        ("sgd-cosine", 1, True, False),
        ("other-0.01", 1, True, False),
        ("other-0.001", 1, True, False),
        ("sgd-constant", 8, False, True),
    ]


def test_a_backend_that_does_not_train_has_one_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict(backends.backend_plugins())
    known["torch"] = replace(known["torch"], trains=False)
    monkeypatch.setattr(backends, "backend_plugins", lambda: known)
    cells = [cell for cell in plan(suite()).cells if cell.architecture == "lenet5"]
    assert [(cell.backend, cell.recipe) for cell in cells if not cell.train] == [("torch", None)]
    assert len(cells) == 5


def test_a_matrix_too_large_for_its_recipes_is_refused_before_it_is_expanded() -> None:
    rates = [i / 100 for i in range(1, 201)]
    asked = suite({"optimizer": "sgd", "learning_rate": rates}, matrix={"batch": list(range(1, 300))})
    with pytest.raises(SuiteError, match="239,200 cells"):
        plan(asked)
    with pytest.raises(ValueError, match="at most 200 recipes, not 201"):
        suite({"optimizer": "sgd", "learning_rate": [*rates, 3.0]})


def test_a_recipe_can_be_chosen_and_trains_in_whichever_cell_is_left() -> None:
    asked = suite(backends=["numpy"], matrix={"batch": [1, 8]})
    (cell,) = plan(asked, Filters(expression="sgd-cosine and b8")).cells
    assert (cell.recipe, cell.train, cell.measure) == ("sgd-cosine", True, ("latency", "memory"))


def test_shards_keep_the_recipes_of_a_network_together() -> None:
    shards = [plan(suite(), Filters(shard=(i, 2))).cells for i in (1, 2)]
    assert [{cell.architecture for cell in cells} for cells in shards] == [{"lenet5"}, {"resnet20"}]


def test_both_sides_of_a_comparison_train_every_recipe() -> None:
    cells = trained(two_sided(plan(suite(backends=["numpy"]))))
    assert len(cells) == 8
    assert len({cell.training_key for cell in cells}) == 8


def test_a_cell_finds_its_settings_by_their_digest() -> None:
    asked = suite(backends=["numpy"])
    found = {cell.recipe: loop_settings(cell, asked) for cell in trained(plan(asked))}
    said = {name: (way.optimizer.kind, way.schedule.kind, way.learning_rate, way.epochs) for name, way in found.items()}
    assert said == {
        "sgd-constant": ("sgd", "constant", 0.05, 3),
        "sgd-cosine": ("sgd", "cosine", 0.05, 3),
        "other-0.01": ("adam", "constant", 0.01, 2),
        "other-0.001": ("adam", "constant", 0.001, 2),
    }  # fmt: skip
    assert [training_units(cell, asked) for cell in trained(plan(asked))] == [3, 3, 2, 2]


def test_a_quick_run_trains_one_epoch_of_each_recipe() -> None:
    quick = adjusted(suite(backends=["numpy"]), Adjustments(quick=True))
    assert [training_units(cell, quick) for cell in trained(plan(quick))] == [1] * 4


FILE = """\
schema_version: 1
name: s
matrix: {architectures: lenet5, backends: numpy}
train:
  architectures: lenet5
  recipes:
    - optimizer: [sgd, adm]
    - {optimizer: sgd, augmentation: {mixup: 0.2}}
"""


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("", "", "7:24", "unknown optimizer 'adm'"),
        ("adm", "{kind: adam, beta: 1}", "7:24", "adam"),
        ("optimizer: sgd,", "optimiser: sgd,", "8:8", "unknown key 'optimiser' in train.recipes.1"),
        ("[sgd, adm]", "sgd", "8:7", "mixup makes probabilities"),
        ("[sgd, adm]\n    - {optimizer: sgd,", "lbfgs\n    - {optimizer: lbfgs,", "8:7", "compares gradients"),
        ("[sgd, adm]", "[]", "7:18", "optimizer"),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_refused_with_its_place(tmp_path: Path, old: str, new: str, place: str, message: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(FILE.replace(old, new))
    if message == "compares gradients":
        path.write_text(FILE.replace(old, new).replace("mixup: 0.2", "flip: true"))
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    assert message in str(caught.value)
    assert f"suite.yaml:{place}" in str(caught.value)
