"""Memory, yardsticks, observation and environment, held by what this process itself does."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cnnbench.measurement import environment, memory
from cnnbench.measurement.observation import observe, processor_seconds, wait_until_idle
from cnnbench.measurement.yardsticks import yardsticks

pytestmark = pytest.mark.alone

needs_kernel = pytest.mark.skipif(memory.unavailable() is not None, reason=str(memory.unavailable()))


@needs_kernel
def test_a_branch_whose_name_is_no_utf_8_is_named_with_replacements(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (
        ["init", "-q"],
        ["commit", "-q", "--allow-empty", "-m", "x"],
        ["checkout", "-q", "-b", b"ol\xe9"],
    ):
        subprocess.run([*git, *arguments], check=True)
    assert environment.commit_of(tmp_path)["branch"] == "ol\ufffd"


def test_the_peak_holds_what_was_allocated_and_freed_until_it_is_reset():
    memory.release_free_memory()
    assert memory.reset_peak()
    before = memory.peak_bytes()
    block = np.ones(8 * 2**20)  # 64 MiB
    del block
    assert 60 * 2**20 < memory.peak_bytes() - before < 80 * 2**20
    memory.release_free_memory()
    memory.reset_peak()
    assert memory.peak_bytes() < before + 16 * 2**20


@needs_kernel
def test_a_childs_peak_is_its_own_and_not_its_parents():
    block = np.ones(32 * 2**20)  # 256 MiB here
    code = "from cnnbench.measurement.memory import peak_bytes; print(peak_bytes())"
    child = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert child < 100 * 2**20 < block.nbytes


def test_where_the_kernel_tells_nothing_memory_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "missing")
    assert memory.peak_bytes() is None
    assert memory.resident_bytes() is None
    assert "does not tell" in memory.unavailable()


VERSION_2 = {
    "memory.max": "1000\n", "memory.current": "900\n", "memory.stat": "anon 700\ninactive_file 150\n",
}  # fmt: skip
VERSION_1 = {
    "memory.limit_in_bytes": "1000\n", "memory.usage_in_bytes": "900\n", "memory.stat": "total_inactive_file 150\n",
}  # fmt: skip


def group(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("line", "inside", "files"),
    [("0::/a/b", "a/b", VERSION_2), ("4:memory:/a/b", "memory/a/b", VERSION_1), ("0::/elsewhere", ".", VERSION_2)],
    ids=["version 2", "version 1", "a container's own mount"],
)
def test_what_a_control_group_leaves_is_what_is_left(tmp_path, line, inside, files):
    membership = tmp_path / "cgroup"
    membership.write_text(f"9:name=systemd:/\n{line}\n")
    group(tmp_path / "mount" / inside, files)
    assert memory.available_bytes(tmp_path / "mount", membership) == 250


def test_the_narrowest_of_the_groups_around_counts(tmp_path):
    membership = tmp_path / "cgroup"
    membership.write_text("0::/a/b\n")
    group(tmp_path / "a" / "b", VERSION_2 | {"memory.max": "max\n"})
    group(tmp_path / "a", VERSION_2 | {"memory.max": "800\n"})
    assert memory.available_bytes(tmp_path, membership) == 50
    group(tmp_path / "a", {"memory.max": "600\n"})
    assert memory.available_bytes(tmp_path, membership) == 0


def test_without_a_limit_it_is_what_the_machine_has(tmp_path):
    assert memory.available_bytes(tmp_path, tmp_path / "none") > 2**20


def test_an_observation_counts_processors_and_wall_time():
    end = observe()
    deadline = time.perf_counter() + 0.15
    while time.perf_counter() < deadline:
        pass
    busy = end()
    end = observe()
    time.sleep(0.15)
    idle = end()
    assert busy.wall_s >= 0.15
    assert busy.threads > 3 * idle.threads
    assert idle.threads < 0.3
    assert busy.processor_s <= busy.wall_s * 1.5
    if busy.stolen_s is not None:
        assert 0 <= busy.stolen_s <= busy.machine_s


def test_another_processs_time_is_seen():
    code = "import sys, time\nwhile time.process_time() < 0.2: pass\nprint('x', flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    used = processor_seconds(child.pid)
    child.communicate()
    if sys.platform == "linux":
        assert 0.15 <= used < 5
    assert processor_seconds(2**22 + 1) is None


def test_an_idle_process_is_idle_at_once():
    assert wait_until_idle(share=0.9, limit_s=0.2) < 0.25


def test_yardsticks_count_operations_over_seconds():
    ticks = iter(range(1000))

    class Ticking:
        def now(self):
            return float(next(ticks))

    measured = yardsticks(Ticking(), seconds=0.0)
    assert measured == {"matrix_product_gflop_per_s": 2 * 1024**3 / 1e9, "copy_gb_per_s": 2 * 128 * 2**20 / 1e9}


def test_the_environment_is_plain_data_and_tells_no_secret(monkeypatch, tmp_path):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    for name in ("TF_CLI_CONFIG_FILE", "TF_VAR_region", "TF_LOG"):  # Terraform's
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("CNNBENCH_ACCESS_TOKEN", "do not tell")
    captured = environment.capture(tmp_path)
    text = json.dumps(captured)
    assert "do not tell" not in text
    assert captured["variables"]["TF_NUM_INTRAOP_THREADS"] == "3"
    assert "elsewhere" not in captured["variables"].values()
    assert captured["packages"]["numpy"] == np.__version__
    assert captured["git"] is None
    assert captured["processors_allowed"]


def test_capturing_imports_no_framework():
    code = (
        "import sys; from cnnbench.measurement.environment import capture; capture()\n"
        "print([name for name in ('torch', 'jax', 'tensorflow', 'numpy', 'mlflow') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_fingerprint_is_the_machines_and_no_versions():
    captured = environment.capture()
    digest = environment.fingerprint(captured)
    assert (
        environment.fingerprint(captured | {"packages": {}, "kernel": "x", "load_average": [9], "git": None}) == digest
    )
    for change in ({"cpu_model": "another"}, {"cores": 96}, {"memory_gib": 1}, {"processors_allowed": [0] * 99}):
        assert environment.fingerprint(captured | change) != digest


def test_what_other_processes_use_is_told_apart_from_ones_own():
    if not Path("/proc/stat").exists():
        pytest.skip("the kernel does not tell")
    end = observe()
    time.sleep(0.1)
    with subprocess.Popen([sys.executable, "-c", "import time; t = time.time()\nwhile time.time() - t < 1.0: pass"]):
        time.sleep(0.2)
    disturbed = end()
    assert disturbed.foreign_s > 0.4  # the other process wants a second, of processors that may be shared
    assert disturbed.processor_s < 0.2
    assert disturbed.foreign_s <= disturbed.machine_s


def test_a_watch_tells_how_far_memory_rose_even_where_it_was_given_back():
    with memory.PeakWatch() as watch:
        held = np.ones(8 * 2**20)  # 64 MiB
        del held
    if memory.unavailable() is not None:
        assert watch.peak_bytes is None
        return
    assert 60 * 2**20 < watch.peak_bytes < 80 * 2**20
