"""``cnnbench conformance``: the JSON contract, its exit codes, and what it says of a bad request."""

from __future__ import annotations

import json

import pytest

from cnnbench.cli.entry import execute

pytest.importorskip("onnx")


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict]:
    code = execute(["conformance", *arguments, "--json"])
    return code, json.loads(capfd.readouterr().out)


def test_the_json_has_counts_by_list_and_operator_and_every_case(capfd: pytest.CaptureFixture[str]) -> None:
    code, data = run(capfd, "numpy", "-k", "relu or maxunpool")
    assert code == 0
    assert set(data) == {"backend", "mode", "core", "extended", "operators", "cases"}
    assert (data["backend"], data["mode"]) == ("numpy", "fast")
    assert set(data["core"]) == {"passed", "failed", "skipped", "total"}
    assert data["core"]["passed"] == data["core"]["total"] == 16
    assert data["extended"]["skipped"] == 2
    assert data["operators"]["PRelu"] == {"passed": 8, "failed": 0, "skipped": 0, "total": 8}
    case = next(item for item in data["cases"] if item["name"] == "node/test_leakyrelu")
    assert (case["group"], case["operator"], case["status"], case["message"]) == ("core", "LeakyRelu", "passed", "")
    assert 0 <= case["error"] < 1e-5


def test_core_alone_and_a_mode(capfd: pytest.CaptureFixture[str]) -> None:
    code, data = run(capfd, "numpy", "--core", "--mode", "reference", "-k", "softmax and not log")
    assert code == 0
    assert data["mode"] == "reference"
    assert data["extended"]["total"] == 0
    assert data["core"]["passed"] == data["core"]["total"] > 0


def test_the_table_gives_each_reason_once(capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["conformance", "numpy", "-k", "training_dropout or relu_random"]) == 0
    out = capfd.readouterr().out
    assert out.count("NumPy's own random stream") == 1
    assert "numpy fast, extended:" in out


def test_a_core_case_that_fails_ends_with_4(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnbench.execution.backends import load_backend
    from cnnbench.execution.operations import Operation, OpResult

    backend = load_backend("numpy")
    wrong = Operation(lambda layer, inputs, weights, state, call: OpResult((inputs[0] + 1,)))
    monkeypatch.setattr(backend, "operations", backend.operations.replace("tanh", wrong))
    monkeypatch.setattr("cnnbench.face.backends.load_backend", lambda name: backend)
    code, data = run(capfd, "numpy", "-k", "tanh")
    assert code == 4
    assert data["core"]["failed"] == 3
    assert all("of the largest" in item["message"] for item in data["cases"] if item["status"] == "failed")


def test_nothing_but_skips_ends_with_5(capfd: pytest.CaptureFixture[str]) -> None:
    code, data = run(capfd, "numpy", "-k", "maxunpool")
    assert code == 5
    assert data["extended"] == {"passed": 0, "failed": 0, "skipped": 2, "total": 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nunpy",), "did you mean 'numpy'?"),
        (("numpy", "--mode", "fsat"), "did you mean 'fast'?"),
        (("numpy", "-k", "no_such_case"), "no case is left"),
    ],
)
def test_wrong_names(capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str) -> None:
    assert execute(["conformance", *arguments]) == 2
    assert message in capfd.readouterr().err
