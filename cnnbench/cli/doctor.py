"""``cnnbench doctor``: what this machine and this installation can do, and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from typing import Any

from cnnbench.addresses import TRACKING, shown_address
from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json, print_table

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@grouped
def doctor(shown: o.Shown) -> None:
    """Report backends, plugins with their origin, optional programs and this machine."""
    from cnnbench.registry import missing_plugins_left_out

    system = _system()
    with missing_plugins_left_out():
        tables = {"backends": _backends(), "plugins": _plugins(), "models": _models(), "programs": _programs()}
    if shown.json:
        print_json({"system": system, **tables})
        return
    print_table(("system", ""), [(key, str(value)) for key, value in system.items()])
    for heading, rows in tables.items():
        echo(f"\n{heading}")
        print_table(tuple(rows[0]) if rows else (), [tuple(row.values()) for row in rows])


def _system() -> dict[str, Any]:
    from cnnbench.version import __version__

    return {
        "cnnbench": __version__,
        "python": platform.python_version(),
        "interpreter": sys.executable,
        "platform": platform.platform(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "tracking": shown_address(os.environ.get(TRACKING, "")) or "sqlite:///mlflow.db in the working folder",
    }


def _backends() -> list[dict[str, Any]]:
    from cnnbench.cli.listing import version
    from cnnbench.execution.backends import backend_plugins

    rows = []
    for plugin in backend_plugins().values():
        reason = plugin.unavailable()
        found = version(plugin.distribution) if reason is None else None
        rows.append({"name": plugin.name, "version": found, "status": reason or "available"})
    return rows


def _models() -> list[dict[str, Any]]:
    """Who reads users' own models: their code runs in a process of its own with all rights of the user."""
    from cnnbench.registry import model_readers

    return [
        {
            "models of": reader.name,
            "backend": reader.backend,
            "files": " ".join(reader.suffixes),
            "references": "FILE.py:FUNCTION and MODULE:FUNCTION run your own code",
        }
        for reader in model_readers()
    ]


def _plugins() -> list[dict[str, Any]]:
    """Every plugin with where its code comes from: plugins are code that the user installed."""
    from cnnbench.registry import broken_plugins, plugin_manager

    manager = plugin_manager()
    origins = {id(plugin): f"{found.project_name} {found.version}" for plugin, found in manager.list_plugin_distinfo()}
    rows = []
    for name, plugin in manager.list_name_plugin():
        if plugin is None:
            continue
        origin = origins.get(id(plugin), "cnnbench itself" if name.startswith("cnnbench.") else "CNNBENCH_PLUGINS")
        rows.append({"plugin": name, "origin": origin, "file": getattr(plugin, "__file__", None)})
    rows += [{"plugin": name, "origin": "broken, left out", "file": why} for name, why in broken_plugins().items()]
    return rows


def _programs() -> list[dict[str, Any]]:
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    return [
        {"program": "chromium", "found": browser, "used for": "the browser tests"},
        {"program": "chromedriver", "found": shutil.which("chromedriver"), "used for": "the browser tests"},
        {"program": "git", "found": shutil.which("git"), "used for": "the commit in records"},
    ]
