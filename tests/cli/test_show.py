"""``cnnbench show``: the JSON contract that other programs rely on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnbench.cli.entry import execute

NETWORK = """\
name: own
input: [1, 8, 8]
nodes:
  - {name: conv, kind: conv, out_channels: 4, kernel_size: 3}
  - {name: relu, kind: relu}
  - {name: flatten, kind: flatten}
  - {name: fc, kind: linear, out_features: 5}
"""


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert execute(["show", *arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("resnet18", 11_689_512, 1_814_073_344),
        ("resnet50", 25_557_032, 4_089_184_256),
        ("resnet50_v1", 25_557_032, 3_857_973_248),
        ("resnet20", 269_722, None),
        ("lenet5_1998", 60_000, 326_520),
        ("lenet5", 61_706, 416_520),
        ("lenet_20_50_500", 431_080, 2_293_000),
    ],
)
def test_published_counts(capsys: pytest.CaptureFixture[str], name: str, parameters: int, macs: int | None) -> None:
    data = shown(capsys, name)
    assert data["parameters"] == parameters
    assert macs is None or data["macs"] == macs
    assert data["name"] == name
    assert data["source"]


def test_outputs_are_shown_with_what_they_mean(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "unet_tiny")["meanings"]["logits"]["unit"] == "natural logarithm of odds"
    assert execute(["show", "conv_vae"]) == 0
    out = capsys.readouterr().out
    assert "output mean (2,): mean of the code's distribution [as the latent]" in out


def test_every_key_of_the_contract_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    data = shown(capsys, "resnet50")
    keys = {
        "name", "parameters", "parameters_inference", "buffers", "macs", "macs_attention", "input", "output", "source",
    }  # fmt: skip
    assert keys < set(data)
    assert data["input"] == [3, 224, 224]
    assert data["output"] == [1000]
    node_keys = {"name", "kind", "inputs", "output_shape", "parameters", "macs", "receptive_field"}
    assert all(node_keys <= set(node) for node in data["nodes"])
    assert sum(node["parameters"] for node in data["nodes"]) == data["parameters"]


def test_another_image_and_number_of_classes(capsys: pytest.CaptureFixture[str]) -> None:
    data = shown(capsys, "resnet18", "--image", "96", "--num-classes", "7")
    assert data["input"] == [3, 96, 96]
    assert data["output"] == [7]
    assert data["parameters"] == 11_689_512 - 993 * 513


def test_a_users_network(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(NETWORK)
    data = shown(capsys, str(path))
    assert data["parameters"] == (4 * 9 + 4) + (4 * 36 * 5 + 5)
    assert data["source"] is None


def test_the_table_ends_with_the_totals(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["show", "lenet5"]) == 0
    out = capsys.readouterr().out
    assert "parameters: 61,706" in out
    assert "MACs: 416,520" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnett50"], "did you mean 'resnet50'?"),
        (["lenet5", "--image", "0x3"], "--image"),
        (["lenet5", "--image", "1x4x4"], "window"),
        (["no_such_file.yaml"], "no_such_file.yaml"),
    ],
)
def test_what_cannot_be_shown(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert execute(["show", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_drawing_is_written_beside_the_table(tmp_path, capsys):
    path = tmp_path / "drawn" / "lenet5.svg"
    assert execute(["show", "lenet5", "--graph", str(path)]) == 0
    assert path.read_text().startswith("<svg")
    assert "fc1" in capsys.readouterr().out
    assert execute(["show", "lenet5", "--graph", str(tmp_path / "lenet5.png")]) == 2
    assert "SVG" in capsys.readouterr().err


def test_shared_weights_are_counted_once_and_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "shared.yaml"
    again = "  - {name: again, kind: linear, out_features: 5, weights_of: fc}\n"
    path.write_text(
        NETWORK
        + again.replace("again", "middle").replace("weights_of: fc", "bias: true")
        + again.replace("weights_of: fc", "weights_of: middle")
    )
    data = shown(capsys, str(path))
    assert {node["name"]: node["parameters"] for node in data["nodes"]}["again"] == 0
    assert data["parameters"] == sum(node["parameters"] for node in data["nodes"]) == 40 + (144 * 5 + 5) + 30
    assert execute(["show", str(path)]) == 0
    out = capsys.readouterr().out
    assert "shares weights of" in out.splitlines()[0]
    assert next(line for line in out.splitlines() if line.startswith("again")).split()[-1] == "middle"
    assert "parameters: 795" in out


DECLARING = """\
from cnnbench.hookspecs import hookimpl
from cnnbench.spec.architectures import Architecture, Facts
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Linear


def build(image, num_classes):
    b = Builder("declaring")
    return b.build({"logits": b.add("fc", Linear(out_features=num_classes), b.input("image", image))})


@hookimpl
def cnnbench_architectures():
    facts = Facts(parameters=45, macs=40, buffers=0, input=(8,))
    kind = {"family": "mine", "year": 2026, "source": "ours", "build": build, "num_classes": 5}
    return [
        Architecture(name="right", facts=facts, **kind),
        Architecture(name="undeclared", facts=Facts(input=(8,)), **kind),
        Architecture(name="wrong", facts=Facts(parameters=46, macs=40, buffers=1, input=(8,)), **kind),
    ]
"""


@pytest.mark.parametrize(
    ("arguments", "notes"),
    [
        (["right"], []),
        (["undeclared"], []),
        (["wrong"], ["declares 46 parameters and has 45", "declares 1 buffers and has 0"]),
        (["wrong", "--num-classes", "4"], []),
    ],
)
def test_declared_facts_are_held_against_the_graph(tmp_path: Path, arguments: list[str], notes: list[str]) -> None:
    (tmp_path / "declaring_plugin.py").write_text(DECLARING)
    variables = {**os.environ, "CNNBENCH_PLUGINS": "declaring_plugin"}
    variables["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, "-m", "cnnbench", "show", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=True)
    assert [line.partition(" ")[2].partition(" ")[2] for line in done.stderr.splitlines()] == notes


def test_a_plugin_that_is_not_found_is_told_where_it_is_looked_for() -> None:
    variables = {**os.environ, "CNNBENCH_PLUGINS": "a_module_that_nobody_has"}
    command = [sys.executable, "-m", "cnnbench", "show", "lenet5"]
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    assert done.returncode == 2
    assert "PYTHONPATH" in done.stderr


def test_the_settings_of_each_node_are_printed_and_in_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    nodes = {node["name"]: node["fields"] for node in shown(capsys, "mobilenet_v2")["nodes"]}
    depthwise = nodes["features.2.conv.1.0"]
    assert (depthwise["stride"], depthwise["padding"], depthwise["groups"]) == ([2, 2], [[1, 1], [1, 1]], 96)
    assert nodes["features.0.1"]["eps"] == 1e-5
    assert execute(["show", "mobilenet_v2"]) == 0
    out = capsys.readouterr().out
    assert "3x3, stride 2, padding 1, groups 96, no bias" in out
    assert "eps 1e-05, momentum 0.1" in out
