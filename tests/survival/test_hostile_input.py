"""Files and names of bad intent: refused with one message, in bounded time, before anything is done with them."""

from __future__ import annotations

import json
import pickle
import struct
import time
from pathlib import Path

import pytest
from hostile_inputs import TARGETS, attempt
from hypothesis import HealthCheck, given, settings
from real_command import suite_fields

LONGEST_S = 5.0  # for one small file, on a machine that does other things too


@pytest.mark.parametrize("name", TARGETS)
def test_only_our_own_errors_come_out(name, tmp_path):
    target = TARGETS[name]

    @settings(max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(target.contents())
    def holds(content):
        start = time.process_time()
        attempt(target, content, tmp_path)
        assert time.process_time() - start < LONGEST_S

    holds()


def _refused(command, *arguments: str, says: str) -> None:
    ended = command.run(*arguments, timeout_s=200)
    assert ended.code == 2, ended.text
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


BOMBS = {
    "aliases": ("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n", "a{n}: &a{n} [{refs}]\n", "values"),
    "nesting": ("x: " + "[" * 100_000, "", "nested"),
    "flat": ("x: [" + "1," * 300_000 + "1]", "", ""),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_yaml_bomb(command, bomb):
    first, line, says = BOMBS[bomb]
    text = first
    for n in range(1, 10) if line else ():
        text += line.format(n=n, refs=", ".join([f"*a{n - 1}"] * 10))
    (command.folder / "bomb.yaml").write_text(text)
    _refused(command, "run", "bomb.yaml", "--no-mlflow", says=says)


def first_alone(*values: str) -> list[object]:
    """The first in the quick tests, since each takes a command of its own; all in the slow ones."""
    return [values[0], *(pytest.param(value, marks=pytest.mark.slow) for value in values[1:])]


@pytest.mark.parametrize("name", first_alone("../outside", "/tmp/outside", "a/b", "..", "a\\..\\b", "a\u0000b"))
def test_a_suite_s_name_cannot_leave_the_folder(command, name):
    command.suite("good", name="suite.yaml")
    content = json.loads((command.folder / "suite.yaml").read_text()) | {"name": name}
    (command.folder / "suite.yaml").write_text(json.dumps(content))
    _refused(command, "run", "suite.yaml", "--no-mlflow", says="suite.yaml")
    assert not (command.folder / "reports").exists()


def test_names_of_networks_are_text_in_reports_and_plain_in_paths(command):
    """A network whose file, nodes and outputs are named in HTML is measured; no page runs what it says."""
    evil = "<img src=x onerror=alert(1)>"
    network = {
        "name": evil,
        "input": [1, 8, 8],
        "nodes": [{"name": "flat", "kind": "flatten"}, {"name": "fc", "kind": "linear", "out_features": 10}],
    }
    (command.folder / f"{evil}.yaml").write_text(json.dumps(network))
    fields = suite_fields(("good", "raises"))
    fields["matrix"] = {"architectures": [f"file:{evil}.yaml"], "backends": fields["matrix"]["backends"]}
    (command.folder / "suite.yaml").write_text(json.dumps(fields))
    ended = command.run("run", "suite.yaml", "--no-mlflow")
    assert ended.code == 3, ended.text
    (folder,) = command.runs()
    assert "<img src=x" not in (folder / "report.html").read_text()
    assert "<img src=x" not in (folder / "junit.xml").read_text()
    for path in folder.glob("cells/*"):
        assert set(path.name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-+")


def test_a_million_cells(command):
    """Counted, not expanded."""
    fields = suite_fields(("good", "slow"))
    fields["matrix"] |= {"batch": list(range(1, 1001)), "image": [[1, side, side] for side in range(8, 508)]}
    (command.folder / "suite.yaml").write_text(json.dumps(fields))
    _refused(command, "run", "suite.yaml", "--no-mlflow", says="the matrix has 1,000,000 cells")


class _Runs:
    def __reduce__(self):
        return (Path.write_text, (Path("struck"), "by a pickle"))


@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".npy", ".npz", *first_alone(".h5", ".pt", ".safetensors")])
def test_a_pickle_is_not_run(command, suffix):
    (command.folder / f"weights{suffix}").write_bytes(pickle.dumps({"conv1.weight": _Runs()}))
    weights = f"weights{suffix}"
    ended = command.run("weights", "import", "lenet5", weights, "--output", "out.safetensors", timeout_s=200)
    assert ended.code == 2, ended.text
    assert "Traceback" not in ended.stderr
    assert not (command.folder / "struck").exists()
    assert not (command.folder / "out.safetensors").exists()


HEADERS = {
    "longer_than_the_file": (2**40, {}),
    "longest": (2**64 - 1, {}),
    "beyond_the_end": (None, {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
    "shape_does_not_fit": (None, {"a": {"dtype": "F32", "shape": [100], "data_offsets": [0, 16]}}),
    "negative": (None, {"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}),
    "overlapping": (
        None,
        {name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in ("a", "b")},
    ),
    "overflowing": (None, {"a": {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 16]}}),
}


@pytest.mark.parametrize("lie", first_alone(*HEADERS))
def test_a_safetensors_header_that_lies(command, lie):
    length, header = HEADERS[lie]
    text = json.dumps(header).encode()
    content = struct.pack("<Q", len(text) if length is None else length) + text + bytes(16)
    (command.folder / "weights.safetensors").write_bytes(content)
    _refused(
        command, "weights", "import", "lenet5", "weights.safetensors", "--output", "o.safetensors", says="safetensors"
    )


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "link.bin", "a/../../secret.bin"])
def test_onnx_external_data_outside_its_folder(command, location):
    onnx = pytest.importorskip("onnx", reason="the model needs onnx")
    helper, proto = onnx.helper, onnx.TensorProto
    (command.folder / "secret.bin").write_bytes(bytes(432))
    folder = command.folder / "model"
    (folder / "a").mkdir(parents=True)
    (folder / "link.bin").symlink_to(command.folder / "secret.bin")
    weight = proto(name="w", data_type=proto.FLOAT, dims=[4, 3, 3, 3], data_location=proto.EXTERNAL)
    weight.external_data.add(key="location", value=location)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", proto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", proto.FLOAT, ["N", 4, 6, 6])],
        [weight],
    )
    (folder / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    _refused(command, "show", "model/m.onnx", says="outside the model's folder")
