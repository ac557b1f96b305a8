"""The file of a bundle: a zip archive with digests of all that is in it, always written alike, read with suspicion."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from cnnbench.errors import DataError
from cnnbench.harness.run.files import first_problem, write_atomically
from cnnbench.spec.frozen import Frozen

MANIFEST = "manifest.json"
MEMBER = re.compile(
    r"(suite\.resolved\.yaml|(plan|environment|lock|summary|gate)\.json"
    r"|cells/[A-Za-z0-9_][A-Za-z0-9_.+-]*/(record\.json|samples\.jsonl|numerics\.json)"
    r"|attachments/[0-9]+(\.[a-z0-9]{1,12})?)"
)
MOST_MEMBERS = 40_000
LARGEST_MEMBER_BYTES = 256 * 2**20
LARGEST_TOTAL_BYTES = 1024 * 2**20
_MOMENT = (1980, 1, 1, 0, 0, 0)  # the earliest that the format knows: when a bundle was made is no part of it


class Member(Frozen):
    """What the manifest says of a member."""

    sha256: str
    bytes: int = Field(ge=0)


class Manifest(Frozen):
    """What is in a bundle.

    Args:
        run: The bundled run. finished_utc: when it ended.
        members: Every other member with its digest.
        attachments: Networks and weights that the suite names as files: the name in the suite -> the member.
        left_out: Such files that are not packed, with the reason.
    """

    schema_version: Literal[1] = 1
    kind: Literal["cnnbench bundle"] = "cnnbench bundle"
    cnnbench: str
    suite: str
    run: str
    finished_utc: str
    members: dict[str, Member]
    attachments: dict[str, str] = Field(default_factory=dict)
    left_out: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class BundleFile:
    """The content of a bundle; ``digest`` is the SHA-256 of its manifest, and so of everything in it."""

    manifest: Manifest
    members: Mapping[str, bytes]
    digest: str


def digests(members: Mapping[str, bytes]) -> dict[str, Member]:
    """The manifest's entry of each member."""
    return {
        name: Member(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)) for name, data in sorted(members.items())
    }


def write_bundle(path: Path, manifest: Manifest, members: Mapping[str, bytes]) -> str:
    """Writes a bundle in one step and returns its digest. The same content gives the same file.

    Args:
        path: The file, which is replaced.
        manifest: What is in it, with the digest of each member.
        members: The bytes of each member by its name in the archive.
    """
    for name in members:
        if not MEMBER.fullmatch(name):
            raise DataError("a bundle has no place for this", received=name)
    head = (manifest.model_dump_json(indent=1) + "\n").encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in ((MANIFEST, head), *sorted(members.items())):
            info = zipfile.ZipInfo(name, _MOMENT)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            info.create_system = 3
            archive.writestr(info, data, compresslevel=9)
    write_atomically(path, buffer.getvalue())
    return hashlib.sha256(head).hexdigest()


def read_bundle(path: Path) -> BundleFile:
    """A bundle from its file; nothing of it is written anywhere.

    Raises:
        DataError: It is no bundle, a member has a name, a size or a digest that it must not have, or is missing.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path)
    except FileNotFoundError:
        raise DataError("there is no such file", where=str(path)) from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise DataError(f"the bundle cannot be read: {error}", where=str(path)) from None


def _read(archive: zipfile.ZipFile, path: Path) -> BundleFile:
    infos = archive.infolist()
    _check_directory(infos, path)
    found = {info.filename: _content(archive, info, path) for info in infos}
    head = found.pop(MANIFEST)
    try:
        manifest = Manifest.model_validate_json(head)
    except ValidationError as error:
        raise DataError(f"the manifest is damaged: {first_problem(error)}", where=f"{path}: {MANIFEST}") from None
    _check_members(manifest, found, path)
    return BundleFile(manifest, found, hashlib.sha256(head).hexdigest())


def _check_directory(infos: list[zipfile.ZipInfo], path: Path) -> None:
    """Names and stated sizes, before a byte is unpacked."""
    names = [info.filename for info in infos]
    if len(names) > MOST_MEMBERS:
        raise DataError("the bundle has too many members", where=str(path), received=len(names), expected=MOST_MEMBERS)
    if MANIFEST not in names:
        raise DataError("this is no bundle", where=str(path), expected=f"a zip archive with {MANIFEST}")
    for name in names:
        if name != MANIFEST and not MEMBER.fullmatch(name):
            raise DataError("the bundle has a member that no bundle has", where=str(path), received=repr(name[:200]))
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise DataError("the bundle has two members of one name", where=str(path), received=double)
    total = sum(info.file_size for info in infos)
    largest = max(infos, key=lambda info: info.file_size)
    if largest.file_size > LARGEST_MEMBER_BYTES or total > LARGEST_TOTAL_BYTES:
        raise DataError(
            "the bundle is too large",
            where=f"{path}: {largest.filename}",
            received=f"{largest.file_size} bytes of {total}",
            expected=f"at most {LARGEST_MEMBER_BYTES} bytes a member and {LARGEST_TOTAL_BYTES} in all",
        )


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    """A member's bytes; one that unpacks to more than it states is refused before it fills the memory."""
    with archive.open(info) as file:
        data = file.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise DataError("a member is not as long as it states", where=f"{path}: {info.filename}")
    return data


def _check_members(manifest: Manifest, found: Mapping[str, bytes], path: Path) -> None:
    """Every member is in the manifest, with its digest, and none is missing."""
    differing = sorted(found.keys() ^ manifest.members.keys())
    if differing:
        what = "is not in the manifest" if differing[0] in found else "is missing"
        raise DataError(f"a member {what}", where=f"{path}: {differing[0]}")
    for name, member in digests(found).items():
        stated = manifest.members[name]
        if member != stated:
            raise DataError(
                "a member was changed after the bundle was made",
                where=f"{path}: {name}",
                received=member.sha256,
                expected=stated.sha256,
                remedy="get the bundle again from whoever made it",
            )
    for name, member_name in manifest.attachments.items():
        if member_name not in found or not member_name.startswith("attachments/"):
            raise DataError("an attachment is missing", where=f"{path}: {member_name}", received=name)
