"""The memory pass against networks of known size: a concatenation holds its input and four copies of it."""

from __future__ import annotations

import sys

import pytest

from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.plan import plan
from cnnbench.harness.worker.specification import EXACT_ALLOCATOR, WorkerSpec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux")

MIB = 2**20
WITHIN = 0.05


def network(folder, megabytes):
    path = folder / f"copies_{megabytes}.yaml"
    path.write_text(
        f"name: copies_{megabytes}\n"
        f"input: [{megabytes}, 512, 512]\n"
        "nodes:\n"
        "  - {name: copies, kind: concat, axis: 1, inputs: [image, image, image, image]}\n"
    )
    return f"file:{path}"


def peaks(tmp_path, backend, megabytes, batches=(1,)):
    """Peak bytes by batch."""
    suite = Suite.model_validate(
        {
            "schema_version": 1,
            "name": "memory",
            "matrix": {
                "architectures": [network(tmp_path, megabytes)],
                "backends": [{"name": backend[0], "mode": backend[1]}],
                "batch": list(batches),
            },
            "checks": {"names": []},
            "measure": {"latency": None, "memory": True, "yardsticks": False},
        }
    )
    result = run(plan(suite), RunOptions(root=tmp_path), [])
    records = RunStore.open(result.folder).records().values()
    assert [record.status for record in records] == ["ok"] * len(batches)
    return {record.cell.batch: record.memory.peak_bytes for record in records}


BACKENDS = [
    pytest.param(("numpy", "fast"), id="numpy-fast"),
    *(
        pytest.param(backend, id="-".join(backend), marks=[getattr(pytest.mark, backend[0]), pytest.mark.slow])
        for backend in (("torch", "eager"), ("jax", "jit"), ("tensorflow", "graph"), ("tensorflow", "xla"))
    ),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_peak_is_the_input_and_its_copies(tmp_path, backend):
    if backend[0] != "numpy":
        pytest.importorskip(backend[0])
    found = peaks(tmp_path, backend, 32, batches=(1, 2))
    assert found[1] == pytest.approx(5 * 32 * MIB, rel=WITHIN)
    assert found[2] == pytest.approx(2 * 5 * 32 * MIB, rel=WITHIN)


def test_workers_of_the_memory_pass_keep_no_freed_buffers_and_share_none_with_timing():
    timed, weighed = WorkerSpec("numpy"), WorkerSpec("numpy", exact_memory=True)
    assert timed != weighed
    assert EXACT_ALLOCATOR.items() <= weighed.variables().items()
    assert timed.variables()["MALLOC_MMAP_THRESHOLD_"] != weighed.variables()["MALLOC_MMAP_THRESHOLD_"]
