"""docs/onnx.md: the operators, the skipped cases and the counts that it names are those that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cnnbench.conformance.onnx import lists
from cnnbench.execution.backends import backend_plugins

pytest.importorskip("onnx")

PAGE = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return re.split(r"^##+ ", PAGE.partition(f"# {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def test_it_lists_the_operators_with_the_versions_that_are_read():
    from cnnbench.spec.interchange.onnx_import import operators, versions_read

    rows = dict(re.findall(r"^\| `([\w.]+)` \| ([\d, ]+) \|$", section("Operators"), re.MULTILINE))
    found = {name: tuple(map(int, versions.split(", "))) for name, versions in rows.items()}
    assert found == versions_read(), "python docs/write_onnx.py"
    assert set(operators()) <= set(found)


def test_every_version_in_the_table_is_one_of_onnx_s():
    from cnnbench.spec.interchange.onnx_import import versions_read
    from cnnbench.spec.interchange.onnx_versions import history

    for name, versions in versions_read().items():
        domain, _, op = name.rpartition(".")
        assert versions, f"no version of {name} is read"
        assert set(versions) <= set(history()[domain, op])


def test_it_gives_every_reason_of_the_skip_list():
    by_case, by_operator = lists.skips()
    text = section("What is skipped")
    for name, reason in by_case.items():
        assert f"`{name.partition('/test_')[2]}`" in text
        assert reason.strip() in text
    for operator, reason in by_operator.items():
        count = sum(case.operator == operator for group in ("core", "extended") for case in lists.listed(group))
        assert f"| all {count} of `{operator}` | {reason} |" in text


def test_it_has_counts_for_every_backend():
    rows = re.findall(r"^\| (\w+) \| (\w+) \| (.*) \|$", section("ONNX's cases as a conformance suite"), re.MULTILINE)
    measured = {
        (name, mode): tuple(map(int, re.findall(r"\d+", rest))) for name, mode, rest in rows if name != "backend"
    }
    assert {name for name, _ in measured} == set(backend_plugins())
    for core_passed, core_skipped, extended_passed, extended_skipped in measured.values():
        assert core_passed + core_skipped == lists.COUNTS["core"]
        assert extended_passed + extended_skipped == lists.COUNTS["extended"]


@pytest.mark.parametrize("word", ["--core", "-k", "--mode", "--json", "--weights", "--image"])
def test_the_options_that_it_names_exist(word):
    from cnnbench.cli import conformance, options, predict

    source = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in (conformance, options, predict))
    assert word in source or f"/{word}" in source or word == "--weights"
