"""The checks find each known silent defect of a released framework; cnnbench's own backend does not have it.

Where a newer version of a framework has mended one, the test says so: the entry and the workaround can then go.
"""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from framework_defects import defects
from processors import needs

from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.replay import replay
from cnnbench.numerics.subject import InProcessSubject

ALL = [
    pytest.param(item, id=name, marks=[getattr(pytest.mark, item.backend), *([pytest.mark.slow] if item.slow else [])])
    for name, item in defects().items()
]


@contextmanager
def plainly(backend, defect):
    """The backend with the framework's own call in place of its op."""
    own = backend.operations
    backend.operations = defect.plain(backend)
    try:
        yield InProcessSubject(backend)
    finally:
        backend.operations = own


def examined(defect, folder):
    from dataclasses import replace

    return replace(defect.case.case(defect.options), folder=folder)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("defect", ALL)
def test_the_plain_call_is_found_and_named(defect, load, tmp_path):
    needs(defect.kernels)
    backend = load(defect.backend)
    with plainly(backend, defect) as subject:
        (outcome,) = run_checks([defect.check], subject, examined(defect, tmp_path))
        if outcome.status == "passed":
            pytest.fail(
                f"{defect.framework} {defect.installed} no longer has {defect.name} (seen in {defect.seen}): "
                f"drop the entry, and the workaround in our backend: {defect.workaround}"
            )
        assert outcome.status == "failed", outcome.message
        assert outcome.node == "layer"
        assert outcome.reproducer is not None
        # the file shows it by itself, on the plain call and not on our op
        assert replay(tmp_path / f"{defect.check}-layer.safetensors", subject).status == "failed"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("defect", [p for p in ALL if not p.values[0].declared and "without_mkldnn" not in p.id])
def test_our_own_op_does_not_have_it(defect, load, tmp_path):
    backend = load(defect.backend)
    (outcome,) = run_checks([defect.check], InProcessSubject(backend), examined(defect, tmp_path))
    assert outcome.status != "failed", outcome.message
