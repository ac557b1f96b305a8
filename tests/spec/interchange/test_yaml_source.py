"""Strict YAML 1.2: values, places, and what a hostile or careless file gets."""

from __future__ import annotations

import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbench.errors import CnnbenchError, SpecError, SuiteError
from cnnbench.spec.interchange import yaml_source
from cnnbench.spec.interchange.yaml_source import read_yaml, read_yaml_text

TEXT = """\
# a comment
name: smoke
matrix:
  backends: [numpy, {name: torch, mode: eager}]
  batch:
    - 1
    - 8
eps: 1e-5
shared: &shared
  threads: 2
again: *shared
"""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E+3", 1000.0),
        (".5", 0.5),
        ("-1.", -1.0),
        ("12", 12),
        ("+12", 12),
        ("012", 12),
        ("0o14", 12),
        ("0xFF", 255),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("y", "y"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("0b11", "0b11"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("-.inf", -math.inf),
        (".INF", math.inf),
        ("1.0.0", "1.0.0"),
        ("e5", "e5"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text, value):
    found = read_yaml_text(f"key: {text}").data["key"]
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_one():
    assert math.isnan(read_yaml_text("key: .nan").data["key"])


def test_data_is_plain():
    assert read_yaml_text(TEXT).data == {
        "name": "smoke",
        "matrix": {"backends": ["numpy", {"name": "torch", "mode": "eager"}], "batch": [1, 8]},
        "eps": 1e-5,
        "shared": {"threads": 2},
        "again": {"threads": 2},
    }


def test_what_an_alias_stands_for_is_not_shared():
    data = read_yaml_text(TEXT).data
    data["again"]["threads"] = 99
    assert data["shared"]["threads"] == 2


@pytest.mark.parametrize(
    ("path", "key", "line", "column"),
    [
        ((), True, 2, 1),
        (("name",), True, 2, 1),
        (("name",), False, 2, 7),
        (("matrix", "backends"), True, 4, 3),
        (("matrix", "backends"), False, 4, 13),
        (("matrix", "backends", 0), True, 4, 14),
        (("matrix", "backends", 1, "mode"), True, 4, 35),
        (("matrix", "backends", 1, "mode"), False, 4, 41),
        (("matrix", "batch", 1), True, 7, 7),
        (("again", "threads"), False, 10, 12),
        (("matrix", "absent", "deeper"), True, 3, 1),
        (("nowhere",), True, 2, 1),
    ],
)
def test_every_part_knows_its_place(path, key, line, column):
    located = read_yaml_text(TEXT, "suites/smoke.yaml")
    assert located.position(path, key) == (line, column)
    assert located.where(path, key) == f"suites/smoke.yaml:{line}:{column}"


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("a: 1\nb: 2\na: 3", "the key 'a' is used twice", "3:1"),
        ("a: {b: 1, 'b': 2}", "the key 'b' is used twice", "1:11"),
        ("1: a", "a key is not a string", "1:1"),
        ("true: a", "a key is not a string", "1:1"),
        ("? [a]\n: b", "a key is not plain text", "1:3"),
        ("<<: {a: 1}", "merge keys", "1:1"),
        ("a: !!python/object/apply:os.system [ls]", "the tag is not known", "1:4"),
        ("a: !!binary aGk=", "the tag is not known", "1:4"),
        ("a: !mine {b: 1}", "the tag is not known", "1:4"),
        ("a: !!int '3'", "the tag is not known", "1:4"),
        ("a: *nowhere", "no complete anchor before it", "1:4"),
        ("a: &a [*a]", "no complete anchor before it", "1:8"),
        ("a: 1\n---\nb: 2", "a second document", "2:1"),
        ("%YAML 1.1\n---\na: on", "the YAML version is not supported", "2:1"),
        ("a: [1, 2", "not valid YAML", "1:9"),
        ("a: 'x", "not valid YAML", "1:6"),
        ("a:\n\t- b", "not valid YAML", "2:1"),
        ("a: b: c", "not valid YAML", "1:5"),
        ("a: 1e999", "too large for a float", "1:4"),
        ("a: " + "9" * 5000, "more than 40 characters", "1:4"),
    ],
)
def test_careless_and_hostile_files_are_refused_at_their_place(text, message, place):
    with pytest.raises(SuiteError, match=message) as caught:
        read_yaml_text(text, "suite.yaml")
    assert caught.value.where == f"suite.yaml:{place}"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "a: \x00", "a: \x1b[2J"])
def test_empty_files_and_control_characters_are_refused(text):
    with pytest.raises(SuiteError):
        read_yaml_text(text)


def test_deep_nesting_is_refused_soon():
    start = time.process_time()
    for text in ("[" * 100_000, "{a: " * 50_000, "- " * 100_000):
        with pytest.raises(SuiteError, match="nested deeper than 50 levels"):
            read_yaml_text(text)
    assert time.process_time() - start < 10


def test_aliases_cannot_make_a_small_file_large():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    with pytest.raises(SuiteError, match="more than 100000 values"):
        read_yaml_text("\n".join(lines))


def test_aliases_cannot_nest_deeper_than_text_can():
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 60)]
    with pytest.raises(SuiteError, match="nested deeper"):
        read_yaml_text("\n".join(lines))


def test_values_and_aliases_are_counted(monkeypatch):
    monkeypatch.setattr(yaml_source, "MOST_NODES", 10)
    monkeypatch.setattr(yaml_source, "MOST_ALIASES", 3)
    assert read_yaml_text("[a, a, a, a, a, a, a, a, a]").data == ["a"] * 9
    with pytest.raises(SuiteError, match="more than 10 values"):
        read_yaml_text("[a, a, a, a, a, a, a, a, a, a]")
    with pytest.raises(SuiteError, match="more than 3 aliases"):
        read_yaml_text("[&a a, *a, *a, *a, *a]")


def test_a_large_file_is_refused_before_it_is_parsed(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_text("a: " + "x" * 2**20)
    with pytest.raises(SuiteError, match="too large"):
        read_yaml(path)


def test_a_file_is_read_with_its_name_in_places(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: \xc3\xa9t\xc3\xa9\n")
    located = read_yaml(path)
    assert located.data == {"name": "été"}
    assert located.where(("name",)) == f"{path}:1:1"


@pytest.mark.parametrize("content", [b"name: \xff", b"\xfe\xff\x00a"])
def test_text_that_is_not_utf_8_is_refused(content, tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_bytes(content)
    with pytest.raises(SuiteError, match="not UTF-8"):
        read_yaml(path)


def test_a_missing_file_or_a_folder_is_refused(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(SuiteError, match="the file cannot be read"):
            read_yaml(path)


def test_the_caller_chooses_the_class_of_error():
    with pytest.raises(SpecError):
        read_yaml_text("a: [", error=SpecError)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1), children, max_size=3)
    ),
    max_leaves=8,
)


@given(plain)
def test_json_is_yaml(value):
    assert read_yaml_text(json.dumps({"value": value})).data == {"value": value}


@given(st.text(max_size=60) | st.text("ab:-[]{}&*!?|>'\"#%@,\n \t1", max_size=40))
def test_any_text_is_read_or_refused_with_our_own_error(text):
    error = refusal(text)
    assert error is None or error.where is not None


def refusal(text: str) -> CnnbenchError | None:
    """Our own error; any other would fail the test."""
    try:
        read_yaml_text(text)
    except CnnbenchError as error:
        return error
    return None
