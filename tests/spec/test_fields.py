"""Fields from plain data: names and types by the annotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.spec.fields import checked, construct


@dataclass(frozen=True, kw_only=True)
class Thing:
    count: int
    rate: float = 0.5
    flag: bool = False
    mode: Literal["up", "down"] = "up"
    sizes: int | tuple[int, ...] | None = None
    pairs: tuple[tuple[int, int], ...] = ()
    label: str = ""
    anything: Any = None


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ({"rate": 1}, {"rate": 1.0}),
        ({"sizes": [1, 2]}, {"sizes": (1, 2)}),
        ({"sizes": None}, {"sizes": None}),
        ({"pairs": [[1, 2], [3, 4]]}, {"pairs": ((1, 2), (3, 4))}),
        ({"count": np.int64(3)}, {"count": 3}),
        ({"rate": np.float32(0.25)}, {"rate": 0.25}),
        ({"anything": {"a": [1]}}, {"anything": {"a": [1]}}),
    ],
)
def test_plain_values_become_exactly_the_declared_types(given, held):
    thing = construct(Thing, "thing", {"count": 1, **given})
    for name, value in held.items():
        assert getattr(thing, name) == value
        assert type(getattr(thing, name)) is type(value)
    assert checked(thing) is thing


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"count": True}, "an integer"),
        ({"count": 1.0}, "an integer"),
        ({"rate": "fast"}, "a finite number"),
        ({"rate": float("nan")}, "a finite number"),
        ({"rate": True}, "a finite number"),
        ({"flag": 1}, "true or false"),
        ({"mode": "left"}, "'up', 'down'"),
        ({"sizes": [1, "2"]}, "an integer or a list, each an integer or nothing"),
        ({"pairs": [[1, 2, 3]]}, "a list, each [an integer, an integer]"),
        ({"label": 3}, "a string"),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_field(given, expected):
    (name,) = given
    with pytest.raises(SpecError, match=f"^{name} is not valid") as caught:
        construct(Thing, "thing", {"count": 1, **given})
    assert caught.value.expected == expected


def test_unknown_and_missing_fields_are_named():
    with pytest.raises(SpecError, match="thing has no field 'coumt'") as caught:
        construct(Thing, "thing", {"coumt": 1})
    assert caught.value.remedy == "did you mean 'count'?"
    with pytest.raises(SpecError, match="thing lacks count"):
        construct(Thing, "thing", {})


def test_checked_mends_what_python_callers_give():
    assert checked(Thing(count=1, rate=2, sizes=[3])) == Thing(count=1, rate=2.0, sizes=(3,))
    with pytest.raises(SpecError, match="flag is not valid"):
        checked(Thing(count=1, flag=1))
