"""References to users' own models: what is one, how it is read in a process of its own, and what its errors say."""

from __future__ import annotations

import os

import pytest

import cnnbench
from cnnbench import registry
from cnnbench.errors import CnnbenchError, DataError, PluginError, SpecError
from cnnbench.face.networks import network_name
from cnnbench.porting import reading
from cnnbench.porting.messages import ReadRequest
from cnnbench.porting.references import parse_reference
from cnnbench.spec.interchange.model_readers import ModelReference

MODELS = """
import sys
def none():
    return 3
def fails():
    raise ValueError("no such layer")
def leaves():
    sys.exit(3)
def dies():
    import os
    os._exit(9)
"""
TORCH = """
from torch import nn
def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), (3, 5, 5)
def shapeless():
    return nn.Conv2d(3, 4, 3)
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b.py:make", ModelReference("a/b.py", "make")),
        ("file:a/b.py:make", ModelReference("a/b.py", "make")),
        ("zoo.nets:make", ModelReference("zoo.nets", "make")),
        ("resnet50", None),
        ("file:net.yaml", None),
        ("net.onnx", None),
        ("package:zoo/net.npz", None),
    ],
)
def test_what_is_a_reference(text, expected):
    assert parse_reference(text) == expected


def test_a_file_is_one_for_suites_too():
    assert network_name("a/b.py:make") == "file:a/b.py:make"
    assert network_name("zoo.nets:make") == "zoo.nets:make"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("none", "gives no model that is read"),
        ("fails", "raises ValueError"),
        ("leaves", "raises SystemExit"),
        ("fail", "there is no function 'fail'"),
        ("dies", "ended without an answer"),
    ],
)
def test_what_goes_wrong_is_said(tmp_path, function, expected):
    path = tmp_path / "models.py"
    path.write_text(MODELS)
    with pytest.raises(CnnbenchError, match=expected) as error:
        cnnbench.build(f"{path}:{function}")
    if function == "fails":
        assert 'line 6: raise ValueError("no such layer")' in str(error.value)
        assert error.value.received == "no such layer"


READER = """
from cnnbench.hookspecs import hookimpl
from cnnbench.spec.interchange.model_readers import ModelReader

def fails():
    raise ValueError("not today")

@hookimpl
def cnnbench_model_readers():
    return [ModelReader("failing", "numpy", (".failing",), lambda model: False, fails)]
"""


def test_a_reader_of_a_plugin_that_raises_is_named(tmp_path, monkeypatch):
    """And no traceback of the process that reads."""
    (tmp_path / "failing_reader.py").write_text(READER)
    (tmp_path / "model.failing").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("CNNBENCH_PLUGINS", "failing_reader")
    registry.forget_plugins()
    try:
        with pytest.raises(PluginError, match="ValueError: not today, from the plugin 'failing_reader'") as error:
            cnnbench.build(str(tmp_path / "model.failing"))
    finally:
        monkeypatch.undo()
        registry.forget_plugins()
    assert error.value.exit_code == 2


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        cnnbench.build(f"{tmp_path}/nothing.py:make")


@pytest.mark.torch
def test_a_module_of_pytorch_is_a_network_with_its_weights(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "nets.py"
    path.write_text(TORCH)
    model = cnnbench.load(f"{path}:net")
    assert [node.name for node in model.graph.nodes] == ["0", "1"]
    assert model.arrays["0.weight"].shape == (4, 3, 3, 3)
    with pytest.raises(SpecError, match="does not tell the shape") as error:
        cnnbench.build(f"{path}:shapeless")
    assert "--image" in str(error.value.remedy)


def test_a_folder_of_a_savedmodel_is_refused_with_what_to_save_instead(tmp_path):
    folder = tmp_path / "exported"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"")
    with pytest.raises(SpecError, match="a SavedModel of TensorFlow is not read") as error:
        cnnbench.build(folder)
    assert "model.save('model.keras')" in str(error.value.remedy)
    assert f"tf2onnx.convert --saved-model {folder}" in str(error.value.remedy)


@pytest.mark.parametrize("name", ["nets.py:make", "zoo.nets:make"])
def test_a_model_is_read_again_once_code_beside_it_has_changed(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path if ".py" in name else tmp_path / "zoo"
    folder.mkdir(exist_ok=True)
    for file in ("nets.py", "parts.py"):
        (folder / file).write_text("size = 3\n")
    monkeypatch.setattr(reading, "_read", lambda asked, scratch: object())
    asked = ReadRequest(reference=parse_reference(name))
    first = reading.read_model(asked)
    assert reading.read_model(asked) is first
    for file in ("nets.py", "parts.py"):
        (folder / file).write_text("size = 3\nother = 4\n")
        again = reading.read_model(asked)
        assert again is not first
        first = again
