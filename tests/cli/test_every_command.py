"""What holds for every command: clean JSON beside plugins that print, readers that go away, outputs that fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from forked_commands import CLOSED, FULL, UNREAD, ForkedCommands
from small_suite import small_suite

REPRODUCER = Path(__file__).parents[2] / "docs" / "reproducers" / "torch_compiled_erf.safetensors"
SUPPORT = str(Path(__file__).parents[1] / "support")


@dataclass(frozen=True)
class Command:
    """A command line; names in braces are files of the folder. ``codes``: what it may end with."""

    line: str
    codes: tuple[int, ...] = (0,)
    json: bool = True

    @property
    def name(self) -> str:
        return self.line.partition(" ")[0]


COMMANDS = (
    Command("list architectures"),
    Command("list backends"),
    Command("list layers -b numpy"),
    Command("list datasets"),
    Command("list programs"),
    Command("list views"),
    Command("list suites ."),
    Command("list faults"),
    Command("list runs runs"),
    Command("show lenet5"),
    Command("plan s.yaml"),
    Command("run s.yaml -o others --no-mlflow"),
    Command("verify simple_cnn --image 1x8x8 --num-classes 10 -b numpy --check exact"),
    Command("replay {reproducer} -b numpy", codes=(0, 4)),
    Command("reduce lenet5 -b numpy --check exact -o reduced"),
    Command("fuzz -b numpy --count 1 -o fuzzed"),
    Command("faults list"),
    Command("faults score numpy --network kind:relu --count 1"),
    Command("predict lenet5 -b numpy --input x.npy -o y.npy"),
    Command("profile lenet5 -b numpy --rounds 1"),
    Command("export lenet5 -o new.onnx"),
    Command("port lenet5 lenet5 -o port.md"),
    Command("conformance numpy -k test_relu"),
    Command("claims separable_cost bottlenecks --seeds 3"),
    Command("view lenet5 --image x.npy -o views"),
    Command("compare {run} --runs runs"),
    Command("compare {run} {run} --runs runs", codes=(0, 5)),
    Command("baseline set {run} --runs runs --baselines b"),
    Command("baseline show every --baselines base"),
    Command("gate {run} --runs runs --baseline base/every.json", codes=(5,)),
    Command("report {run} --runs runs"),
    Command("bundle {run} --runs runs -o new.zip"),
    Command("verify-bundle run.zip -o others", codes=(0, 1, 5)),
    Command("merge shards/every/{first} shards/every/{second} -o others"),
    Command("gc --runs runs --dry-run"),
    Command("ui --tracking-uri http://127.0.0.1:9 --no-browser --runs runs", json=False),
    Command("weights init lenet5 -o w2.safetensors"),
    Command("weights import lenet5 w.safetensors -o w3.safetensors"),
    Command("weights inspect w.safetensors"),
    Command("schema suite", json=False),
    Command("doctor"),
    Command("ab s.yaml --base {python} --dry-run"),
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("every")


@pytest.fixture(scope="module")
def commands(empty: Path) -> Iterator[ForkedCommands]:
    made = ForkedCommands(empty)
    yield made
    made.close()


@pytest.fixture(scope="module")
def folder(empty: Path, commands: ForkedCommands) -> Path:
    """A run, its two shards, a baseline, a bundle, a network's weights and an input."""
    import numpy as np

    suite = small_suite("every", matrix={"batch": [1, 2]})
    (empty / "s.yaml").write_text(json.dumps(suite.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
    np.save(empty / "x.npy", np.zeros((1, 1, 32, 32), np.float32))
    for line in (
        "run s.yaml -o runs --no-mlflow",
        "run s.yaml -o shards --no-mlflow --shard 1/2",
        "run s.yaml -o shards --no-mlflow --shard 2/2",
        "baseline set every --runs runs --baselines base",
        "bundle every --runs runs -o run.zip",
        "weights init lenet5 -o w.safetensors",
    ):
        code, _, err = commands.run(line.split())
        assert code == 0, err
    return empty


def arguments(command: Command, folder: Path) -> list[str]:
    first, second = sorted(path.name for path in (folder / "shards" / "every").iterdir())
    names = {"run": "every", "first": first, "second": second, "python": sys.executable, "reproducer": str(REPRODUCER)}
    return [part.format_map(names) for part in command.line.split()]


def test_every_command_is_listed_here() -> None:
    from cnnbench.cli.application import application

    commands = {info.name for info in application.registered_commands}
    commands |= {group.name for group in application.registered_groups}
    assert {command.name for command in COMMANDS} == commands
    parts = {f"{g.name} {c.name}" for g in application.registered_groups for c in g.typer_instance.registered_commands}
    assert parts <= {" ".join(command.line.split()[:2]) for command in COMMANDS}


@pytest.mark.parametrize("command", [item for item in COMMANDS if item.json], ids=lambda item: item.line[:20])
def test_json_stands_alone_whatever_plugins_print(command: Command, folder: Path, commands: ForkedCommands) -> None:
    """In Latin-1, too: what that cannot write is escaped."""
    paths = os.pathsep.join([SUPPORT, os.environ.get("PYTHONPATH", "")])  # of workers
    code, out, err = commands.run(
        [*arguments(command, folder), "--json"],
        encoding="latin-1",
        CNNBENCH_PLUGINS="chatty_plugin",
        PYTHONPATH=paths,
    )
    json.loads(out.decode("latin-1"))
    assert code in command.codes, err
    assert b"Traceback" not in err
    if command.name in ("plan", "run", "show", "verify"):
        for word in ("printed", "written", "written to the first stdout", "descriptor", "process"):
            assert f"{word} at import".encode() in err
            assert f"{word} at exit".encode() in err


COSTLY = ("conformance", "faults score", "fuzz", "list layers", "verify-bundle")  # ``run`` stands for them


def quick_or_slow() -> Iterator[object]:
    for command in COMMANDS:
        yield pytest.param(command, marks=[pytest.mark.slow] if command.line.startswith(COSTLY) else [])


@pytest.mark.parametrize("command", list(quick_or_slow()), ids=lambda item: item.line[:20])
def test_readers_that_go_away_change_no_exit_code(command: Command, folder: Path, commands: ForkedCommands) -> None:
    """Both streams lead to a pipe that nobody reads."""
    code, _, _ = commands.run(arguments(command, folder), streams=(UNREAD, UNREAD))
    assert code in command.codes


def _shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line.replace("cnnbench", f"{sys.executable} -m cnnbench")],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("line", ["list backends", "--help", "--version", "plan s.yaml --json"])
@pytest.mark.usefixtures("folder")
def test_a_standard_output_that_is_full_or_closed(line: str, commands: ForkedCommands) -> None:
    code, _, err = commands.run(line.split(), streams=(FULL, "stderr"))
    assert (code, err) == (2, b"error: standard output: No space left on device\n")
    code, out, err = commands.run(line.split(), streams=(CLOSED, "stderr"))
    assert (code, out, err) == (0, b"", b"")


def test_streams_that_are_closed_lend_their_numbers_to_no_file(folder: Path) -> None:
    done = _shell("cnnbench predict lenet5 -b numpy --input x.npy -o closed.npy <&- >&- 2>&-", folder)
    assert done.returncode == 0
    assert (folder / "closed.npy").read_bytes().startswith(b"\x93NUMPY")


def test_a_run_whose_output_ends_goes_on_to_its_summary(folder: Path) -> None:
    done = _shell("cnnbench run s.yaml -o piped --no-mlflow 2>&1 | head -1; echo ${PIPESTATUS[0]}", folder)
    assert done.stdout.endswith("\n0\n")
    (summary,) = (folder / "piped").glob("every/*/summary.json")
    assert json.loads(summary.read_text(encoding="utf-8"))["exit_code"] == 0


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gate {run} --runs runs --base {run}", ("verdict: inconclusive", "metric: latency")),
        ("compare {run} --runs runs", ("simple_cnn", "numpy")),
        ("plan s.yaml", ("latency",)),
        ("list layers -b numpy", ("native", "max_pool")),
        ("show lenet5", ("max_pool", "61,706")),
        ("profile resnet20 -b numpy --rounds 1", ("roofline", "layer1.0.conv1")),
        ("doctor", ("interpreter",)),
        ("baseline show every --baselines base", ("ok",)),
    ],
)
def test_tables_fit_the_terminal_with_their_words_whole(
    line: str, words: tuple[str, ...], columns: int, folder: Path, commands: ForkedCommands
) -> None:
    shown = commands.shown(arguments(Command(line), folder), columns)
    for word in words:
        assert any(word in text for text in shown), "\n".join(shown)
    sentences = ("note: ", "lenet5: ", "  output ", "The gate ", "run 20", "report: ", "records: ")
    assert [text for text in shown if len(text) > columns and not text.startswith(sentences)] == []


