"""The -k expressions, held against Python's own evaluation of the same logic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbench.errors import SuiteError
from cnnbench.harness.suite.selection import compile_expression

WORDS = ("alpha", "beta", "gamma")


@pytest.mark.parametrize(
    ("expression", "identifier", "expected"),
    [
        ("resnet", "resnet18-torch-eager-b1", True),
        ("RESNET18 and Torch", "resnet18-torch-eager-b1", True),
        ("not jax", "resnet18-torch-eager-b1", True),
        ("jax or b1", "resnet18-torch-eager-b1", True),
        ("resnet18 and not (torch or jax)", "resnet18-torch-eager-b1", False),
        ("3x224x224-float32", "resnet18-torch-eager-b1-3x224x224-float32", True),
    ],
)
def test_words_match_parts_of_the_id(expression: str, identifier: str, expected: bool) -> None:
    assert compile_expression(expression)(identifier) is expected


def expressions() -> st.SearchStrategy[str]:
    return st.recursive(
        st.sampled_from(WORDS),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
            inner.map(lambda text: f"not {text}"),
            inner.map(lambda text: f"({text})"),
        ),
        max_leaves=8,
    )


@given(expressions(), st.sets(st.sampled_from(WORDS)))
def test_precedence_is_pythons(expression: str, present: set[str]) -> None:
    expected = eval(expression, {word: word in present for word in WORDS})
    assert compile_expression(expression)("-".join(sorted(present))) is bool(expected)


@pytest.mark.parametrize("expression", ["", "and", "a and", "a b", "(a", "a)", "not", "a or or b", "()"])
def test_what_does_not_parse_is_an_error(expression: str) -> None:
    with pytest.raises(SuiteError):
        compile_expression(expression)
