"""No file starts a framework as it is collected; importing one is allowed."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from started import started_frameworks


def modules(*, tensorflow, jax):
    context = SimpleNamespace(context=lambda: SimpleNamespace(_initialized=tensorflow))
    return {"tensorflow.python.eager.context": context, "jax._src.xla_bridge": SimpleNamespace(_backends=jax)}


def test_only_a_framework_that_holds_a_device_has_been_started():
    assert started_frameworks({}) == []
    assert started_frameworks(modules(tensorflow=False, jax={})) == []
    assert started_frameworks(modules(tensorflow=True, jax={"cpu": 1})) == ["tensorflow", "jax"]


@pytest.mark.jax
def test_the_place_where_jax_keeps_its_devices_is_known():
    jax = pytest.importorskip("jax", reason="needs jax")
    jax.devices()
    assert "jax" in started_frameworks(sys.modules)


@pytest.mark.tensorflow
def test_the_place_where_tensorflow_keeps_its_devices_is_known():
    tensorflow = pytest.importorskip("tensorflow", reason="needs tensorflow")
    tensorflow.constant(1)
    assert "tensorflow" in started_frameworks(sys.modules)