LONG = "a" * 300
UNUSABLE = (  # a command line, and what its message names
    ("run s.yaml --no-mlflow --junit /proc/x/y.xml", "--junit /proc/x/y.xml"),
    ("run s.yaml --no-mlflow --junit .", "--junit .: nothing can be written there: Is a directory"),
    ("run s.yaml --no-mlflow -o s.yaml", "--output s.yaml: nothing can be written there: Not a directory"),
    (f"run s.yaml --no-mlflow --junit {LONG}", "File name too long"),
    ("ab s.yaml --base {python} --no-mlflow -o s.yaml", "--output s.yaml"),
    ("verify-bundle run.zip --junit .", "--junit ."),
    ("verify-bundle .", "Is a directory"),
    ("verify lenet5 -b numpy -o s.yaml", "--output s.yaml"),
    ("predict lenet5 -b numpy --input x.npy -o .", "--output ."),
    ("predict lenet5 -b numpy --input . -o y.npy", "Is a directory"),
    ("gate {run} --runs runs --base {run} --junit /dev/null/x", "--junit /dev/null/x"),
    ("gate {run} --runs runs --baseline .", "Is a directory"),
    ("report {run} --runs runs --publish s.yaml", "--publish s.yaml"),
    ("report {run} --runs runs --log --tracking-uri sqlite:////proc/x/y.db", "sqlite:////proc/x/y.db"),
    ("report {run} --runs runs --log --tracking-uri postgresql://h/db", "postgresql://h/db"),
    ("ui --tracking-uri sqlite:////proc/x/y.db", "sqlite:////proc/x/y.db"),
    ("bundle {run} --runs runs -o .", "."),
    ("bundle {run} --runs runs -o /proc/x.zip", "/proc/x.zip"),
    ("baseline set {run} --runs runs --baselines s.yaml", "s.yaml"),
    ("weights init lenet5 -o .", "--output ."),
    ("weights import lenet5 w.safetensors -o /proc/x.safetensors", "--output /proc/x.safetensors"),
    ("weights inspect .", "weights are read from a file"),
    ("schema -o s.yaml", "s.yaml"),
    ("show lenet5 --graph /proc/x.svg", "/proc/x.svg"),
    ("show .", "unknown architecture '.'"),
    ("plan .", "Is a directory"),
    (f"plan {LONG}.yaml", "File name too long"),
    (f"compare {LONG} --runs runs", LONG),
    (f"merge {LONG} other --runs runs", LONG),
    ("plan s.yaml -k " + "_or_".join(["none"] * 3000), "no cell is left"),
    ("plan s.yaml -k " + "(" * 3000 + "x" + ")" * 3000, "nested too deeply"),
)


