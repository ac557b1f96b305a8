"""``cnnbench view``: pictures, arrays, exit codes, errors that name what to change, and views of plugins."""

from __future__ import annotations

import json

import numpy as np
import pytest

import cnnbench
from cnnbench import registry
from cnnbench.cli.entry import execute
from cnnbench.errors import SuiteError
from cnnbench.hookspecs import hookimpl
from cnnbench.training.preprocessing import IMAGENET
from cnnbench.views.images import read_images
from cnnbench.views.view import NetworkView, Panel, ViewResult


class Mine:
    """A plugin with one view: the image upside down."""

    @hookimpl
    def cnnbench_views(self):
        def turned(network, request):
            over = request.images[:, :, ::-1]
            return ViewResult({"turned": over}, panels=(Panel("turned", over[0], "image"),))

        return [NetworkView("turned", "the image upside down", "x[::-1]", "a test", turned)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).normal(size=(1, 1, 32, 32)).astype(np.float32))
    return tmp_path


@pytest.fixture
def plugin():
    registry.plugin_manager().register(Mine(), "Mine")
    yield
    registry.forget_plugins()


def refused(capsys, *arguments):
    assert execute(["view", *arguments, "-o", "out"]) == 2
    return capsys.readouterr().err


def test_a_view_goes_to_a_folder_as_picture_arrays_and_page(folder, capsys):
    assert execute(["view", "lenet5", "--image", "x.npy", "--class", "3", "-o", "out", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["classes"] == [3]
    assert [item["status"] for item in said["views"]] == ["not compared"]
    assert (folder / "out" / "saliency.numpy-fast.png").read_bytes().startswith(b"\x89PNG")
    assert np.load(folder / "out" / "saliency.numpy-fast.npz")["saliency"].shape == (1, 32, 32)
    assert "![saliency](saliency.numpy-fast.png)" in (folder / "out" / "index.md").read_text()


def test_two_backends_are_compared_and_a_wrong_view_ends_with_4(folder, capsys):
    line = ["view", "lenet5", "--image", "x.npy", "-b", "numpy:fast", "-b", "numpy:reference", "-o", "out"]
    assert execute(line) == 0
    assert "of the budget, which is" in capsys.readouterr().out
    assert execute([*line, "--fault", "saliency.of_softmax", "--json"]) == 4
    assert {item["status"] for item in json.loads(capsys.readouterr().out)["views"]} == {"differs"}


def test_what_is_wrong_is_named_with_what_would_be_right(folder, capsys):
    (folder / "broken.png").write_bytes(b"\x89PNG no")
    assert "did you mean 'saliency'?" in refused(capsys, "lenet5", "--what", "salience")
    assert "--image FILE, or --data DATASET" in refused(capsys, "lenet5")
    assert "expected: 0 to 9" in refused(capsys, "lenet5", "--image", "x.npy", "--class", "10")
    assert "has no node 'conv9'" in refused(
        capsys, "lenet5", "--image", "x.npy", "--node", "conv9", "--what", "grad_cam"
    )
    assert "broken.png: the picture cannot be read" in refused(capsys, "lenet5", "--image", "broken.png")
    assert "none.png: there is no such file" in refused(capsys, "lenet5", "--image", "none.png")
    assert "expected: numbers of shape (3, 32, 32)" in refused(capsys, "resnet20", "--image", "x.npy")
    assert "has no classes" in refused(capsys, "conv_autoencoder", "--data", "digits")
    assert "did you mean 'steps'?" in refused(
        capsys, "lenet5", "--image", "x.npy", "--set", "step=3", "--what", "integrated_gradients"
    )
    assert "NAME=NUMBER" in refused(capsys, "lenet5", "--image", "x.npy", "--set", "steps=many")
    assert "did you mean 'saliency.of_softmax'?" in refused(
        capsys, "lenet5", "--image", "x.npy", "--fault", "saliency.softmax"
    )
    assert "unknown pixels 'cafe'" in refused(capsys, "lenet5", "--image", "broken.png", "--pixels", "cafe")
    assert "the file of weights is not here" in refused(
        capsys, "lenet5", "--image", "x.npy", "--weights", "package:no_such_package/x.pth"
    )


def test_a_plugin_s_view_is_listed_and_made(folder, plugin, capsys):
    assert execute(["list", "views", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["turned"]["needs"] == ["image"]
    assert "saliency.of_softmax" in rows["saliency"]["faults"]
    assert execute(["view", "lenet5", "--image", "x.npy", "--what", "turned", "-o", "out", "-q"]) == 0
    turned = np.load(folder / "out" / "turned.numpy-fast.npz")["turned"]
    np.testing.assert_array_equal(turned, np.load("x.npy")[:, :, ::-1])


def test_the_face_takes_a_picture_and_arrays(folder):
    from PIL import Image

    Image.fromarray(np.full((40, 50, 3), 255, np.uint8)).save("white.png")
    white = cnnbench.view("lenet5", "white.png", pixels="unit").findings[0].result.panels[0].values
    np.testing.assert_allclose(white, 1.0)
    found = cnnbench.view("lenet5", np.load("x.npy")[0], "saliency", class_number=2)
    assert found.exit_code == 0
    assert found.classes == (2,)
    with pytest.raises(SuiteError, match="nothing to look at"):
        cnnbench.view("lenet5", np.load("x.npy"), [])
    with pytest.raises(TypeError, match="did you mean 'nodes'"):
        cnnbench.view("lenet5", np.load("x.npy"), node="conv1")


def test_what_another_program_made_of_a_picture_is_compared_and_its_mistake_named(folder, capsys):
    from PIL import Image

    drawn = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    Image.fromarray(drawn).save("noise.png")
    right = read_images("noise.png", (3, 32, 32))
    mean, std = (np.reshape(values, (3, 1, 1)) for values in (IMAGENET.mean, IMAGENET.std))
    np.save("right.npy", right)
    np.save("bgr.npy", ((right * std + mean)[:, ::-1] - mean) / std)
    np.save("bytes.npy", np.clip(right[0] * std + mean, 0, 255))
    np.save("other.npy", right[..., ::-1])
    np.save("small.npy", right[0, :, 1:])
    line = ["view", "resnet20", "--image", "noise.png", "-o", "out", "-q"]
    for name, code, said in (
        ("right", 0, "the input is the one that the network wants"),
        ("bgr", 4, "the input is wrong: BGR where the network wants RGB"),
        ("bytes", 4, "the input is wrong: values left from 0 to 255"),
        ("other", 4, "grey levels of 255: nothing known explains it"),
        ("small", 4, "another shape than the one"),
    ):
        assert execute([*line, "--compare-input", f"{name}.npy"]) == code
        assert said in capsys.readouterr().out
    found = cnnbench.view("resnet20", "noise.png", compare_input="bgr.npy")
    assert found.to_json()["compared_input"]["faults"] == ("channels_reversed",)
    np.savez("many.npz", right)
    for arguments, said in (
        (["resnet20", "--image", "noise.png", "--compare-input", "none.npy"], "none.npy"),
        (["resnet20", "--image", "noise.png", "--compare-input", "many.npz"], "many.npz"),
        (["resnet20", "--image", "right.npy", "--compare-input", "bgr.npy"], "--image with a picture's file"),
        (["lenet5", "--image", "noise.png", "--compare-input", "bgr.npy"], "square pictures in colour"),
        (["resnet20", "--data", "digits", "--compare-input", "bgr.npy"], "expected: --image FILE"),
    ):
        assert said in refused(capsys, *arguments)


def test_how_much_of_a_map_lies_in_a_box_is_told(folder, capsys):
    line = ["view", "lenet5", "--image", "x.npy", "-o", "out", "--what", "saliency", "--what", "grad_cam"]
    assert execute([*line, "--box", "0:16,8:32", "--json"]) == 0
    told = {item["view"]: item["in_box"] for item in json.loads(capsys.readouterr().out)["views"]}
    map_ = np.load("out/saliency.numpy-fast.npz")["saliency"]
    assert told["saliency"]["saliency"] == pytest.approx(map_[0, :16, 8:].sum() / map_.sum())
    assert set(told["grad_cam"]) == {"grad_cam"}  # the coarse map has other pixels
    assert execute([*line, "--box", "0:32,0:32"]) == 0
    assert "100.0 % of saliency lies in the box" in capsys.readouterr().out
    for wrong in ("0:33,0:32", "5:5,0:32", "0:32", "a:b,c:d"):
        assert "TOP:BOTTOM,LEFT:RIGHT within 32 x 32 pixels" in refused(
            capsys, "lenet5", "--image", "x.npy", "--box", wrong
        )


@pytest.mark.slow
def test_views_go_to_mlflow_when_asked(folder):
    from mlflow import MlflowClient

    uri = f"sqlite:///{folder}/mlflow.db"
    line = ["view", "lenet5", "--image", "x.npy", "-o", "out", "--check", "-q", "--tracking-uri", uri]
    assert execute(line) == 0
    client = MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("cnnbench/views").experiment_id])
    assert run.info.run_name == "lenet5"
    assert 0 <= run.data.metrics["saliency/numpy_fast/used/saliency"] <= 1
    logged = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert logged == {"saliency.numpy-fast.png", "saliency.numpy-fast.npz", "index.md"}
