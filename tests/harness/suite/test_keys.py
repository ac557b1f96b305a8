"""The keys of cells: each question of sameness is answered from the content that matters to it, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnbench.harness.suite.asked import files_as_asked, own_name, suite_as_asked
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.file import load_suite
from cnnbench.harness.suite.labels import network_labels
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.plan import Plan, plan, with_present_files

KEYS = ("network_key", "program_key", "forward_key", "training_group", "training_key", "comparison_group")
N, P, F, T, R, G = KEYS  # network, program, its forward pass, training group, training run, comparison group

# Under which keys two cells differ that differ in this field alone. A new field must find its place here.
DIFFERS: dict[str, tuple[str, ...]] = {
    "id": (),
    "key": (),
    "group": (),
    "network": (),
    "architecture": (),  # its content counts, not its name
    "backend": (P, F, R),
    "mode": (P, F, R),
    "layout": (P, F),
    "batch": (G,),
    "image": (),  # part of the graph's content
    "num_classes": (),  # part of the graph's content
    "precision": (P, F, T, R, G),
    "device": (P, F, R, G),
    "threads": (P, F, R, G),
    "fold_batch_norm": (P, F),
    "seed": KEYS,
    "data": (N, P, F, G),
    "weights": (),  # its content counts, not its path
    "side": (P, F, R),
    "skip": (),
    "checks": (),
    "measure": (),
    "train": (),
    "program": (T, R),
    "recipe": (),
    "recipe_digest": (P, T, R),
    "graph_digest": KEYS,
    "weights_digest": KEYS,
}
OTHER: dict[str, Any] = {
    "batch": 2, "image": (3, 9, 9), "num_classes": 7, "threads": 3, "fold_batch_norm": True, "seed": 5, "side": "base",
    "checks": ("local",), "measure": (), "train": True,
}  # fmt: skip
CELL = Cell(
    id="i", key="k", group="g", network="n", architecture="a", backend="b", mode="m", batch=1, image=(3, 8, 8),
    weights="w.npz", graph_digest="graph", weights_digest="weights",
)  # fmt: skip


def differing(cell: Cell, other: Cell) -> set[str]:
    return {name for name in KEYS if getattr(cell, name) != getattr(other, name)}


def test_every_field_is_classified() -> None:
    assert set(DIFFERS) == set(Cell.model_fields)


def test_every_key_is_classified() -> None:
    keys = [name for name, item in vars(Cell).items() if isinstance(item, property) and name[0] != "_"]
    assert set(KEYS) == {name for name in keys if isinstance(getattr(CELL, name), tuple)}


@pytest.mark.parametrize("field", list(Cell.model_fields))
def test_a_field_counts_in_the_keys_to_which_it_matters(field: str) -> None:
    other = CELL.model_copy(update={field: OTHER.get(field, "another")})
    assert getattr(other, field) != getattr(CELL, field)
    assert differing(CELL, other) == set(DIFFERS[field])
    assert len({hash(getattr(cell, name)) for cell in (CELL, CELL.model_copy()) for name in KEYS}) == len(KEYS)


@pytest.mark.parametrize("field", ["architecture", "image", "num_classes", "weights"])
def test_names_stand_for_content_that_is_not_known(field: str) -> None:
    """As in records of old versions, and where a file of weights is not here."""
    old = CELL.model_copy(update={"graph_digest": None, "weights_digest": None})
    assert differing(old, old.model_copy(update={field: OTHER.get(field, "another")})) == set(KEYS)


NETWORK = """\
name: {name}
inputs: [{{name: image, shape: [1, 8, 8]}}]
nodes:
  - {{name: flat, kind: flatten}}
  - {{name: fc, kind: linear, out_features: {classes}}}