@pytest.mark.parametrize(("line", "message"), UNUSABLE, ids=lambda text: text[:40])
def test_what_cannot_be_read_or_written_is_one_message(
    line: str, message: str, folder: Path, commands: ForkedCommands
) -> None:
    """Known before anything is measured: no run is made."""
    before = len(list(folder.glob("**/cells")))
    given = [part.replace("_or_", " or ") for part in arguments(Command(line), folder)]
    code, out, err = commands.run(given, MLFLOW_TRACKING_URI="")
    text = err.decode()
    assert (code, out) == (2, b""), text
    assert "error: " in text
    assert message in text
    assert len(text) < 3000
    assert "Traceback" not in text
    assert len(list(folder.glob("**/cells"))) == before


@pytest.mark.parametrize("size", ["8 GB", "-1", "1e9", "²", "9" * 5000])
@pytest.mark.parametrize("line", ["run s.yaml --no-mlflow", "verify simple_cnn --image 1x8x8 -b numpy"])
def test_a_size_of_the_cache_that_is_none_is_refused_before_anything_runs(
    line: str, size: str, folder: Path, commands: ForkedCommands
) -> None:
    before = len(list(folder.glob("**/cells")))
    code, out, err = commands.run(line.split(), CNNBENCH_CACHE_BYTES=size)
    assert (code, out) == (2, b"")
    for text in ("error: $CNNBENCH_CACHE_BYTES", f"received: {size[:900]}", "expected: a whole number of bytes"):
        assert text in err.decode()
    assert len(list(folder.glob("**/cells"))) == before


