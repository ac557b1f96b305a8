"""Serves a local MLflow store on 127.0.0.1 and says where the comparison is; stops with what started it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from cnnbench.addresses import shown_address
from cnnbench.errors import UnavailableError
from cnnbench.measurement.clock import MACHINE, Clock
from cnnbench.output.recorders.mlflow import Logged, read_mark
from cnnbench.output.recorders.mlflow_store import QUIET, prepare, tracking_uri

HOST = "127.0.0.1"
PORT = 5000
START_S = 90.0
STOP_S = 10.0


class MlflowServer:
    """A server over a store, as a context: up when entered, gone with its children when left.

    Args:
        uri: The store's: ``sqlite:///…`` (a server's address needs no server of ours).
        port: Where it listens; the next free one where it is taken.
        log: Where its output goes; None discards it.
        clock: By which its start is waited for.

    Raises:
        UnavailableError: It did not come up.
    """

    def __init__(self, uri: str, port: int = PORT, log: Path | None = None, clock: Clock = MACHINE) -> None:
        self.uri, self._clock = uri, clock
        self.port = free_port(port)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(self.port), "--workers", "1",
        ]  # fmt: skip
        own = {"MLFLOW_BACKEND_STORE_URI": self.uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        environment = {**os.environ, **QUIET, **own}  # not among arguments, which lists of processes show
        output: int | IO[bytes] = self._log.open("wb") if self._log else subprocess.DEVNULL
        try:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        finally:
            if not isinstance(output, int):
                output.close()
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait(self) -> None:
        assert self._process is not None
        end = self._clock.now() + START_S
        while self._clock.now() < end:
            if self._process.poll() is not None:
                raise UnavailableError(
                    f"MLflow's server ended with code {self._process.returncode}",
                    where=shown_address(self.uri),
                    remedy="try it by itself: mlflow server --backend-store-uri " + shown_address(self.uri),
                )
            if self._healthy():
                return
            self._clock.sleep(0.2)
        raise UnavailableError(f"MLflow's server did not answer within {START_S:.0f} s", where=self.url)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:  # noqa: S310 - our own address
                return bool(answer.status == 200)
        except OSError:
            return False

    def wait(self) -> int:
        """Returns when the server ends by itself."""
        assert self._process is not None
        return self._process.wait()

    def stop(self) -> None:
        """Ends the server and its children: SIGTERM, and SIGKILL for what is left."""
        if self._process is None:
            return
        for number, patience in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, STOP_S)):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                break
        with suppress(ProcessLookupError):  # a child that outlived its parent
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process = None


def free_port(first: int) -> int:
    """``first``, or the next port on which nothing listens (at most fifty are tried)."""
    for port in range(first, min(first + 50, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((HOST, port))
                return port
    raise UnavailableError(f"no free port from {first} on", where=HOST, remedy="name another one with --port")


def newest_logged(root: Path, uri: str | None = None) -> Logged | None:
    """The newest run under ``root`` that was logged, to the store ``uri`` where that is named."""
    from cnnbench.harness.run.store import runs

    marks = (read_mark(folder) for folder in reversed(runs(root)))
    return next((mark for mark in marks if mark is not None and (uri is None or mark.is_in(uri))), None)


def serve(
    *,
    uri: str | None = None,
    port: int = PORT,
    logged: Logged | None = None,
    tell: Callable[[str], None] = print,
    browser: bool = True,
) -> None:
    """Serves the store until interrupted or terminated, and opens the comparison.

    Args:
        uri: The store; None for that of ``logged``, else for the default. An ``http`` address is only opened: it is
            served already.
        port: Where to serve; the next free one where it is taken.
        logged: The run whose comparison is opened; None for the list of experiments.
        tell: Gets the lines to show.
        browser: Whether to open one, where there is a desktop.
    """
    store = tracking_uri(uri or (logged.tracking_uri if logged else None))
    if store.startswith("http"):
        _open(shown_address(store), logged, tell, browser)
        return
    prepare(store)
    tell(f"starting MLflow on {shown_address(store)} …")
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with MlflowServer(store, port) as server:
            _open(server.url, logged, tell, browser)
            tell("Ctrl-C ends it")
            with suppress(KeyboardInterrupt):
                server.wait()
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _open(server: str, logged: Logged | None, tell: Callable[[str], None], browser: bool) -> None:
    link = logged.comparison(server) if logged else f"{server}/#/experiments"
    tell(f"comparison: {link}")
    if logged:
        tell(f"report:     {logged.report(server)}")
    if browser and _can_show():
        import webbrowser

        webbrowser.open(link)


def _can_show() -> bool:
    """Whether there is a desktop to open a browser on."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
