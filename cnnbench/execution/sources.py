"""The sources of plugins' code as one digest: of their modules, and of what these import from beside them.

For example, of a plugin ``my_layers.py`` that imports ``my_maths.py``, both files count; of NumPy, which it imports
too, the version does.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache, partial
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from cnnbench import registry

OWN = frozenset({"cnnbench", "cnnbench_numpy"})  # their sources are in the oracle's key in any case
LIBRARY_FILES = 60  # of a larger package among the installed ones, its version stands for all
WITHOUT_FILE = " (in memory)"
LARGE_BYTES = 1 << 20  # a larger file counts by its size and time
_IMPORT = re.compile(r"""^[ \t]*(?:from[ \t]+(\w+)[\w.]*[ \t]+import\b|import[ \t]+([\w., \t]+))""", re.MULTILINE)
_BY_NAME = re.compile(r"""(?:import_module|__import__)\(\s*["'](\w+)""")
CODE = (".py", ".pyi", ".pyx", ".so", ".pyd", ".dylib", ".dll")


def module_of(item: object) -> str:
    """The top-level module in which the code of a module, a function, a class or another value stands."""
    while isinstance(item, partial):
        item = item.func
    if isinstance(item, ModuleType):
        return item.__name__.partition(".")[0]
    return str(getattr(item, "__module__", None) or type(item).__module__).partition(".")[0]


@cache
def plugin_digest() -> str:
    """Of all code that plugins bring into this process: backends, ops, kinds and whatever else."""
    plugins = [plugin for _, plugin in registry.plugin_manager().list_name_plugin() if plugin is not None]
    return digest({module_of(item) for item in (*plugins, *registry.layer_kinds().values())} - OWN)


def digest(modules: Iterable[str], state: str = "") -> str:
    """SHA-256 of the sources of top-level modules and of all that they import from beside them.

    Code that has no file, or was changed after this process had begun, may be another here than on disk. What is made
    by it is this process' own, and so is the digest.

    Args:
        modules: Top-level names.
        state: Where the code has been replaced in this process, what distinguishes it from what it was before.
    """
    total = hashlib.sha256(sys.version.encode())
    own = f"{os.getpid()} {_began()} {state}".encode()
    for name, path in sorted(_files(modules), key=lambda item: (item[0], str(item[1]))):
        total.update(f"{name}\0".encode() + (_content(path) if path is not None else b""))
        if name.endswith(WITHOUT_FILE) or (path is not None and _is_newer(path)):
            total.update(own)
    if state:
        total.update(own)
    return total.hexdigest()


@cache
def own_digest() -> str:
    """Of the core's code and the reference's: a checkout that was edited still says the version that it had."""
    return files_digest(Path(folder) for top in sorted(OWN) for folder in _place(top)[0])


def files_digest(folders: Iterable[Path]) -> str:
    """SHA-256 of all Python files in folders, each with its path below its folder and that folder's name."""
    total = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            total.update(f"{folder.name}/{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    return total.hexdigest()


def _version(top: str) -> str:
    """Of an installed package: its distribution's, where that is called alike, and else its first file's time."""
    try:
        return version(top)
    except PackageNotFoundError:
        origin = _place(top)[1]
        return str(origin.stat().st_mtime_ns) if origin is not None else ""


def _files(modules: Iterable[str]) -> Iterator[tuple[str, Path | None]]:
    """(name, file) of everything that counts; None for what the name says all of."""
    asked = set(modules)
    waiting, seen = sorted(asked), set(asked)
    while waiting:
        top = waiting.pop()
        if top in sys.stdlib_module_names or top in OWN:
            continue
        found = _of_module(top)
        files = list(islice(found, LIBRARY_FILES + 1))
        if not files and top in asked:
            yield f"{top}{WITHOUT_FILE}", None
        if top not in asked and any(_is_installed(path) for path in files[:1]):
            if len(files) > LIBRARY_FILES:
                files = []
                yield f"{top} {_version(top)}", None
        else:
            files += found
            names = {name for path in files for name in _imported(path)} - seen
            seen |= names
            waiting += sorted(names)
        yield from ((f"{top}/{path.name}", path) for path in files)


def _of_module(top: str) -> Iterator[Path]:
    """The files of a package with its data, or a single module with the files beside it that it names."""
    folders, origin = _place(top)
    for start in folders:
        for where, inside, names in os.walk(start):
            inside[:] = sorted(name for name in inside if name != "__pycache__" and not name.startswith("."))
            yield from (Path(where) / name for name in sorted(names))
    if origin is not None and not folders:
        yield origin
        text = _text(origin)
        if not _is_installed(origin) and origin.parent.is_dir():
            yield from (
                p for p in sorted(origin.parent.iterdir()) if p.suffix != ".py" and p.name in text and p.is_file()
            )


def _place(top: str) -> tuple[tuple[str, ...], Path | None]:
    """A module's folders, where it is a package, and its file; neither of what is not there."""
    loaded: Any = sys.modules.get(top)
    spec: ModuleSpec | None = getattr(loaded, "__spec__", None)
    if spec is None:
        if file := getattr(loaded, "__file__", None):  # a script
            return (), Path(file)
        try:
            spec = find_spec(top)
        except (ImportError, ValueError):
            return (), None
    if spec is None:
        return (), None
    found = Path(spec.origin) if spec.has_location and spec.origin else None
    return tuple(spec.submodule_search_locations or ()), found


def _imported(path: Path) -> set[str]:
    """The top-level modules that a source imports, anywhere in it."""
    text = _text(path)
    names = {match[1] for match in _IMPORT.finditer(text) if match[1]} | set(_BY_NAME.findall(text))
    for match in _IMPORT.finditer(text):
        names |= {part.split()[0].partition(".")[0] for part in (match[2] or "").split(",") if part.strip()}
    return names


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.suffix == ".py" else ""
    except OSError:
        return ""


@cache
def _library_folders() -> tuple[str, ...]:
    import site
    import sysconfig

    named = (*site.getsitepackages(), site.getusersitepackages(), *map(sysconfig.get_path, ("purelib", "platlib")))
    return tuple({os.path.realpath(folder) + os.sep for folder in named})


def _is_installed(path: Path) -> bool:
    return os.path.realpath(path).startswith(_library_folders())


@cache
def _began() -> float:
    import psutil

    return float(psutil.Process().create_time())


def _is_newer(path: Path) -> bool:
    """Whether code was changed since this process began."""
    try:
        return path.suffix in CODE and path.stat().st_mtime > _began()
    except OSError:
        return True


def _content(path: Path) -> bytes:
    """What stands for a file: its digest, of a large one its size and time."""
    try:
        facts = path.stat()
        if facts.st_size > LARGE_BYTES:
            return f"{facts.st_size} {facts.st_mtime_ns}".encode()
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError as error:
        return str(error).encode()
