"""Suites as tests: what is collected, what passes and fails, and benchmarks that replay the worker's samples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnbench.pytest_plugin import ReplayedClock, is_suite

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")

HARNESS = Path(__file__).parents[1] / "harness"  # where the faulty backend's plugin lies
SUITE = """\
schema_version: 1
name: small
matrix:
  architectures: lenet5
  backends: [{name: numpy, mode: fast}, {name: absent, mode: x}]
checks: [end_to_end, determinism]
measure: {latency: {launches: 1, rounds: 2, samples: 4, warmup: {max_s: 1}}, memory: false, yardsticks: false}
"""
ONE = SUITE.replace(", {name: absent, mode: x}", "")
FAULTY = ONE.replace("lenet5", "simple_cnn\n  image: [[1, 8, 8]]\n  num_classes: 10").replace(
    "{name: numpy, mode: fast}", "{name: faulty, mode: [good, crash]}"
)


FOREIGN = "schema_version: 1\njobs: {}\nmatrix:\n  python: [3.11]\n"


@pytest.fixture(autouse=True)
def by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest-benchmark measures nothing where these say that tests run beside each other."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    options = ("-p", "no:cacheprovider", "-p", "no:xdist", "-v", *arguments)
    return pytester.runpytest_subprocess(*options, timeout=120)


def test_only_files_with_both_keys_are_suites(tmp_path: Path) -> None:
    def write(text: str) -> Path:
        path = tmp_path / "x.yaml"
        path.write_bytes(text.encode("latin-1"))
        return path

    assert is_suite(write(SUITE))
    assert not is_suite(write("schema_version: 1\nname: x\n"))
    assert not is_suite(write("a:\n  schema_version: 1\n  matrix: {}\n"))
    assert not is_suite(write("matrix: [1]\n"))
    assert not is_suite(write(FOREIGN))
    assert not is_suite(write("schema_version: 2\nmatrix: [1, 2]\nname: foreign\n"))
    assert not is_suite(write("schema_version: 1\nmatrix: {backend: [a], python: [3.11]}\n"))
    assert is_suite(write(FOREIGN), named=True)
    assert not is_suite(write("schema_version: 1\nmatrix: \xff"))
    assert not is_suite(tmp_path / "none.yaml")


def test_the_plugin_imports_pytest_and_the_standard_library_only() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import cnnbench.pytest_plugin; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "['cnnbench']"


def test_other_yaml_files_are_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", other="name: x\nmatrix: [1]\n", broken="a: [1, 2\n")
    pytester.makefile(".yml", ci=FOREIGN)
    assert run(pytester).ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_file_that_is_named_must_be_a_suite(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yml", ci=FOREIGN)
    result = run(pytester, "ci.yml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ci.yml:*unknown key*"])


@pytest.mark.parametrize("option", ["--benchmark-disable", "--benchmark-skip"])
def test_nothing_is_timed_where_benchmarks_are_off(pytester: pytest.Pytester, option: str) -> None:
    pytester.makefile(".yaml", small=ONE)
    result = run(pytester, option, "--cnnbench-output", "kept", "-rs")
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines([f"*SKIPPED*{option}*"])
    _nothing_timed(pytester)


def test_nothing_is_timed_while_workers_run_tests_beside_each_other(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", small=ONE)
    options = ("-p", "no:cacheprovider", "-n", "2", "-rs", "--cnnbench-output", "kept")
    result = pytester.runpytest_subprocess(*options, timeout=120)
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(["*SKIPPED*pytest-xdist*"])
    _nothing_timed(pytester)


def _nothing_timed(pytester: pytest.Pytester) -> None:
    """Every process that ran checks of the group has records with checks and without a latency."""
    paths = list(pytester.path.glob("kept/*/*/cells/*/record.json"))
    assert paths
    for path in paths:
        record = json.loads(path.read_text(encoding="utf-8"))
        assert record["checks"]
        assert record["latency"] is None


def test_checks_and_timings_are_items_and_samples_are_replayed(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", small=ONE)
    result = run(pytester, "--benchmark-json=out.json", "--cnnbench-output=runs")
    result.assert_outcomes(passed=3)
    name = "lenet5-numpy-fast-b1-1x32x32-float32"
    result.stdout.fnmatch_lines(
        [f"*small.yaml::{name}[[]{what}[]] PASSED*" for what in ("end_to_end", "determinism", "latency")]
    )
    (benchmark,) = json.loads((pytester.path / "out.json").read_text())["benchmarks"]
    (samples,) = (pytester.path / "runs").glob(f"small/*/cells/{name}/samples.jsonl")
    recorded = [json.loads(line)["latency_s"] for line in samples.read_text().splitlines()]
    assert len(recorded) == 8
    assert benchmark["stats"]["data"] == recorded
    assert benchmark["group"] == "lenet5-b1-1x32x32-float32"
    assert benchmark["extra_info"]["cell"]["backend"] == "numpy"
    (pytester.path / "before.json").write_text((pytester.path / "out.json").read_text())
    compared = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", "before.json", "out.json"],
        cwd=pytester.path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert compared.returncode == 0
    assert name in compared.stdout


def test_only_what_is_selected_is_run(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", small=ONE)
    run(pytester, "-k", "determinism", "--cnnbench-output=runs").assert_outcomes(passed=1, deselected=2)
    (record,) = (json.loads(path.read_text()) for path in (pytester.path / "runs").glob("small/*/cells/*/record.json"))
    assert [check["name"] for check in record["checks"]] == ["determinism"]
    assert record["latency"] is None


def test_a_crash_fails_its_own_cells_items_only(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNBENCH_PLUGINS", "faulty_backend")
    monkeypatch.setenv("PYTHONPATH", str(HARNESS))
    pytester.makefile(".yaml", small=FAULTY)
    result = run(pytester, "-k", "latency", "--cnnbench-set", "checks=[]")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*faulty-good*PASSED*", "*faulty-crash*FAILED*", "*crashed: *"])
    result.stdout.no_fnmatch_line("*was not used*")


def test_a_program_that_failed_its_checks_has_no_timing_at_any_batch(pytester: pytest.Pytester, monkeypatch) -> None:
    monkeypatch.setenv("CNNBENCH_PLUGINS", "faulty_backend")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HARNESS), *sys.path]))
    suite = FAULTY.replace("mode: [good, crash]", "mode: [wrong]").replace("backends:", "batch: [1, 2]\n  backends:")
    pytester.makefile(".yaml", suite=suite.replace("[end_to_end, determinism]", "[end_to_end]"))
    result = run(pytester)
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["*its program was not proven: *b1*"])


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interruption_ends_the_session(pytester: pytest.Pytester, number: str) -> None:
    """No group is measured after it."""
    pytester.makefile(".yaml", suite=ONE.replace("lenet5", "lenet5\n  batch: [1, 2]"))
    pytester.makeconftest(
        "import os, signal, time\n"
        "from cnnbench.harness.run.executors import LocalExecutor\n"
        "def execute(*given):\n"
        "    with open('measured', 'a') as file:\n"
        "        file.write('group ')\n"
        f"    os.kill(os.getpid(), signal.{number})\n"
        "    time.sleep(10)\n"
        "LocalExecutor.execute = execute\n"
    )
    result = run(pytester, "--cnnbench-output", "kept")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert (pytester.path / "measured").read_text() == "group "
    (summary,) = (pytester.path / "kept").glob("*/*/summary.json")
    assert json.loads(summary.read_text())["interrupted"]


def test_a_typo_is_a_collection_error_with_its_place(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", small=ONE.replace("matrix:\n  architectures", "matrix:\n  architecture"))
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*small.yaml:4:3: unknown key 'architecture' in matrix*", "*did you mean 'architectures'*"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_the_clock_loses_no_digits() -> None:
    clock = ReplayedClock()
    samples = [0.1, 1e-7, 0.3, 12.345678901234567]
    clock.samples = iter(samples)
    now = clock.timer()
    replayed = []
    for _ in samples:
        clock.reset()
        start = now()
        clock.call()
        replayed.append(now() - start)
    assert replayed == samples
