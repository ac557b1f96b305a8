"""The fixed lists: which cases there are, with the digest of their files, and which are skipped and why.

``core.txt`` and ``extended.txt`` hold one case a line: SHA-256 of its files, the operator that it is about, and its
folder in the data of the ``onnx`` package. ``skips.yaml`` holds reasons by case and by operator.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from cnnbench.errors import DataError
from cnnbench.spec.interchange.yaml_source import read_yaml

Group = Literal["core", "extended"]
GROUPS: tuple[Group, ...] = get_args(Group)
COUNTS: dict[Group, int] = {"core": 351, "extended": 565}


class ListedCase(NamedTuple):
    """A case that must be there.

    Args:
        name: Its folder in the package's data: ``node/test_add``.
        group: The list that it stands in.
        operator: What it is about.
        digest: SHA-256 of its files.
    """

    name: str
    group: Group
    operator: str
    digest: str


@cache
def listed(group: Group) -> tuple[ListedCase, ...]:
    """The cases of a list, by operator. Raises DataError where there are not as many as there must be."""
    text = (files(__package__) / f"{group}.txt").read_text(encoding="utf-8")
    rows = [line.split() for line in text.splitlines() if line]
    cases = tuple(ListedCase(name, group, operator, digest) for digest, operator, name in rows)
    if len({case.name for case in cases}) != COUNTS[group]:
        raise DataError(f"the {group} list is not whole", received=len(cases), expected=COUNTS[group])
    return cases


def skip_reason(case: ListedCase) -> str | None:
    """Why a case is not run, or None."""
    by_case, by_operator = skips()
    return by_case.get(case.name) or by_operator.get(case.operator)


@cache
def skips() -> tuple[dict[str, str], dict[str, str]]:
    """The reasons by case and by operator."""
    data = read_yaml(Path(str(files(__package__) / "skips.yaml")), error=DataError).data
    return dict(data["cases"] or {}), dict(data["operators"] or {})
