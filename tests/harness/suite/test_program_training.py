"""Training by programs in suites: which cells train by one, what is refused, and what makes two cells differ."""

from __future__ import annotations

import pytest

from cnnbench.errors import SuiteError
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.plan import plan

MATRIX = {"architectures": ["dcgan_generator_tiny", "lenet5"], "backends": ["numpy"], "batch": [1, 2]}


def planned(*programs, matrix=MATRIX, **more):
    suite = {"schema_version": 1, "name": "s", "matrix": matrix, "programs": list(programs), **more}
    return plan(Suite.model_validate(suite))


def test_cells_of_its_network_train_by_a_program_once_and_are_checked_so():
    cells = planned({"program": "dcgan_tiny"}, checks=["local"]).cells
    assert [(cell.architecture, cell.batch, cell.train, cell.program, cell.checks) for cell in cells] == [
        ("dcgan_generator_tiny", 1, True, "dcgan_tiny", ("local", "program")),
        ("dcgan_generator_tiny", 2, False, "dcgan_tiny", ()),
        ("lenet5", 1, False, None, ("local",)),
        ("lenet5", 2, False, None, ()),
    ]


def test_a_single_program_may_stand_without_a_list():
    suite = {"schema_version": 1, "name": "s", "matrix": MATRIX, "programs": {"program": "dcgan_tiny", "rounds": 7}}
    assert Suite.model_validate(suite).programs[0].rounds == 7


@pytest.mark.parametrize("change", [{"rounds": 5}, {"learning_rate": 0.1}, {"data": "random"}, {"train_images": 9}])
def test_another_training_is_another_cell(change):
    first, other = (planned({"program": "dcgan_tiny", **more}).cells[0] for more in ({}, change))
    assert first.key != other.key


def test_a_program_is_made_for_the_image_of_its_cell():
    matrix = {**MATRIX, "architectures": "ddpm_unet_tiny", "image": [[1, 8, 8]]}
    cell = planned({"program": "ddpm_tiny"}, matrix=matrix).cells[0]
    assert (cell.program, cell.image) == ("ddpm_tiny", (1, 8, 8))


WRONG = {
    "an unknown program": ([{"program": "dcgan"}], {}, "unknown training program 'dcgan'(.|\n)*dcgan_tiny"),
    "not in the matrix": ([{"program": "ddpm_tiny"}], {}, "trains ddpm_unet_tiny, which is not in the matrix"),
    "twice": ([{"program": "dcgan_tiny"}] * 2, {}, "dcgan_generator_tiny is trained twice"),
    "in both ways": (
        [{"program": "dcgan_tiny"}],
        {"train": {"architectures": "dcgan_generator_tiny"}},
        "dcgan_generator_tiny is trained twice(.|\n)*train, dcgan_tiny",
    ),
    "an unknown dataset": ([{"program": "dcgan_tiny", "data": "digit"}], {}, "unknown dataset 'digit'"),
    "a dataset that it does not read": (
        [{"program": "dcgan_tiny", "data": {"a": "digits"}}],
        {},
        r"reads other datasets(.|\n)*\['data'\]",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_is_refused_with_its_place(what):
    programs, more, message = WRONG[what]
    with pytest.raises(SuiteError, match=message) as caught:
        planned(*programs, **more)
    assert "programs" in str(caught.value.where)
