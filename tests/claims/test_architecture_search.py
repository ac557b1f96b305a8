"""The search for architectures draws valid networks, goes on where it was stopped, and proves its front."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna", reason="optuna is not installed")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def search():
    spec = importlib.util.spec_from_file_location("architecture_search", ROOT / "benchmarks/architecture_search.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_what_is_drawn_is_a_network_of_the_space(search):
    fixed = {
        "separable": True,
        "shortcuts": True,
        "kernel_size": 5,
        "width": 8,
        "stages": 2,
        "blocks0": 1,
        "blocks1": 2,
    }
    graph, rate = search.suggested(optuna.trial.FixedTrial({**fixed, "rate": 0.1}))
    kinds = [node.layer.kind for node in graph.nodes]
    assert (kinds.count("conv"), kinds.count("depthwise_separable_conv"), kinds.count("add")) == (2, 3, 3)
    assert (graph.shapes()[graph.outputs[0][1]], rate) == ((1, 10), 0.1)


@pytest.mark.filterwarnings("ignore")
def test_a_search_goes_on_where_it_was_stopped(search, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "verified", lambda graph: "verified here")
    monkeypatch.setattr(search, "EPOCHS", 1)
    monkeypatch.setattr(search, "CALLS", 4)
    asked = ["--backend", "numpy", "--output", str(tmp_path), "--database", str(tmp_path / "build/search.db")]
    search.main(["--trials", "1", *asked])
    assert "\n1 trials of NSGA-II on numpy" in (tmp_path / "architecture_search.md").read_text()
    search.main(["--trials", "2", *asked])
    text = (tmp_path / "architecture_search.md").read_text()
    assert "\n2 trials" in text
    assert "verified here" in text
    assert "<svg" in (tmp_path / "architecture_search.svg").read_text()


@pytest.mark.slow
def test_a_network_of_the_front_is_verified_on_every_backend(search):
    said = search.verified(search.YARDSTICK)
    assert "numpy passed" in said
    assert "failed" not in said
