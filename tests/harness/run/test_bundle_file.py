"""The bundle's file: the same bytes each time, and nothing in it is believed unseen."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnbench.errors import DataError
from cnnbench.harness.run import bundle_file
from cnnbench.harness.run.bundle import portable
from cnnbench.harness.run.bundle_file import MANIFEST, Manifest, digests, read_bundle, write_bundle

MEMBERS = {"plan.json": b"{}\n", "cells/a-1.x/record.json": b"[]", "attachments/0.yaml": b"nodes: []\n"}


def manifest(members: dict[str, bytes]) -> Manifest:
    return Manifest(
        cnnbench="0.1.0", suite="s", run="r", finished_utc="2026-01-01T00:00:00Z", members=digests(members),
        attachments={"file:attachments/0/net.yaml": "attachments/0.yaml"},
    )  # fmt: skip


def archive(path: Path, members: list[tuple[str, bytes]], given: dict[str, bytes] | None = None) -> Path:
    """An archive of any members at all, whose manifest speaks of ``given``."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(MANIFEST, manifest(MEMBERS if given is None else given).model_dump_json())
        for name, data in members:
            file.writestr(name, data)
    return path


def test_the_same_content_gives_the_same_file_and_comes_back(tmp_path: Path) -> None:
    first, second = tmp_path / "a.zip", tmp_path / "b.zip"
    one = write_bundle(first, manifest(MEMBERS), MEMBERS)
    two = write_bundle(second, manifest(MEMBERS), dict(reversed(MEMBERS.items())))
    assert first.read_bytes() == second.read_bytes()
    found = read_bundle(first)
    assert one == two == found.digest
    assert found.members == MEMBERS
    assert found.manifest == manifest(MEMBERS)


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "cells/../plan.json", "cells/a/../../x.json", "cells/a/stderr.log",
     "cells\\a\\record.json",
     "attachments/../0.yaml", "attachments/x.yaml", "cells/.hidden/record.json", "cells/", "C:/x", "plan.json\n"],
)  # fmt: skip
def test_a_name_that_no_bundle_has_is_refused_in_reading_and_writing(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "bad.zip", [*MEMBERS.items(), (name, b"x")])
    with pytest.raises(DataError, match="a member that no bundle has"):
        read_bundle(path)
    with pytest.raises(DataError, match="no place"):
        write_bundle(tmp_path / "new.zip", manifest(MEMBERS), {**MEMBERS, name: b"x"})
    assert [item.name for item in tmp_path.iterdir()] == ["bad.zip"]


def test_a_changed_member_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "bad.zip", list({**MEMBERS, "plan.json": b"{ }"}.items()))
    with pytest.raises(DataError, match="was changed after") as caught:
        read_bundle(path)
    assert "plan.json" in str(caught.value)


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({name: data for name, data in MEMBERS.items() if name != "plan.json"}, "is missing"),
        ({**MEMBERS, "lock.json": b"{}"}, "is not in the manifest"),
    ],
)
def test_members_and_manifest_must_agree(tmp_path: Path, members: dict[str, bytes], word: str) -> None:
    with pytest.raises(DataError, match=word):
        read_bundle(archive(tmp_path / "bad.zip", list(members.items())))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two members of one name"):
        read_bundle(archive(tmp_path / "bad.zip", [*MEMBERS.items(), ("plan.json", b"{}\n")]))


def test_an_attachment_must_be_there(tmp_path: Path) -> None:
    members = {name: data for name, data in MEMBERS.items() if not name.startswith("attachments")}
    with pytest.raises(DataError, match="an attachment is missing"):
        read_bundle(archive(tmp_path / "bad.zip", list(members.items()), members))


def test_a_bomb_is_refused_by_its_stated_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_file, "LARGEST_MEMBER_BYTES", 2**20)
    members = {**MEMBERS, "summary.json": b"\0" * (2**20 + 1)}
    path = archive(tmp_path / "bad.zip", list(members.items()), members)
    assert path.stat().st_size < 10_000
    with pytest.raises(DataError, match="too large"):
        read_bundle(path)
    monkeypatch.setattr(bundle_file, "LARGEST_MEMBER_BYTES", 2**30)
    monkeypatch.setattr(bundle_file, "LARGEST_TOTAL_BYTES", 2**20)
    with pytest.raises(DataError, match="too large"):
        read_bundle(path)


def test_a_member_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    members = {**MEMBERS, "summary.json": b"\0" * 100_000}
    path = archive(tmp_path / "bad.zip", list(members.items()), members)
    size = struct.pack("<I", 100_000)
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<I", 10)))
    with pytest.raises(DataError, match=r"as long as it states|cannot be read"):
        read_bundle(path)


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_file, "MOST_MEMBERS", 3)
    with pytest.raises(DataError, match="too many members"):
        read_bundle(archive(tmp_path / "bad.zip", list(MEMBERS.items())))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 but no more", b"\0" * 1000])
def test_what_is_no_archive_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.zip").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        read_bundle(tmp_path / "bad.zip")


def test_another_archive_and_a_missing_one_are_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("a.txt", "a")
    with pytest.raises(DataError, match="this is no bundle"):
        read_bundle(tmp_path / "other.zip")
    with pytest.raises(DataError, match="no such file"):
        read_bundle(tmp_path / "none.zip")


def test_a_manifest_of_another_version_is_told_with_its_place(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as file:
        file.writestr(MANIFEST, manifest({}).model_dump_json().replace('"schema_version":1', '"schema_version":2'))
    with pytest.raises(DataError, match="the manifest is damaged: schema_version"):
        read_bundle(tmp_path / "new.zip")


@settings(max_examples=200, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_no_flipped_byte_passes_unseen(tmp_path_factory: pytest.TempPathFactory, where: float, flip: int) -> None:
    path = tmp_path_factory.mktemp("flipped") / "bundle.zip"
    digest = write_bundle(path, manifest(MEMBERS), MEMBERS)
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= flip
    path.write_bytes(data)
    try:
        found = read_bundle(path)
    except DataError:
        return
    assert (found.digest, found.members) == (digest, MEMBERS)  # a time stamp or a permission, which nothing reads


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/opt/venv/bin/python", "…/python"),
        ("--dump=/tmp/a/b:/usr/lib/c", "--dump=…/b:…/c"),
        ("see file:///home/me/x.html", "see …/x.html"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("a/b and 1/2", "a/b and 1/2"),
    ],
)
def test_a_path_of_this_machine_keeps_its_last_part_only(text: str, expected: str) -> None:
    assert portable({"a": [text, 1]}) == {"a": [expected, 1]}
