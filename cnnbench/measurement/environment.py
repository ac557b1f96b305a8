"""What a run ran on: machine, system, versions and settings, read without importing a framework."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cnnbench.addresses import without_secrets
from cnnbench.spec.content import content_digest

PACKAGES = (
    "cnnbench", "numpy", "scipy", "torch", "jax", "jaxlib", "tensorflow", "tensorflow-cpu", "keras", "optax",
    "onnx", "onnxruntime", "cnnbench-onnxruntime",
    "safetensors", "mlflow", "scikit-learn", "scikit-image", "ray",
)  # fmt: skip
VARIABLE_PREFIXES = (
    "OMP_",
    "OPENBLAS_",
    "MKL_",
    "TF_",
    "XLA_",
    "JAX_",
    "TORCH",
    "MALLOC_",
    "KMP_",
    "GOMP_",
    "CNNBENCH_",
)
TERRAFORM = (  # another program's, that begin as TensorFlow's do
    "TF_CLI_", "TF_DATA_DIR", "TF_IGNORE", "TF_IN_AUTOMATION", "TF_INPUT", "TF_LOG", "TF_PLUGIN_", "TF_REGISTRY_",
    "TF_STATE_", "TF_TOKEN_", "TF_VAR_", "TF_WORKSPACE",
)  # fmt: skip
SECRETS = ("TOKEN", "KEY", "SECRET", "PASSWORD", "CREDENTIAL")
FINGERPRINT = ("cpu_model", "cores", "memory_gib", "system", "machine", "virtualisation")


def capture(folder: Path | None = None) -> dict[str, Any]:
    """The environment as plain data.

    Args:
        folder: Whose git commit is named; the working directory where None.

    What the system does not tell is None. Variables whose name speaks of a secret are left out.
    """
    memory = _memory_bytes()
    return {
        "cpu_model": _cpu_model(),
        "cores": os.cpu_count(),
        "processors_allowed": allowed_processors(),
        "memory_bytes": memory,
        "memory_gib": round(memory / 2**30) if memory else None,
        "processor_quota": _text(Path("/sys/fs/cgroup/cpu.max")),
        "machine": platform.machine(),
        "system": platform.system(),
        "kernel": platform.release(),
        "distribution": _distribution(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "virtualisation": _virtualisation(),
        "governor": _text(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "transparent_huge_pages": _chosen(_text(Path("/sys/kernel/mm/transparent_hugepage/enabled"))),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "python_implementation": platform.python_implementation(),
        "python_executable": sys.executable,
        "packages": package_versions(),
        "git": commit_of(folder or Path.cwd()),
        "variables": _variables(),
    }


def fingerprint(environment: Mapping[str, Any]) -> str:
    """A digest of the machine alone: runs with equal ones may be compared in time.

    Processor model, processors, memory (in GiB), system, architecture and virtualisation; no version of anything,
    since versions are what such a comparison is about.
    """
    machine = {name: environment.get(name) for name in FINGERPRINT}
    machine["processors_allowed"] = len(environment.get("processors_allowed") or ())
    return content_digest(machine)[:16]


def allowed_processors() -> list[int]:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def package_versions(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of packages, by default of those that matter here; of those that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cpu_model() -> str | None:
    text = _text(Path("/proc/cpuinfo")) or ""
    for line in text.splitlines():
        if line.startswith(("model name", "Hardware", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _virtualisation() -> str | None:
    """``container``, the hypervisor's vendor, ``hypervisor`` where only the flag tells, or None for bare metal."""
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return "container"
    vendor = _text(Path("/sys/class/dmi/id/sys_vendor"))
    if " hypervisor" in (_text(Path("/proc/cpuinfo")) or ""):
        return vendor or "hypervisor"
    return None


def _variables() -> dict[str, str]:
    return {
        name: without_secrets(value)
        for name, value in sorted(os.environ.items())
        if name.startswith(VARIABLE_PREFIXES)
        and not name.startswith(TERRAFORM)
        and not any(word in name for word in SECRETS)
    }


def commit_of(folder: Path) -> dict[str, Any] | None:
    """The git commit that a folder is at, its branch, and whether files were modified; None where it is no checkout."""

    def ask(*arguments: str) -> str | None:
        try:
            result = subprocess.run(
                ["git", "-C", str(folder), *arguments],
                capture_output=True,
                timeout=10,
                check=True,
                encoding="utf-8",
                errors="replace",
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return result.stdout.strip()

    commit = ask("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "branch": ask("rev-parse", "--abbrev-ref", "HEAD"), "modified": bool(ask("status", "-s"))}


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _chosen(text: str | None) -> str | None:
    """The word in brackets of a kernel setting's list."""
    return text.partition("[")[2].partition("]")[0] if text else None