"""


def written(path: Path, classes: int = 3, name: str = "net") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(NETWORK.format(name=name, classes=classes))
    return f"file:{path}"


def planned(*architectures: str, **block: Any) -> Plan:
    matrix = {"architectures": list(architectures), "backends": ["numpy"], **block}
    return plan(Suite.model_validate({"schema_version": 1, "name": "s", "matrix": matrix}))


@pytest.mark.parametrize(
    "names",
    [("a/net.yaml", "b/net.yaml"), ("net.v1.yaml", "net.v2.yaml"),
     ("сеть.yaml", "модель.yaml"), ("a b.yaml", "a_b.yaml"),
     ("Net.yaml", "net.yaml"),
     ("x" * 120 + "1.yaml", "x" * 120 + "2.yaml"), ("lenet5.yaml", "p/lenet5.yaml", "q/p/lenet5.yaml")],
)  # fmt: skip
def test_networks_whose_files_are_called_alike_are_cells_of_their_own(tmp_path: Path, names: tuple[str, ...]) -> None:
    result = planned(*(written(tmp_path / name, classes=3 + i) for i, name in enumerate(names)))
    for what in ("id", "key", "group", "network", *KEYS):
        assert len({getattr(cell, what) for cell in result.cells}) == len(names), what
    assert len({cell.id.lower() for cell in result.cells}) == len(names), "some file systems know no capital letters"
    assert all(cell.checks for cell in result.cells)
    assert all(len(cell.id) < 200 for cell in result.cells)


def test_one_network_under_two_paths_is_checked_once_and_compared_with_itself(tmp_path: Path) -> None:
    first = written(tmp_path / "a" / "net.yaml")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    one, two = planned(first, f"file:{tmp_path / 'b' / 'net.yaml'}").cells
    assert not differing(one, two)
    assert one.id != two.id
    assert one.group == two.group
    assert (bool(one.checks), bool(two.checks)) == (True, False)


def test_two_cells_of_one_program_are_both_checked_once_a_file_makes_them_two(tmp_path: Path) -> None:
    first = written(tmp_path / "a" / "net.yaml", classes=3)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    before = planned(first, f"file:{tmp_path / 'b' / 'net.yaml'}")
    assert with_present_files(before) is before
    written(tmp_path / "a" / "net.yaml", classes=4)
    one, two = with_present_files(before).cells
    assert differing(one, two)
    assert one.checks == two.checks == before.cells[0].checks != ()


def test_a_network_that_was_changed_is_asked_for_alike_and_has_other_keys(tmp_path: Path) -> None:
    (before,) = planned(written(tmp_path / "net.yaml", classes=3)).cells
    (after,) = planned(written(tmp_path / "net.yaml", classes=4)).cells
    assert after.key == before.key
    assert differing(before, after) == set(KEYS)


def test_weights_count_by_the_content_of_their_file(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    network = written(tmp_path / "net.yaml")

    def cell(path: Path, value: float) -> Cell:
        arrays = {"fc.weight": np.full((3, 64), value, np.float32), "fc.bias": np.zeros(3, np.float32)}
        save_file(arrays, str(path))
        return planned(network, weights=str(path)).cells[0]

    first = cell(tmp_path / "one.safetensors", 1.0)
    assert not differing(first, cell(tmp_path / "copy.safetensors", 1.0))
    assert differing(first, cell(tmp_path / "one.safetensors", 2.0)) == set(KEYS)
    assert first.key == cell(tmp_path / "one.safetensors", 2.0).key


def test_a_network_seeded_and_with_trained_weights_is_checked_twice(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    network = written(tmp_path / "net.yaml")
    path = tmp_path / "one.safetensors"
    save_file({"fc.weight": np.ones((3, 64), np.float32), "fc.bias": np.zeros(3, np.float32)}, str(path))
    matrix = {"architectures": network, "backends": ["numpy"], "include": [{"weights": str(path)}]}
    result = plan(Suite.model_validate({"schema_version": 1, "name": "s", "matrix": matrix}))
    assert [bool(cell.checks) for cell in result.cells] == [True, True]


def test_two_files_of_weights_are_two_cells(tmp_path: Path) -> None:
    network = written(tmp_path / "net.yaml")
    entries = [{"weights": str(tmp_path / f"{name}.npz")} for name in ("one", "two")]
    matrix = {"architectures": network, "backends": ["numpy"], "include": entries}
    result = plan(Suite.model_validate({"schema_version": 1, "name": "s", "matrix": matrix}))
    assert len({cell.id for cell in result.cells}) == len({cell.group for cell in result.cells}) == 3


def test_what_is_asked_twice_is_one_cell() -> None:
    matrix = {"architectures": "lenet5", "backends": "numpy"}
    suite = Suite.model_validate({"schema_version": 1, "name": "s", "matrix": [matrix, matrix]})
    assert len(plan(suite).cells) == 1


def test_labels_are_short_where_nothing_is_called_alike() -> None:
    names = ["resnet18", "file:nets/resnet18.yaml", "file:nets/tiny.v2.onnx", "file:a/x.yaml", "file:b/x.yaml"]
    assert network_labels(names) == {
        "resnet18": "resnet18",
        "file:nets/resnet18.yaml": "resnet18.yaml",
        "file:nets/tiny.v2.onnx": "tiny.v2",
        "file:a/x.yaml": "a_x",
        "file:b/x.yaml": "b_x",
    }


def test_files_are_asked_for_alike_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    near = files_as_asked(["file:../nets/a.yaml"], ["../w/a.npz", "package:zoo/b.npz", None])
    far = files_as_asked([f"file:{tmp_path}/nets/a.yaml", "lenet5"], [f"{tmp_path}/w/a.npz"])
    assert list(near.values()) == list(far.values()) == ["file:nets/a.yaml", "w/a.npz"]


def test_a_suite_plans_the_same_cells_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it was copied to, too."""
    for folder in ("here", "there"):
        for name in ("a/net.yaml", "b/net.yaml", "сеть.yaml", "модель.yaml"):
            written(tmp_path / folder / name, classes=3 + len(name))
        (tmp_path / folder / "suite.yaml").write_text(
            "schema_version: 1\nname: s\nmatrix:\n  architectures: ['file:a/net.yaml', 'file:b/net.yaml', "
            "'file:сеть.yaml', 'file:модель.yaml']\n  backends: numpy\n"
        )
    found = []
    for folder, suite in (("here", "suite.yaml"), ("here/a", "../suite.yaml"), ("there", "suite.yaml")):
        monkeypatch.chdir(tmp_path / folder)
        found.append(load_suite(Path(suite)))
    first, second, copied = found
    assert first == second
    assert suite_as_asked(first) == suite_as_asked(copied)
    plans = [plan(suite) for suite in found]
    assert len({tuple((cell.id, cell.key) for cell in made.cells) for made in plans}) == 1


def test_a_network_in_yaml_has_the_name_that_it_calls_itself(tmp_path: Path) -> None:
    texts = {"a.yaml": "name: 'block net' # mine\ninput: [3]\n", "b.yaml": "input: [3]\n", "c.yaml": "name: b\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    files = {name: f"file:{tmp_path / name}" for name in (*texts, "gone.yaml")}
    own = {name: text for name in files.values() if (text := own_name(name)) is not None}
    labels = network_labels(files.values(), own)
    assert labels[files["a.yaml"]] == "block_net"
    assert labels[files["gone.yaml"]] == "gone"
    assert len(set(labels.values())) == 4, "two of one name are told apart by their paths"
