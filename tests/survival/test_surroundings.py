"""MLflow that is locked, down, dying or mute, clocks that jump, two runs at once: records are made all the same."""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import sqlite3
import subprocess
import threading
import zipfile
from pathlib import Path

import pytest
from real_command import wait_for

WARNED = "recorder 'mlflow' failed"
PATIENCE_S = 100  # MLflow's own is 120 for the first request, and it repeats it


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    asked = 0


class _Answers(http.server.BaseHTTPRequestHandler):
    """Healthy, and no experiment yet: as much of MLflow's server as the beginning of a run asks."""

    def _answer(self) -> None:
        self.server.asked += 1
        content = b'{"experiments": []}' if "experiments/search" in self.path else b"OK"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _answer

    def log_message(self, *args) -> None:
        pass


class _Fails(_Answers):
    def _answer(self) -> None:
        self.server.asked += 1
        self.send_response(500)
        self.end_headers()
        self.wfile.write(b"<html>it is not well</html>")

    do_GET = do_POST = _answer


@pytest.fixture
def server():
    """Starts servers by their handler; gives them with their address."""
    started = []

    def start(handler):
        made = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=made.serve_forever, daemon=True).start()
        started.append(made)
        return made, f"http://127.0.0.1:{made.server_address[1]}"

    yield start
    for made in started:
        made.shutdown()
        made.server_close()


def _measured_but_not_logged(command, ended, where: str) -> None:
    assert ended.code == 0, ended.text
    assert command.statuses() == {"good": "ok"}
    assert WARNED in ended.stderr
    assert where in ended.text
    assert "Traceback" not in ended.stderr
    assert any(WARNED in note for note in command.summary()["notes"])
    assert ended.seconds < PATIENCE_S


