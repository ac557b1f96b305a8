"""What is installed beside the interpreter that runs this: its version, every distribution, the plugins among them."""

from __future__ import annotations

import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

GROUP = "cnnbench"


def installed() -> dict[str, Any]:
    """The interpreter and all its distributions as plain data.

    ``plugins`` are the distributions that offer something to cnnbench; ``location`` is the folder that cnnbench is
    imported from, and ``git`` its commit where it is a checkout.
    """
    from cnnbench.measurement.environment import commit_of, package_versions
    from cnnbench.version import __version__

    location = Path(__file__).parents[2]
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "cnnbench": __version__,
        "location": str(location),
        "git": commit_of(location),
        "packages": package_versions(),
        "plugins": _plugins(),
        "distributions": distributions(),
    }


def distributions() -> dict[str, str]:
    """Versions of all distributions, by normalised name; of two of one name, the one that is imported."""
    from importlib.metadata import distributions as found

    versions: dict[str, str] = {}
    for item in found():
        name = _normalised(item.metadata["Name"])
        if name:
            versions.setdefault(name, item.version)
    return dict(sorted(versions.items()))


@cache
def computing_digest(*packages: str) -> str:
    """SHA-256 of what computes here: the code of cnnbench and of plugins, the interpreter, and packages' versions.

    Args:
        packages: Further ones, beside those that backends compute with.
    """
    from cnnbench.execution.sources import own_digest, plugin_digest
    from cnnbench.measurement.environment import PACKAGES, package_versions
    from cnnbench.spec.content import content_digest

    versions = package_versions((*PACKAGES, *packages))
    return content_digest([sys.version, own_digest(), plugin_digest(), versions])


def _plugins() -> dict[str, str]:
    from importlib.metadata import entry_points

    offered = (entry.dist for entry in entry_points(group=GROUP))
    return {_normalised(item.metadata["Name"]): item.version for item in offered if item is not None}


def _normalised(name: str | None) -> str:
    return (name or "").lower().replace("_", "-").replace(".", "-")
