"""The direction of imports: read from the source of every module, so that no wall moves unseen."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest
from source import BACKENDS, CORE, ROOT, Import, circles, files, imported_modules, imports, top_level

FILES = files()
SOURCES = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}

# Within each package, a part may import those before it and itself; parts of one line do not know each other.
ORDER = {
    "cnnbench": (
        "addresses version",
        "errors",
        "spec",
        "offers",
        "hookspecs",
        "plugins",
        "registry",
        "execution",
        "measurement",
        "training",
        "numerics",
        "conformance porting",
        "views",
        "claims",  # that about styles is tried on a view
        "harness",
        "fuzzing",
        "gates",
        "output",
        "face",
        "testing",
        "cli pytest_plugin",
        "builtin __main__",  # builtin registers what every room ships; nothing imports it by name
    ),
    "cnnbench.harness": ("suite", "worker", "passes", "run"),
    "cnnbench.spec": (
        "content fields frozen streams",
        "layers",
        "graph narrow_floats",
        "draws",
        "composites",
        "passes",
        "equality meanings",
        "examples kinds masks weights",
        "initializers",
        "warm_start",
        "losses clipping",
        "update_rule",
        "quasi_newton",
        "optimizers serialization",
        "interchange architectures",
        "summary usage",
    ),
}
RANKS = {
    package: {part: rank for rank, parts in enumerate(order) for part in parts.split()}
    for package, order in ORDER.items()
}
PLANNED: set[str] = set()  # rooms that are not built yet
FRAMEWORKS = {"torch", "torchvision", "jax", "jaxlib", "flax", "optax", "tensorflow", "keras", "onnxruntime"}
BACKEND_MAY_IMPORT = {"errors", "hookspecs", "spec", "execution"}
OWN_FRAMEWORK = {
    "cnnbench_numpy": set(),
    "cnnbench_torch": {"torch"},
    "cnnbench_jax": {"jax", "jaxlib", "optax", "ml_dtypes"},
    "cnnbench_tensorflow": {"tensorflow", "h5py", "keras", "ml_dtypes"},
    "cnnbench_onnxruntime": {"onnxruntime", "onnx"},
}


def part(name: str, package: str) -> str | None:
    """Which part of a package a dotted name belongs to; None where it lies outside, or is the package itself."""
    if not name.startswith(f"{package}."):
        return None
    own = name.removeprefix(f"{package}.").partition(".")[0]
    return own if own in RANKS[package] else None


def package_of(name: str) -> str:
    return name if FILES[name].name == "__init__.py" else name.rpartition(".")[0]


@cache
def all_imports() -> dict[str, list[Import]]:
    """What each module imports; read by the first test that asks."""
    return {name: imports(text, package_of(name)) for name, text in SOURCES.items()}


CORE_MODULES = [name for name in FILES if name.partition(".")[0] == "cnnbench"]
BACKEND_MODULES = [name for name in FILES if name.partition(".")[0] != "cnnbench"]


def place(name: str, item: Import) -> str:
    return f"{FILES[name].relative_to(ROOT)}:{item.line}: imports {item.target}"


@pytest.mark.parametrize("package", ORDER)
def test_imports_go_one_way(package):
    """Those within functions and under TYPE_CHECKING count as well."""
    ranks = RANKS[package]
    wrong = []
    for name in FILES:
        if not name.startswith(f"{package}."):
            continue
        own = part(name, package)
        assert own is not None, f"{name} is new in {package}: give it its place in ORDER, and say so in docs/house.md"
        for item in all_imports()[name]:
            other = part(item.target, package)
            if other is not None and other != own and not ranks[other] < ranks[own]:
                wrong.append(place(name, item))
    assert not wrong


def test_the_package_itself_imports_only_its_version_until_a_name_of_it_is_used():
    at_once = [item.target for item in top_level(SOURCES["cnnbench"], "cnnbench") if not item.typing_only]
    assert {part(target, "cnnbench") for target in at_once} <= {"version", None}
    later = {part(item.target, "cnnbench") for item in all_imports()["cnnbench"]}
    assert not later & {"cli", "pytest_plugin", "builtin"}


def test_what_is_imported_is_there():
    """Nothing runs the imports that are for type checkers."""
    own = {name.partition(".")[0] for name in FILES}
    wrong = [
        place(name, item)
        for name, items in all_imports().items()
        for item in items
        if item.target.partition(".")[0] in own
        and item.target not in FILES
        and item.target.rpartition(".")[0] not in FILES
    ]
    assert not wrong


def test_no_modules_import_each_other_in_a_circle():
    shown = [", ".join(sorted(circle)) for circle in circles(imported_modules(SOURCES))]
    assert not shown, "circles: cut each at the import that points the wrong way"


def test_the_core_imports_no_framework_and_no_backend():
    forbidden = FRAMEWORKS | set(OWN_FRAMEWORK)
    wrong = [
        place(name, item)
        for name in CORE_MODULES
        for item in all_imports()[name]
        if item.target.partition(".")[0] in forbidden
    ]
    assert not wrong


def test_a_backend_imports_the_contract_and_its_own_framework():
    wrong = []
    for name in BACKEND_MODULES:
        own = name.partition(".")[0]
        allowed = {own, "numpy", *OWN_FRAMEWORK[own], *sys.stdlib_module_names}
        for item in all_imports()[name]:
            top = item.target.partition(".")[0]
            may = part(item.target, "cnnbench") in BACKEND_MAY_IMPORT if top == "cnnbench" else top in allowed
            if not may:
                wrong.append(place(name, item))
    assert not wrong


@pytest.mark.parametrize("name", [name for name in BACKEND_MODULES if name.endswith(".plugin")])
def test_a_backend_s_plugin_module_imports_no_framework_at_its_top(name):
    top = [item.target.split(".")[0] for item in top_level(SOURCES[name]) if not item.typing_only]
    assert not {"numpy", *OWN_FRAMEWORK[name.partition(".")[0]]} & set(top)


def test_the_pytest_plugin_imports_pytest_and_the_standard_library_only():
    top = [item.target.split(".")[0] for item in top_level(SOURCES["cnnbench.pytest_plugin"]) if not item.typing_only]
    assert set(top) <= {"pytest", "_pytest", *sys.stdlib_module_names}


def test_every_part_in_the_order_is_there():
    for package, ranks in RANKS.items():
        present = {
            name.removeprefix(f"{package}.").partition(".")[0] for name in FILES if name.startswith(f"{package}.")
        }
        assert set(ranks) - PLANNED == present


def test_every_file_is_read():
    assert set(FILES.values()) == {*CORE.rglob("*.py"), *BACKENDS.rglob("*.py")}
    assert FILES["cnnbench.spec.layers"] == Path(ROOT, "cnnbench", "spec", "layers", "__init__.py")


def test_the_reader_of_imports_sees_all_forms():
    """The tests above could not fail if it saw none."""
    text = (
        "import torch.nn as nn\n"
        "from cnnbench import harness\n"
        "from ..graph import model\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import jax\n"
        "def f():\n    from cnnbench.cli import main\n"
    )
    assert [tuple(item) for item in imports(text, "cnnbench.spec.layers")] == [
        ("torch.nn", 1, False),
        ("cnnbench.harness", 2, False),
        ("cnnbench.spec.graph.model", 3, False),
        ("typing.TYPE_CHECKING", 4, False),
        ("jax", 6, True),
        ("cnnbench.cli.main", 8, False),
    ]
    assert [item.line for item in top_level(text)] == [1, 2, 3, 4, 6]
    assert part("cnnbench.harness", "cnnbench") == "harness"
    assert part("cnnbench.harness", "cnnbench.harness") is None
    assert part("cnnbench.__version__", "cnnbench") is None


def test_the_search_for_circles_finds_them():
    """One by way of a third module, one within functions; a package that imports its parts is none."""
    sources = {
        "a": "from a.one import f\nfrom a.two import g\n",
        "a.one": "from a import three\n",
        "a.two": "def g():\n    import a.four\n",
        "a.three": "from a.one import f\n",
        "a.four": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import two\n",
        "b": "import a.one\n",
    }
    assert set(circles(imported_modules(sources))) == {frozenset({"a.one", "a.three"}), frozenset({"a.two", "a.four"})}
    sources["a.one"] = "from a import g\n"  # from the package, which imports the module
    assert frozenset({"a", "a.one"}) in circles(imported_modules(sources))