def test_a_job_s_summary_that_cannot_be_written_changes_no_verdict(folder: Path, commands: ForkedCommands) -> None:
    line = Command("gate {run} --runs runs --base {run} --json")
    code, out, err = commands.run(arguments(line, folder), GITHUB_STEP_SUMMARY="/proc/none/x")
    assert json.loads(out)["exit_code"] == code == 5
    assert b"/proc/none/x ($GITHUB_STEP_SUMMARY)" in err


@pytest.fixture
def read_only(folder: Path) -> Iterator[None]:
    """The runs and shards as a read-only store gives them."""
    paths = [path for name in ("runs", "shards") for path in (folder / name, *(folder / name).rglob("*"))]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield
    for path, mode in modes.items():
        path.chmod(mode)


@pytest.mark.usefixtures("read_only")
def test_what_only_reads_takes_read_only_runs(folder: Path, commands: ForkedCommands) -> None:
    for line, codes in (
        ("merge shards/every/{first} shards/every/{second} -o merged", (0,)),
        ("compare {run} {run} --runs runs", (0, 5)),
        ("bundle {run} --runs runs -o read_only.zip", (0,)),
        ("baseline set {run} --runs runs --baselines read_only", (0,)),
        ("list runs runs", (0,)),
        ("gc --runs runs --keep 1 --dry-run", (0,)),
    ):
        code, _, err = commands.run(arguments(Command(line), folder), bound=True)
        assert code in codes, err
        assert b"Traceback" not in err


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize(
    "line",
    ["gate {run} --runs runs --base {run}", "report {run} --runs runs --publish p", "run --resume {run} -o runs"],
)
def test_what_writes_beside_records_refuses_read_only_runs(line: str, folder: Path, commands: ForkedCommands) -> None:
    code, out, err = commands.run(arguments(Command(line), folder), bound=True)
    assert (code, out) == (2, b"")
    assert b"Permission denied" in err
    assert b"Traceback" not in err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names that are no UTF-8")
def test_a_folder_whose_name_is_no_utf_8(tmp_path: Path, commands: ForkedCommands) -> None:
    """A run within it is like any other; a network whose path holds it fits no record, and is refused."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/gr\xfcn"))
    folder.mkdir()
    suite = small_suite("odd").model_dump(mode="json", exclude_none=True)
    (folder / "s.yaml").write_text(json.dumps(suite), encoding="utf-8")
    for line in ("run s.yaml", "bundle latest", "report latest", "compare latest --json"):
        code, _, err = commands.run(line.split(), folder=folder)
        assert code == 0, err
        assert b"Traceback" not in err
    suite["matrix"] = {"architectures": ["file:net.yaml"], "backends": ["numpy"]}
    (folder / "f.yaml").write_text(json.dumps(suite), encoding="utf-8")
    code, _, err = commands.run(["plan", "f.yaml"], folder=folder)
    assert code == 2
    assert b"a path that is no UTF-8 fits no record" in err
