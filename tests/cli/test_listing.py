"""``cnnbench list layers`` and ``list faults``: what each backend makes of each kind, and what was caught."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cnnbench.cli.entry import execute
from cnnbench.spec.kinds import layer_kinds


def listed(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict]]:
    code = execute(["list", *arguments, "--json"])
    return code, json.loads(capfd.readouterr().out)


def test_layers_in_json_say_what_a_backend_makes_of_each_kind(capfd: pytest.CaptureFixture[str]) -> None:
    code, rows = listed(capfd, "layers", "-b", "numpy")
    assert code == 0
    found = {row["kind"]: row for row in rows}
    assert set(found) >= set(layer_kinds()) - {"layout_change"} - {
        k for k, c in layer_kinds().items() if "tests" in c.__module__
    }
    assert "layout_change" not in found
    assert found["conv"]["budget"] == "derived"
    assert found["conv"]["backends"]["numpy"]["gaps"][0]["special_values"] == "always"
    assert found["linear"]["backends"] == {
        "numpy": {"available": True, "how": "native", "gradient": "yes", "parts": [], "reason": None, "gaps": []}
    }
    subsample = found["trainable_subsample"]
    assert (subsample["composite"], subsample["budget"]) == (True, "of its parts")
    assert subsample["backends"]["numpy"]["parts"] == ["avg_pool", "channel_affine"]
    assert subsample["used_by"] == {
        "networks": ["lenet5_1998"],
        "operators": [],
        "losses": [],
        "claims": [],
        "composites": [],
        "planned": None,
    }
    assert subsample["example"] == {"inputs": [[1, 4, 6, 6]], "fields": {}}
    assert found["lstm"]["example"] == {"inputs": [[1, 5, 3]], "fields": {"hidden_size": 4}}
    assert {"kind", "family", "composite", "fields", "about", "budget", "differentiable", "backends"} <= set(subsample)


def test_a_backend_that_is_not_installed_is_shown_as_such(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnnbench.execution.contract import BackendPlugin

    monkeypatch.setattr(BackendPlugin, "unavailable", lambda self: "it is not installed")
    _, rows = listed(capfd, "layers")
    assert set(rows[0]["backends"]) >= {"numpy", "torch", "jax", "tensorflow"}
    assert rows[0]["backends"]["torch"] == {"available": False, "reason": "it is not installed"}
    assert execute(["list", "layers", "--backends"]) == 0
    assert "torch is not here: it is not installed" in capfd.readouterr().out


def test_the_plain_listing_loads_no_framework() -> None:
    code = """
import sys
from cnnbench.cli.entry import execute
assert execute(["list", "layers"]) == 0
assert not {"torch", "jax", "tensorflow"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("trainable_subsample"))
    assert line.endswith("lenet5_1998")


def test_faults_are_caught_and_counted(capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ("--fault", "conv.kernel_flip", "--fault", "sgd.nesterov", "--kill", "numpy:reference")
    code, (table,) = listed(capfd, "faults", *arguments)
    assert code == 0
    assert (table["backend"], table["mode"]) == ("numpy", "reference")
    assert table["counts"] == {
        "injected": 2,
        "killed": 2,
        "located": 2,
        "clean_runs": 2,
        "false_alarms": 0,
        "skipped": 0,
    }
    assert [row["fault"] for row in table["faults"]] == ["conv.kernel_flip", "sgd.nesterov"]
    assert execute(["list", "faults", *arguments]) == 0
    shown = capfd.readouterr()
    assert "killed 2 of 2 injected; located 2 of 2 killed; false alarms 0 of 2 clean runs" in shown.out
    assert "numpy reference: sgd.nesterov" in shown.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("layers", "-b", "numpi"), "did you mean 'numpy'?"),
        (("faults", "--kill", "numpi"), "did you mean 'numpy'?"),
        (("faults", "--kill", "numpy:fsat"), "did you mean 'fast'?"),
        (("faults", "--fault", "conv.kernel_flop"), "did you mean 'conv.kernel_flip'?"),
    ],
)
def test_wrong_names(capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    assert execute(["list", *arguments]) == 2
    assert message in capfd.readouterr().err


def test_a_fault_that_does_not_fit_the_network_ends_with_a_clear_word(capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["verify", "lenet5", "-b", "numpy", "--fault", "batch_norm.biased_running_variance"]
    assert execute(arguments) == 2
    said = capfd.readouterr().err
    assert "the fault changes batch_norm, and the network has no node of that kind" in said
    assert "has one" in said