@pytest.mark.slow
def test_mlflow_s_database_is_locked(command):
    """Another connection holds it: the run warns within seconds and logs nothing; later it can be sent."""
    command.suite("good")
    made = command.run("run", "suite.yaml")
    assert made.code == 0, made.text
    assert WARNED not in made.stderr
    other = sqlite3.connect(command.folder / "mlflow.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    ended = command.run("run", "suite.yaml")
    _measured_but_not_logged(command, ended, "database is locked")
    other.execute("ROLLBACK")
    other.close()
    sent = command.run("report", str(command.runs()[-1]), "--log")
    assert sent.code == 0, sent.text


def test_mlflow_s_database_is_no_database(command):
    (command.folder / "mlflow.db").write_bytes(b"not a database" * 1000)
    command.suite("good")
    _measured_but_not_logged(command, command.run("run", "suite.yaml"), "not a database")


def test_mlflow_s_server_is_down(command):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    command.suite("good")
    _measured_but_not_logged(command, command.run("run", "suite.yaml", "--tracking-uri", address), "Connection refused")


def test_mlflow_s_server_never_answers(command):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"http://127.0.0.1:{mute.getsockname()[1]}"
        command.suite("good")
        ended = command.run("run", "suite.yaml", "--tracking-uri", address)
    _measured_but_not_logged(command, ended, "timed out")


def test_mlflow_s_server_fails(command, server):
    failing, address = server(_Fails)
    command.suite("good")
    _measured_but_not_logged(command, command.run("run", "suite.yaml", "--tracking-uri", address), address)
    assert failing.asked


def test_passwords_and_tokens_of_the_tracking_address_are_nowhere(command, server):
    """Not on the streams, in no file of the run, in no report and no bundle, whether the server fails or not."""
    _, address = server(_Fails)
    secret = address.replace("http://", "http://us3r:s3cr%40t@") + "/?token=t0ken9"
    hidden = ("us3r", "s3cr%40t", "s3cr@t", "t0ken9")
    command.suite("good", checks={"names": ["end_to_end"]})
    for line in (
        ("run", "suite.yaml", "--tracking-uri", secret, "-v"),
        ("report", "latest", "--log", "--tracking-uri", secret, "-v"),
        ("bundle", "latest", "-o", "run.zip"),
        ("doctor", "--json"),
    ):
        ended = command.run(*line, MLFLOW_TRACKING_URI=secret)
        assert ended.code == (2 if line[0] == "report" else 0), ended.text
        assert not [word for word in hidden if word in ended.text], ended.text
    with zipfile.ZipFile(command.folder / "run.zip") as bundle:
        texts = [bundle.read(name) for name in bundle.namelist()]
    texts += [path.read_bytes() for path in command.folder.glob("reports/**/*") if path.is_file()]
    assert len(texts) > 10
    assert not [word for word in hidden for text in texts if word.encode() in text]


def test_mlflow_s_server_dies_in_mid_run(command, server):
    """It answered when the run started, and is gone when the run is to be logged."""
    dying, address = server(_Answers)
    command.suite("good")
    mark = command.folder / "mark"
    process = command.start("run", "suite.yaml", "--tracking-uri", address, PERIL_MARK=str(mark), PERIL_STAGE="calls")
    assert wait_for(mark.exists), process.communicate(timeout=5)
    assert dying.asked
    dying.shutdown()
    dying.server_close()
    mark.unlink()
    _, stderr = process.communicate(timeout=200)
    assert process.returncode == 0, stderr
    assert WARNED in stderr
    assert "Connection refused" in stderr
    assert command.statuses() == {"good": "ok"}


@pytest.mark.slow
def test_two_runs_at_once_in_one_directory(command):
    """Each has a folder of its own, and both are logged to the one database, which neither had before."""
    command.suite("good", "slow")
    both = [command.start("run", "suite.yaml") for _ in range(2)]
    ends = [(process.communicate(timeout=200), process.returncode) for process in both]
    for (_, stderr), code in ends:
        assert code == 0, stderr
        assert WARNED not in stderr
    assert len(command.runs()) == 2
    for folder in command.runs():
        assert command.statuses(folder) == {"good": "ok", "slow": "ok"}
        assert (folder / "mlflow.json").exists()


def test_two_runs_at_once_in_one_folder(command):
    """The second is refused while the first goes on."""
    command.suite("good")
    mark = command.folder / "mark"
    first = command.start("run", "suite.yaml", "--no-mlflow", PERIL_MARK=str(mark), PERIL_STAGE="calls")
    assert wait_for(mark.exists), first.communicate(timeout=5)
    (folder,) = command.runs()
    second = command.run("run", "--resume", str(folder), "--no-mlflow")
    assert second.code == 2
    assert "another process is running in this folder" in second.stderr
    mark.unlink()
    _, stderr = first.communicate(timeout=200)
    assert first.returncode == 0, stderr
    assert command.statuses() == {"good": "ok"}


JUMPING_CLOCK = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
/* The wall clock stands an hour ahead, a day behind or right, by turns of 50 ms of the monotonic clock. */
static time_t offset(void) {
  static int (*real)(clockid_t, struct timespec *);
  struct timespec now;
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  real(CLOCK_MONOTONIC, &now);
  switch ((now.tv_sec * 20 + now.tv_nsec / 50000000) % 3) { case 0: return 3600; case 1: return -86400; }
  return 0;
}
int clock_gettime(clockid_t clock, struct timespec *result) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int code = real(clock, result);
  if (!code && clock == CLOCK_REALTIME) result->tv_sec += offset();
  return code;
}
int gettimeofday(struct timeval *result, void *zone) {
  struct timespec now;
  int code = clock_gettime(CLOCK_REALTIME, &now);
  result->tv_sec = now.tv_sec;
  result->tv_usec = now.tv_nsec / 1000;
  return code;
}
time_t time(time_t *result) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (result) *result = now.tv_sec;
  return now.tv_sec;
}
"""


def test_the_clock_jumps(command):
    """The wall clock of the run and its workers jumps by hours 20 times a second: durations do not notice."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler for the library that moves the clock")
    source, library = command.folder / "clock.c", command.folder / "clock.so"
    source.write_text(JUMPING_CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    command.suite("good", "slow", checks={"names": ["end_to_end"]})
    ended = command.run("run", "suite.yaml", LD_PRELOAD=str(library))
    assert ended.code == 0, ended.text
    for record in command.records().values():
        assert record["status"] == "ok"
        assert 0 < record["latency"]["median_s"]["value"] < 1
        assert all(0 <= value < 60 for name, value in record["phases"].items() if name.endswith("_s") and value)
    seconds = command.summary()["seconds"]
    assert 0 < seconds["total"] < ended.seconds
    assert all(value >= 0 for value in seconds.values())
    (folder,) = command.runs()
    starts = {json.loads(path.read_text())["started_utc"] for path in folder.glob("cells/*/record.json")}
    assert starts


def test_no_duration_is_a_difference_of_wall_clocks():
    """The wall clock dates what is written, and is read in one place."""
    package = Path(__file__).parents[2] / "cnnbench"
    used = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if any(word in path.read_text() for word in ("time.time(", "time.time_ns(", "datetime.now(", "utcnow("))
    }
    assert used == {"measurement/clock.py"}
