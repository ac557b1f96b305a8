"""``cnnbench profile``: every node once, figures that fit together, and what was timed said with them."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

import cnnbench
from cnnbench.cli.entry import execute
from cnnbench.face import profiling


@pytest.fixture(autouse=True)
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Yardsticks that take no time: 10 GFLOP/s and 1 GB/s."""
    measured = {"matrix_product_gflop_per_s": 10.0, "copy_gb_per_s": 1.0}
    monkeypatch.setattr(profiling, "_machine", lambda storage, threads: measured)


def test_json_has_figures_that_fit_together(capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["profile", "lenet5", "-b", "numpy", "--rounds", "3", "--batch", "2", "--json"]) == 0
    data = json.loads(capfd.readouterr().out)
    assert (data["network"], data["backend"], data["mode"], data["batch"]) == ("lenet5", "numpy", "fast", 2)
    assert data["how"] == "each step within the pass, as it runs"
    nodes = data["nodes"]
    names = [name for node in nodes for name in node["members"] if "@" not in name]
    assert names == [node.name for node in cnnbench.build("lenet5").nodes]
    assert sum(node["macs"] for node in nodes) == cnnbench.build("lenet5").macs(2)
    assert data["nodes_s"] == pytest.approx(sum(node["time_s"] for node in nodes))
    assert sum(node["share_of_time"] for node in nodes) == pytest.approx(1)
    conv = next(node for node in nodes if node["name"] == "conv1")
    assert (conv["members"], conv["algorithm"]) == (["conv1", "relu1"], "direct")
    assert conv["low_s"] <= conv["time_s"] <= conv["high_s"]
    assert conv["macs_per_s"] == pytest.approx(conv["macs"] / conv["time_s"])
    limit = max(2 * conv["macs"] / 10e9, conv["bytes"] / 1e9)
    assert conv["roofline_share"] == pytest.approx(limit / conv["time_s"])


def test_the_frame_has_a_row_for_each_step() -> None:
    found = cnnbench.profile("lenet5", backend="numpy:reference", rounds=1)
    frame = found.frame()
    assert list(frame["name"]) == [node.name for node in cnnbench.build("lenet5").nodes]
    assert frame["time_s"].sum() == pytest.approx(found.nodes_s)
    assert frame["bytes"].isna().sum() == 1  # flatten may be a view


@pytest.mark.skipif(find_spec("jax") is None, reason="jax is not installed")
def test_layers_that_are_timed_alone_are_said_to_be(capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["profile", "lenet5", "-b", "jax", "--rounds", "1"]) == 0
    out = capfd.readouterr().out
    assert "each layer alone, not as fused" in out
    for node in cnnbench.build("lenet5").nodes:
        assert f"\n{node.name} " in out


@pytest.mark.parametrize(
    ("options", "message"), [({"batch": 0}, "batch"), ({"rounds": 0}, "rounds")], ids=["batch", "rounds"]
)
def test_numbers_below_one_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(cnnbench.CnnbenchError, match=f"{message} is too small"):
        cnnbench.profile("lenet5", **options)  # type: ignore[arg-type]
