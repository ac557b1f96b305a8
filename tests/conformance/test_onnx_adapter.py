"""ONNX's own runner drives a cnnbench backend through the adapter; what is not imported is a skip, never a pass."""

from __future__ import annotations

import re
import unittest

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402

from cnnbench.conformance.onnx.adapter import onnx_backend  # noqa: E402
from cnnbench.errors import UnavailableError  # noqa: E402


def run_tests(pattern: str, backend: str = "numpy") -> unittest.TestResult:
    from onnx.backend.test import BackendTest

    tests = BackendTest(onnx_backend(backend), __name__)
    result = unittest.TestResult()
    suite = unittest.TestSuite()
    for case in tests.test_cases.values():
        for test in unittest.defaultTestLoader.loadTestsFromTestCase(case):
            if re.search(pattern, test._testMethodName):
                suite.addTest(test)
    suite.run(result)
    return result


def test_onnx_s_own_runner_passes_on_numpy():
    result = run_tests(r"^test_(conv_with_.*|relu|batchnorm_epsilon|maxpool_2d_[cdps][a-z_]*)_cpu$")
    assert result.testsRun >= 10
    assert (result.failures, result.errors, result.skipped) == ([], [], [])


def test_other_devices_are_skipped():
    result = run_tests(r"^test_relu_cuda$")
    assert [reason for _, reason in result.skipped] == ["Backend doesn't support device CUDA"]


def test_what_is_not_imported_is_skipped_with_its_reason():
    result = run_tests(r"^test_string_normalizer.*_cpu$|^test_loop11_cpu$")
    assert result.testsRun >= 1
    assert len(result.skipped) == result.testsRun
    assert any("is not imported" in reason for _, reason in result.skipped)


def model_of(*nodes, inputs, outputs):
    graph = helper.make_graph(list(nodes), "small", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_inputs_may_be_listed_or_named():
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    model = model_of(helper.make_node("Relu", ["x"], ["y"]), inputs=[x], outputs=[y])
    data = np.array([[-1, 2, -3], [4, -5, 6]], np.float32)
    adapter = onnx_backend("numpy", "reference")
    for given in ([data], {"x": data}, data):
        (found,) = adapter.run_model(model, given)
        np.testing.assert_array_equal(found, np.maximum(data, 0))
    assert adapter.supports_device("CPU")
    assert not adapter.supports_device("CUDA:0")


def test_an_unknown_backend_or_mode_is_an_error():
    with pytest.raises(UnavailableError):
        onnx_backend("nunpy")
    with pytest.raises(UnavailableError, match="has no mode"):
        onnx_backend("numpy", "eager")
