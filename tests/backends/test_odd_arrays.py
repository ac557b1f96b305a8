"""Arrays as people have them: no images, another byte order, odd strides and types; taken, or refused by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import cnnbench
from cnnbench.conformance.cases import layer_cases
from cnnbench.errors import DataError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject

X = np.random.default_rng(0).normal(size=(2, 1, 32, 32)).astype(np.float32)
BACKENDS = [
    "numpy",
    *(pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("torch", "jax", "tensorflow")),
]


def read_only(x):
    copy = x.copy()
    copy.flags.writeable = False
    return copy


SAME = {
    "big_endian": X.astype(">f4"),
    "big_endian_double": X.astype(">f8"),
    "fortran": np.asfortranarray(X),
    "negative_strides": np.ascontiguousarray(X[:, :, ::-1])[:, :, ::-1],
    "strided": np.repeat(X, 2, 3)[..., ::2],
    "read_only": read_only(X),
    "long_double": X.astype(np.longdouble),
    "list": X.tolist(),
    "unmasked": np.ma.masked_array(X),
}


def lenet(backend):
    """LeNet-5 on that backend, as a function of images."""
    if backend != "numpy":
        pytest.importorskip(backend, reason=f"needs {backend}")
    return lambda x: cnnbench.predict("lenet5", x, backend=backend).output


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_values_give_equal_outputs_however_they_are_held(backend):
    run = lenet(backend)
    expected = run(X)
    for name, x in SAME.items():
        np.testing.assert_array_equal(run(x), expected, err_msg=name)
    assert run(X[:0]).shape == (0, *expected.shape[1:])


@pytest.mark.parametrize("backend", BACKENDS)
def test_integers_are_taken_as_they_are(backend):
    run = lenet(backend)
    pixels = np.arange(2 * 32 * 32).reshape(2, 1, 32, 32) % 256
    expected = run(pixels.astype(np.float32))
    for kind in (np.uint8, np.int16, ">i8"):
        np.testing.assert_array_equal(run(pixels.astype(kind)), expected)


@pytest.mark.parametrize(
    ("x", "remedy"),
    [
        (X > 0, "for 0 and 1"),
        (X.astype(complex), "x.real"),
        (X.astype(object), "astype"),
        (X.astype(str), "astype"),
        (np.float32(1), "x[None]"),
        (np.ma.masked_array(X, X > 0), "x.filled(0.0)"),
        (np.zeros(X.shape, [("red", "f4")]), "astype"),
    ],
)
def test_what_holds_no_real_numbers_is_refused_with_the_remedy(x, remedy):
    with pytest.raises(DataError) as refused:
        cnnbench.predict("lenet5", x)
    assert remedy in str(refused.value)


def test_weights_of_another_byte_order_are_taken():
    model = cnnbench.load("lenet5", seed=0)
    turned = replace(model, arrays={name: array.astype(">f4") for name, array in model.arrays.items()})
    for backend in ("numpy", "torch"):
        if backend != "numpy":
            pytest.importorskip(backend, reason=f"needs {backend}")
        expected = cnnbench.predict(model, X, backend=backend).output
        np.testing.assert_array_equal(cnnbench.predict(turned, X, backend=backend).output, expected)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the mean of nothing is not a number
@pytest.mark.parametrize("mode", ["reference", "fast"])
def test_numpy_takes_no_images_for_every_kind(mode):
    subject = InProcessSubject(load_backend("numpy"))
    seen = 0
    for name, item in layer_cases().items():
        if "loss" in name or not all(item.batched):
            continue
        case = replace(item, batch=0).case(ProgramOptions(mode, precision("float32")))
        found = subject.forward(case.graph, case.stored, case.inputs, case.options).outputs
        for output, value in case.graph.outputs:
            assert found[output].shape == case.graph.shapes(0)[value], name
        seen += 1
    assert seen > 500
