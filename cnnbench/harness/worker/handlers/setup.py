"""Who a worker is, what is installed there, and its backend."""

from __future__ import annotations

import gc
import os
import sys

from cnnbench.harness.worker.handlers.state import WorkerState
from cnnbench.harness.worker.protocol.setup import (
    PROTOCOL,
    EnvironmentReply,
    EnvironmentRequest,
    GitCheckout,
    HelloReply,
    HelloRequest,
    LoadReply,
    LoadRequest,
    SpecialGap,
)


def hello(request: HelloRequest, state: WorkerState) -> HelloReply:
    """Who answers, and in which protocol."""
    from cnnbench.version import __version__

    return HelloReply(
        protocol=PROTOCOL,
        cnnbench=__version__,
        pid=os.getpid(),
        python=sys.version.split()[0],
        executable=sys.executable,
    )


def environment(request: EnvironmentRequest, state: WorkerState) -> EnvironmentReply:
    """What is installed here."""
    from cnnbench.execution.backends import backend_plugins
    from cnnbench.measurement.installed import installed

    facts = installed()
    git = facts.pop("git")
    backends = {name: item.unavailable() for name, item in backend_plugins().items()}
    return EnvironmentReply(**facts, git=GitCheckout(**git) if git else None, backends=backends)


def load(request: LoadRequest, state: WorkerState) -> LoadReply:
    """Imports and configures a backend."""
    start = state.clock.now()
    from cnnbench.execution.backends import load_backend

    state.backend = load_backend(request.backend)
    import_s = state.clock.now() - start
    from cnnbench.measurement.environment import package_versions
    from cnnbench.registry import broken_plugins

    state.backend.configure(request.settings)
    gc.freeze()  # a collection before a round would go through all that was imported: 0.26 s for TensorFlow
    capabilities = state.backend.capabilities()
    return LoadReply(
        import_s=import_s,
        described=state.backend.describe(),
        versions=package_versions(),
        kinds=tuple(sorted(capabilities.kinds)),
        special_gaps=tuple(
            SpecialGap(
                kind=gap.kind,
                reason=gap.reason,
                precisions=gap.precisions,
                modes=gap.modes,
                special_values=gap.special_values,
            )
            for gap in capabilities.gaps
            if gap.special_values
        ),
        left_out=broken_plugins(),
    )
