"""What all tests share: property tests are not failed by a slow machine; slow tests are run in parts."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from started import started_frameworks

# OpenMP's threads sleep where they wait, as in every worker of cnnbench: spinning cost twice the work itself.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell that starts tests in the background, or nohup, has them ignore signals, and commands under test inherit that.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(number, handler)

settings.register_profile("cnnbench", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cnnbench")


def part_of(item: pytest.Item) -> str:
    """The part of the slow tests that a test belongs to; each part takes less than an hour on two cores.

    Shared cases and the zoo are parts by backend, mode and precision, tests that nothing may run beside are one part
    by themselves, and all others go by their folder.
    """
    if item.get_closest_marker("alone") or item.get_closest_marker("browser"):
        return "alone"
    room, *inner = item.path.relative_to(Path(__file__).parent).with_suffix("").parts
    given = getattr(item, "callspec", None)
    if given is not None and inner[-1:] == ["test_shared_cases"]:
        return "-".join(["cases", *(str(given.params[key]) for key in ("name", "mode", "policy"))])
    if room in ("backends", "conformance"):
        return f"{room}-{inner[-1].removeprefix('test_')}"
    return room


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("parts of the slow tests")
    group.addoption("--part", help="run the tests of this part only", default=None)
    group.addoption("--parts", help="list the parts of the chosen tests, and run none", action="store_true")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuses a test that `make` would not run: it finds the files of these two kinds by the words of their marks."""
    for kind in ("alone", "browser"):
        if item.get_closest_marker(kind) and f"mark.{kind}" not in item.path.read_text(encoding="utf-8"):
            raise pytest.UsageError(f"{item.nodeid} is marked {kind}, and `make` looks for the words mark.{kind}")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--part")
    if wanted is not None:
        config.hook.pytest_deselected(items=[item for item in items if part_of(item) != wanted])
        items[:] = [item for item in items if part_of(item) == wanted]
    if config.getoption("--parts"):
        reporter = config.pluginmanager.getplugin("terminalreporter")
        for part in sorted({part_of(item) for item in items}):
            reporter.write_line(f"part {part}")
        items.clear()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuses files that start a framework as they are collected: in every process, and before its threads are set."""
    started = started_frameworks(sys.modules)
    if started:
        raise pytest.UsageError(
            f"collecting these tests started {', '.join(started)}: make values in tests or fixtures"
        )
