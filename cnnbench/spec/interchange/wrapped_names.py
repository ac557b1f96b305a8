"""Finds the names of a network among those of a file that has them under prefixes of wrappers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnbench.errors import DataError
from cnnbench.spec.interchange.state_dict_names import translated
from cnnbench.spec.layers import Shape

if TYPE_CHECKING:
    from cnnbench.spec.weights import Arrays

# What PyTorch puts before the names of a module that it wraps, at any depth: DataParallel and AveragedModel,
# torch.compile, FSDP, activation checkpointing.
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
SHOWN = 6


@dataclass(frozen=True)
class FoundNames:
    """The arrays of a file by the names of the network.

    Args:
        names: Ours by those of the file; a name that is not the network's stays as it is.
        dialect: Whose names they are, ``""`` for the network's own.
        prefix: What stood before every name.
        aside: What the file holds beside that prefix.
    """

    names: Mapping[str, str]
    dialect: str = ""
    prefix: str = ""
    aside: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What a user should know of it."""
        notes = [f"by {self.dialect}'s names"] if self.dialect else []
        if self.prefix:
            notes.append(f"by the names behind {self.prefix!r}")
        if self.aside:
            notes.append(f"left aside, as not behind {self.prefix!r}: {_listed(self.aside)}")
        return notes


def find_names(architecture: str, arrays: Arrays, expected: Mapping[str, Shape], enough: int, where: str) -> FoundNames:
    """The network's name for each array of a file, below whichever prefix gives most of them.

    Args:
        architecture: The network's name, which says whose names else to expect.
        arrays: By the file's names.
        expected: The shapes that the network expects, by its own names, what nodes share at each of them.
        enough: The number of arrays that the network has, each counted once.
        where: What messages call the file.

    Raises:
        DataError: Two names fall together without their wrappers, or two prefixes fit alike.
    """
    bare = _without_wrappers(arrays, expected, where)
    best = _below("", architecture, bare, expected)
    if _hits(best, expected) >= enough:
        others = [name for name in _full_prefixes(bare.values(), expected) if _complete(name, bare, arrays, expected)]
        if others and _complete("", bare, arrays, expected):
            raise _several(["", *others], where)
        return best
    candidates = [_below(name, architecture, bare, expected) for name in _prefixes(bare.values(), enough)]
    own = _common_prefix(expected)
    if own:
        candidates.append(FoundNames({theirs: f"{own}{name}" for theirs, name in bare.items()}))
    most = max((_hits(item, expected) for item in candidates), default=0)
    if most <= max(_hits(best, expected), enough // 2):
        return best
    fitting = [item for item in candidates if _hits(item, expected) == most]
    by_shape = [item for item in fitting if _fits(item, arrays, expected)]
    if len(by_shape or fitting) > 1:
        raise _several([item.prefix for item in by_shape or fitting], where)
    return (by_shape or fitting)[0]


def _without_wrappers(names: Collection[str], expected: Collection[str], where: str) -> dict[str, str]:
    """Each name without the parts that wrappers add, but for those that the network's own names have."""
    own = {part for name in expected for part in name.split(".")}
    removed = [part for part in WRAPPERS if part not in own]
    bare: dict[str, str] = {}
    seen: dict[str, str] = {}
    for name in names:
        short = name if name in expected else ".".join(part for part in name.split(".") if part not in removed)
        if short in seen:
            longer = max(name, seen[short], key=len)
            part = next(part for part in longer.split(".") if part in removed)
            raise DataError(
                f"two names differ only in '{part}.'",
                where=where,
                received=f"{seen[short]} and {name}",
                remedy="keep one of the two in the file",
            )
        seen[short] = name
        bare[name] = short
    return bare


def _below(prefix: str, architecture: str, bare: Mapping[str, str], expected: Collection[str]) -> FoundNames:
    under = {theirs: name.removeprefix(prefix) for theirs, name in bare.items() if name.startswith(prefix)}
    dialect, names = translated(architecture, list(under.values()), expected)
    aside = tuple(theirs for theirs in bare if theirs not in under)
    return FoundNames({theirs: names[name] for theirs, name in under.items()}, dialect, prefix, aside)


def _hits(named: FoundNames, expected: Collection[str]) -> int:
    return len(set(named.names.values()) & set(expected))


def _fits(named: FoundNames, arrays: Arrays, expected: Mapping[str, Shape]) -> bool:
    return all(tuple(arrays[theirs].shape) == expected.get(name) for theirs, name in named.names.items())


def _prefixes(names: Collection[str], wanted: int) -> list[str]:
    """Every prefix of whole parts that at least half as many names have as are wanted."""
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        counts.update(".".join(parts[:n]) + "." for n in range(1, len(parts)))
    return [prefix for prefix, count in counts.items() if 2 * count >= wanted]


def _full_prefixes(names: Collection[str], expected: Collection[str]) -> list[str]:
    """The prefixes under which every name of the network stands."""
    return [
        prefix
        for prefix in _prefixes(names, 2 * len(expected))
        if all(f"{prefix}{name}" in names for name in list(expected)[:1])
    ]


def _complete(prefix: str, bare: Mapping[str, str], arrays: Arrays, expected: Mapping[str, Shape]) -> bool:
    shapes = {name: tuple(arrays[theirs].shape) for theirs, name in bare.items()}
    return bool(expected) and all(shapes.get(f"{prefix}{name}") == shape for name, shape in expected.items())


def _common_prefix(names: Collection[str]) -> str:
    """What all of the network's own names begin with, of whole parts and without any name's last one."""
    parts = [name.split(".")[:-1] for name in names]
    common = 0
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        common += 1
    # a network of one node keeps that node's name
    return ".".join(parts[0][:common]) + "." if parts and common and len({tuple(p) for p in parts}) > 1 else ""


def _several(prefixes: Sequence[str], where: str) -> DataError:
    return DataError(
        "the file holds the network's names more than once",
        where=where,
        received=", ".join(f"behind {prefix!r}" if prefix else "with no prefix" for prefix in prefixes),
        expected="one set of weights",
        remedy="save the one that is meant alone, and import that file",
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f", and {more} more" if more > 0 else "")
