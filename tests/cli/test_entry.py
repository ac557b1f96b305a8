"""The command line's frame: exit codes, errors without a traceback, help that answers at once."""

from __future__ import annotations

import subprocess
import sys
from unittest.mock import Mock

import pytest

from cnnbench.cli import entry, listing
from cnnbench.errors import CnnbenchError, NumericalError, WorkerError

HEAVY = (
    "numpy",
    "pydantic",
    "mlflow",
    "pandas",
    "matplotlib",
    "torch",
    "jax",
    "tensorflow",
    "rich",
    "sklearn",
    "ruamel",
)


def python(*code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *code], capture_output=True, text=True, timeout=60, check=False)


def test_help_names_every_command() -> None:
    done = python("-m", "cnnbench", "--help")
    assert done.returncode == 0
    for name in (
        "plan",
        "list",
        "show",
        "predict",
        "conformance",
        "weights",
        "schema",
        "doctor",
        "run",
        "gate",
        "compare",
        "baseline",
        "report",
        "ui",
        "verify",
    ):
        assert f"\n  {name} " in done.stdout
    assert done.stderr == ""


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from cnnbench.cli.entry import execute; code = execute(['--help']); "
        f"heavy = [m for m in {HEAVY!r} if m in sys.modules]; print(code, heavy, file=sys.stderr)"
    )
    assert python("-c", code).stderr.strip() == "0 []"


def test_help_takes_little_processor_time() -> None:
    """Beside that of Python alone, which a shared machine slows down too: 13 times as much here, without bytecode."""
    code = (
        "import resource, subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]], "
        "stdout=subprocess.DEVNULL, check=True); used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(used.ru_utime + used.ru_stime)"
    )
    used = [
        [float(python("-c", code, *asked).stdout) for asked in (("-m", "cnnbench", "--help"), ("-c", "pass"))]
        for _ in range(3)
    ]
    shown, alone = (min(each) for each in zip(*used, strict=True))
    assert shown < 25 * alone


def test_version() -> None:
    from cnnbench import __version__

    assert python("-m", "cnnbench", "--version").stdout == f"cnnbench {__version__}\n"


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (CnnbenchError("a"), 2),
        (WorkerError("b"), 3),
        (NumericalError("c"), 4),
        (KeyboardInterrupt(), 130),
        (RuntimeError("d"), 70),
    ],
)
def test_what_a_command_raises_becomes_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], raised: BaseException, code: int
) -> None:
    # Not a function of this module, which counts as a plugin's where another test has registered a kind.
    monkeypatch.setattr(listing, "_print", Mock(side_effect=raised))
    assert entry.execute(["list", "backends"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert ("Traceback" in err) is (code == 70)


def test_an_expected_error_has_its_traceback_only_with_verbose(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise CnnbenchError("it broke", where="here", remedy="mend it")

    monkeypatch.setattr(listing, "_print", fail)
    entry.execute(["list", "backends"])
    assert capsys.readouterr().err == "error: here: it broke\n  remedy: mend it\n"
    entry.execute(["list", "backends", "-v"])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["shoow"], ["show"], ["show", "lenet5", "--imag", "3"], ["plan", "a", "--seed=x"]]
)
def test_wrong_usage_ends_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert entry.execute(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Error" in err


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m cnnbench show resnet50 --json | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "0\n"
    assert done.stderr == ""


def test_an_interruption_within_an_exec_ends_with_130_and_one_sentence():
    """As one within a dataclass's making does: CPython would end by the signal itself."""
    code = "import cnnbench.cli.entry as e; e.execute = lambda a: exec('raise KeyboardInterrupt'); e.main([])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "interrupted before the command was done\n")
