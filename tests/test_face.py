"""``import cnnbench``: light, lazy, typed, and each function on a small network with NumPy alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cnnbench
from cnnbench.harness.run.record import Record

SUITE = """\
schema_version: 1
name: tiny
matrix:
  architectures: lenet5
  backends: [{name: numpy, mode: reference}, {name: numpy, mode: fast}]
  data: digits
checks: [local, end_to_end, determinism]
measure:
  latency: {launches: 1, rounds: 3, samples: 3, warmup: {max_s: 1}}
  memory: false
  yardsticks: false
"""
HEAVY = {"numpy", "pandas", "mlflow", "pydantic", "matplotlib", "typer", "torch", "jax", "tensorflow"}

workers = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout


def test_importing_loads_nothing_heavy() -> None:
    loaded = set(fresh("import sys, cnnbench; print(*{name.partition('.')[0] for name in sys.modules})").split())
    assert "cnnbench" in loaded
    assert not loaded & HEAVY


def test_a_name_loads_its_module_when_it_is_asked_for() -> None:
    out = fresh("import sys, cnnbench; cnnbench.build; print('numpy' in sys.modules, 'pandas' in sys.modules)")
    assert out.split() == ["False", "False"]
    assert fresh("import sys, cnnbench; cnnbench.build('lenet5'); print('pandas' in sys.modules)").strip() == "False"


def test_every_name_is_there_and_is_seen_by_type_checkers() -> None:
    from cnnbench import _HOME

    lines = Path(cnnbench.__file__).read_text(encoding="utf-8").splitlines()
    typed = {line.split()[-1]: line.split()[1] for line in lines if line.startswith("    from cnnbench.")}
    assert typed == _HOME
    for name in _HOME:
        assert getattr(cnnbench, name).__name__ == name
        assert getattr(cnnbench, name).__doc__
        assert name in dir(cnnbench)


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'tune'"):
        cnnbench.tune  # noqa: B018


def test_a_network_is_built_by_name_side_and_file(tmp_path: Path) -> None:
    assert cnnbench.build("lenet5").inputs[0].shape == (1, 32, 32)
    assert cnnbench.build("resnet20", image=64, num_classes=3).inputs[0].shape == (3, 64, 64)
    file = tmp_path / "tiny.yaml"
    file.write_text("input: [1, 4, 4]\nnodes:\n  - {name: relu, kind: relu}\n")
    assert cnnbench.build(file) == cnnbench.build(str(file))
    with pytest.raises(cnnbench.CnnbenchError, match="did you mean 'lenet5'"):
        cnnbench.build("lenet6")


def test_a_model_is_saved_and_loaded(tmp_path: Path) -> None:
    model = cnnbench.load("lenet5", seed=3)
    model.save(tmp_path / "w.safetensors")
    again = cnnbench.load("lenet5", tmp_path / "w.safetensors")
    assert again.graph == model.graph
    assert again.arrays.keys() == model.arrays.keys()
    assert all(np.array_equal(again.arrays[name], model.arrays[name]) for name in model.arrays)
    assert cnnbench.load(model) is model
    with pytest.raises(cnnbench.CnnbenchError, match="do not fit"):
        cnnbench.load("lenet5", {"conv1.weight": np.zeros((6, 1, 5, 5))})
    with pytest.raises(cnnbench.CnnbenchError, match="its own image"):
        cnnbench.load(model, image=28)


def test_a_prediction_is_a_matrix_product_of_its_last_node() -> None:
    """The last node recomputed from the node before it and the weights: an oracle that shares no code."""
    model = cnnbench.load("lenet5", seed=1)
    x = np.random.default_rng(0).normal(size=(2, 1, 32, 32))
    found = cnnbench.predict(model, x, precision="float64", nodes=["relu4"])
    expected = found.nodes["relu4"] @ model.arrays["fc3.weight"].astype(float).T + model.arrays["fc3.bias"]
    assert np.abs(found.output - expected).max() < 1e-12 * np.abs(expected).max()
    assert np.array_equal(found.output, cnnbench.predict("lenet5", x, precision="float64", seed=1).output)
    assert (found.backend, found.mode, list(found.outputs)) == ("numpy", "fast", ["logits"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "numpi"}, "did you mean 'numpy'"),
        ({"backend": "numpy:fsat"}, "did you mean 'fast'"),
        ({"precision": "bfloat16"}, "has no 'bfloat16'"),
        ({"layout": "sideways"}, "has no 'sideways'"),
        ({"nodes": ["conv11"]}, "did you mean 'conv1'"),
        ({"weights": "missing.safetensors"}, "does not exist"),
    ],
)
def test_what_predict_cannot_do_is_said(arguments: dict, message: str) -> None:
    with pytest.raises(cnnbench.CnnbenchError, match=message):
        cnnbench.predict("lenet5", np.zeros((1, 1, 32, 32)), **arguments)


def test_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(cnnbench.CnnbenchError, match="wrong shape"):
        cnnbench.predict(cnnbench.build("lenet5"), np.zeros((1, 1, 28, 28)))
    with pytest.raises(cnnbench.CnnbenchError, match="do not fit the network"):
        cnnbench.predict("lenet5", {"picture": np.zeros((1, 1, 32, 32))})
    with pytest.raises(cnnbench.CnnbenchError, match="no array of real numbers"):
        cnnbench.predict("lenet5", ["a", "b"])


def test_verification_passes_on_a_right_backend_and_names_the_node_of_a_fault(tmp_path: Path) -> None:
    right = cnnbench.verify("lenet5", backends=["numpy"], checks=["local", "end_to_end"])
    assert right.passed
    assert right.exit_code == 0
    wrong = cnnbench.verify("lenet5", backends=["numpy"], checks=["local"], fault="conv.kernel_flip", folder=tmp_path)
    assert not wrong.passed
    (row,) = wrong.frame().to_dict("records")
    assert (row["check"], row["status"], row["node"]) == ("local", "failed", "conv1")
    assert row["budget_used"] > 1000
    assert Path(row["reproducer"]).is_file()
    assert "conv1" in str(wrong)
    assert "reproduce with" in str(wrong)
    nodes = wrong.nodes()
    assert set(nodes.loc[nodes["budget_used"] > 1, "node"]) == {"conv1", "conv2"}
    assert cnnbench.replay(row["reproducer"], fault="conv.kernel_flip").status == "failed"
    assert cnnbench.replay(row["reproducer"]).status == "passed"


def test_nothing_checked_is_not_passed() -> None:
    found = cnnbench.verify("lenet5", backends=["numpy"], precision="bfloat16")
    assert not found.passed
    assert found.exit_code == 5
    (row,) = found.frame().to_dict("records")
    assert row["status"] == "skipped"
    assert "bfloat16" in row["message"]


def test_an_unknown_keyword_is_refused_with_the_nearest() -> None:
    with pytest.raises(TypeError, match=r"run\(\) has no keyword 'quik': did you mean 'quick'"):
        cnnbench.run("suite.yaml", quik=True)  # type: ignore[call-arg]


def test_help_shows_every_keyword_with_what_it_means() -> None:
    import inspect

    assert {"backends", "shard", "recorders", "resume"} <= inspect.signature(cnnbench.run).parameters.keys()
    assert "Smallest batches" in (cnnbench.run.__doc__ or "")
    assert "instead of a new one" in (cnnbench.run.__doc__ or "")


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("face") / "tiny.yaml"
    path.write_text(SUITE)
    return path


def test_a_plan_says_what_would_run(suite: Path) -> None:
    assert len(cnnbench.plan(suite).cells) == 2
    assert [cell.mode for cell in cnnbench.plan(suite, expression="fast", shard=(1, 1)).cells] == ["fast"]
    with pytest.raises(cnnbench.CnnbenchError, match="the shard is not valid"):
        cnnbench.plan(suite, shard=(3, 2))


def test_nothing_to_run_or_compare_is_an_error(suite: Path, tmp_path: Path) -> None:
    with pytest.raises(cnnbench.CnnbenchError, match="no suite is given"):
        cnnbench.run()
    with pytest.raises(cnnbench.CnnbenchError, match="nothing to compare"):
        cnnbench.ab(suite)
    with pytest.raises(cnnbench.CnnbenchError, match="no such recorder"):
        cnnbench.run(suite, recorders=["mlfow"], output=tmp_path)
    assert not list(tmp_path.iterdir())


class Heard:
    """A recorder that remembers the cells that it is told of."""

    def __init__(self) -> None:
        self.cells: list[str] = []

    def started(self, run: object) -> None:
        self.cells = []

    def recorded(self, record: Record, folder: Path) -> None:
        assert (folder / "record.json").is_file()
        self.cells.append(record.cell.id)

    def finished(self, run: object) -> dict[str, str]:
        return {"heard": "here"}


@workers
def test_a_run_becomes_frames_and_is_found_by_its_suites_name(suite: Path, tmp_path: Path) -> None:
    heard: list[object] = []
    done = cnnbench.run(suite, backends=["numpy"], quick=True, recorders=(), output=tmp_path, listeners=[heard.append])
    assert done.exit_code == 0
    assert heard
    frame = cnnbench.results(done)
    assert frame[["network", "backend", "mode", "status"]].to_numpy().tolist() == [
        ["lenet5", "numpy", "reference", "ok"],
        ["lenet5", "numpy", "fast", "ok"],
    ]
    assert frame["latency_median_s"].between(frame["latency_low_s"], frame["latency_high_s"]).all()
    assert frame.equals(cnnbench.results("tiny", tmp_path))
    assert frame.equals(cnnbench.results(done.folder))
    calls = cnnbench.samples(done)
    assert calls.groupby("cell").size().tolist() == frame["samples"].tolist()
    assert set(cnnbench.checks(done)["check"]) == {"local", "end_to_end", "determinism"}
    assert cnnbench.node_budgets(done)["budget_used"].max() <= 1
    assert len(cnnbench.history(suite, tmp_path)) == 2
    assert cnnbench.compare(done)[0].ratio.value == 1
    recorder = Heard()
    assert cnnbench.log(done, {"heard": recorder}) == {"heard": "here"}
    assert recorder.cells == frame["cell"].tolist()
    again = cnnbench.run(resume=done, output=tmp_path, recorders=())
    assert again.folder == done.folder
    compared = cnnbench.compare(done, again)
    assert compared.differences == ()
    found = cnnbench.verdicts(cnnbench.gate(done, base=again))
    assert set(found["verdict"]) <= {"unchanged", "inconclusive"}
    file, content = cnnbench.bundle(done, tmp_path / "tiny.cnnbench.zip")
    assert file.is_file()
    assert "plan.json" in content.members


def test_a_run_goes_on_as_it_was_started_or_not_at_all(tmp_path: Path) -> None:
    suite = tmp_path / "tiny.yaml"
    suite.write_text(SUITE)
    done = cnnbench.run(suite, expression="fast", output=tmp_path, recorders=())
    assert [(record.status, record.reason) for record in done.records] == [("ok", None)]
    again = cnnbench.run(suite, resume=done, output=str(tmp_path), recorders=())
    assert again.records == done.records, "with the filters that it was started with, where none are given"
    assert repr(again) == f"RunResult({str(done.folder)!r}, 1 records, exit code 0)"
    assert len(cnnbench.results("tiny", str(tmp_path))) == len(cnnbench.history("tiny", str(tmp_path))) == 1
    assert cnnbench.run(suite, resume=done, timeout_s=99.0, output=tmp_path, recorders=()).records == done.records
    for changed in ({"seed": 7}, {"overrides": ["measure.latency.rounds=9"]}, {"expression": "reference"}):
        with pytest.raises(cnnbench.CnnbenchError, match="another plan"):
            cnnbench.run(suite, resume=done, output=tmp_path, recorders=(), **changed)
        with pytest.raises(cnnbench.CnnbenchError, match="chosen when it starts"):
            cnnbench.run(resume=done, output=tmp_path, recorders=(), **changed)
    suite.write_text(SUITE.replace("samples: ", "samples: 1"))
    with pytest.raises(cnnbench.CnnbenchError, match="another plan") as refused:
        cnnbench.run(suite, resume=done, output=tmp_path, recorders=())
    assert "samples" in str(refused.value)


def test_a_run_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    for ask in (cnnbench.results, cnnbench.samples, cnnbench.checks, cnnbench.node_budgets, cnnbench.history):
        with pytest.raises(cnnbench.CnnbenchError, match="no"):
            ask("nothing", tmp_path)


SCRIPT = """\
from pathlib import Path
import cnnbench
from cnnbench import Model, RunResult, VerifyResult

model: Model = cnnbench.load("lenet5", seed=1)
found: VerifyResult = cnnbench.verify(model, backends=["numpy"], batch=4)
done: RunResult = cnnbench.run("suites/smoke.yaml", backends=["numpy"], quick=True, output=Path("runs"))
ratio: float = cnnbench.compare(done)[0].ratio.value
reveal_type(cnnbench.predict(model, [[1.0]]).output)
{wrong}
"""


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("", None),
        ('cnnbench.run("x", quik=True)', 'Unexpected keyword argument "quik"'),
        ("cnnbench.nothing", 'no attribute "nothing"'),
        ("cnnbench.verify(3)", "incompatible type"),
    ],
)
def test_a_type_checker_understands_the_face(tmp_path: Path, wrong: str, message: str | None) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(wrong=wrong))
    root = Path(cnnbench.__file__).parents[1]
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(root / "pyproject.toml"), str(script)]
    process = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    if message is None:
        assert process.returncode == 0, process.stdout
        assert "ndarray" in process.stdout
    else:
        assert message in process.stdout
