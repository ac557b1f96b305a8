"""The fixed lists of ONNX's cases: whole, unchanged, each with its data; and a runner that cannot pass on nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cnnbench.conformance.onnx import GROUPS, lists, load_cases, loader, skip_reason
from cnnbench.errors import DataError

pytest.importorskip("onnx")


def test_the_lists_hold_the_cases_that_the_design_counts():
    assert {group: len(lists.listed(group)) for group in GROUPS} == {"core": 351, "extended": 565}
    names = [case.name for group in GROUPS for case in lists.listed(group)]
    assert len(set(names)) == len(names)


def test_every_listed_case_is_on_disk_with_its_digest_and_data():
    for case in load_cases(GROUPS):
        assert list(case.folder.glob("test_data_set_*"))


def test_a_list_that_lost_a_line_is_refused(monkeypatch):
    monkeypatch.setitem(lists.COUNTS, "core", 352)
    lists.listed.cache_clear()
    try:
        with pytest.raises(DataError, match="the core list is not whole"):
            lists.listed("core")
    finally:
        lists.listed.cache_clear()


def test_an_empty_folder_of_data_is_refused(tmp_path):
    with pytest.raises(DataError, match="351 of 351 ONNX cases are missing") as raised:
        load_cases(data=tmp_path)
    assert "onnx==1.22.0" in str(raised.value)


def test_a_changed_case_is_refused(tmp_path):
    data = copied(tmp_path, "core")
    target = data / "node" / "test_relu" / "test_data_set_0" / "output_0.pb"
    content = bytearray(target.read_bytes())
    content[-1] ^= 1
    target.write_bytes(content)
    with pytest.raises(DataError, match="1 of 351 ONNX cases are changed") as raised:
        load_cases(data=data)
    assert raised.value.received == "node/test_relu"


def test_every_skip_names_a_listed_case_or_operator_and_has_a_reason():
    by_case, by_operator = lists.skips()
    cases = {case.name: case for group in GROUPS for case in lists.listed(group)}
    assert set(by_case) <= set(cases)
    assert set(by_operator) <= {case.operator for case in cases.values()}
    assert all(len(reason) > 20 for reason in (*by_case.values(), *by_operator.values()))


def test_one_core_case_is_excluded():
    skipped = [case.name for case in lists.listed("core") if skip_reason(case)]
    assert skipped == ["node/test_resize_downsample_scales_linear_align_corners"]


def copied(tmp_path: Path, group: str) -> Path:
    source = loader._package_data()
    for case in lists.listed(group):
        shutil.copytree(source / case.name, tmp_path / case.name)
    return tmp_path
