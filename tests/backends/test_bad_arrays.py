"""Arrays that do not fit a program: every backend refuses them with the same error in the same words."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnnbench.errors import CnnbenchError, DataError, SpecError
from cnnbench.execution.backends import backend_plugin, load_backend
from cnnbench.execution.contract import Backend, ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec import layers as L
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers.embedding import TokenEmbedding
from cnnbench.spec.losses import CrossEntropy
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import initialize, split_state

BACKENDS = {"numpy": "reference", "torch": "eager", "jax": "jit", "tensorflow": "graph"}
_LOADED: dict[str, Backend] = {}


def network() -> Graph:
    """An image and indices, a batch norm's state, dropout, and weights of two ranks."""
    builder = Builder("small")
    x = builder.add("conv", L.Conv(out_channels=4, kernel_size=3), builder.input("image", (2, 5, 6)))
    x = builder.add("drop", L.Dropout(p=0.5), builder.add("norm", L.BatchNorm(), x))
    words = builder.add(
        "words", TokenEmbedding(num_embeddings=7, embedding_dim=4), builder.input("index", (), dtype="int")
    )
    pooled = builder.add("pool", L.GlobalAvgPool(), x)
    return builder.build({"logits": builder.add("sum", L.Add(), pooled, words)})


def batch() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "image": rng.normal(size=(3, 2, 5, 6)),
        "index": np.array([0, 6, 2]),
        "drop.mask": np.ones((3, 4, 3, 4)),
        "targets": np.array([0, 3, 1]),
        "gradient.logits": rng.normal(size=(3, 4)),
    }


def arrays() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    weights, state = split_state(network(), initialize(network(), 0))
    return dict(weights), dict(state), {f"{name}/momentum": np.ones_like(a) for name, a in weights.items()}


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda given: given.pop(name)


def instead(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda given: given.update({name: value})


BATCHES = {
    "no input": without("image"),
    "no indices": without("index"),
    "no mask": without("drop.mask"),
    "no targets": without("targets"),
    "no cotangent": without("gradient.logits"),
    "an input of another shape": instead("image", np.ones((3, 2, 6, 5))),
    "an input without its batch axis": instead("image", np.ones((2, 5, 6))),
    "a scalar input": instead("image", np.float64(1.0)),
    "another batch size": instead("index", np.array([0, 1])),
    "a mask of one image": instead("drop.mask", np.ones((1, 4, 3, 4))),
    "targets of one image": instead("targets", np.array([0])),
    "a cotangent of another shape": instead("gradient.logits", np.ones((4, 3))),
    "indices that are floats": instead("index", np.array([0.0, 1.0, 2.0])),
    "class targets that are floats": instead("targets", np.array([0.0, 1.0, 2.0])),
    "an input of complex numbers": instead("image", np.ones((3, 2, 5, 6), complex)),
    "an input of text": instead("image", np.full((3, 2, 5, 6), "1")),
}
OF_LOSS, OF_COTANGENTS = (
    {"no targets", "targets of one image", "class targets that are floats"},
    {
        "no cotangent",
        "a cotangent of another shape",
    },
)
LOADS = {
    "no weight": (0, without("conv.weight")),
    "no statistic": (1, without("norm.running_var")),
    "no slot": (2, without("conv.weight/momentum")),
    "a weight too many": (0, instead("conv.weihgt", np.ones(1))),
    "a slot too many": (2, instead("conv.weight/velocity", np.ones(1))),
    "a weight of another shape": (0, instead("conv.weight", np.ones((2, 4, 3, 3)))),
    "a statistic of another shape": (1, instead("norm.running_mean", np.ones((4, 1)))),
    "a slot of another shape": (2, instead("conv.bias/momentum", np.ones(5))),
    "a weight of complex numbers": (0, instead("conv.bias", np.ones(4, complex))),
    "a weight of objects": (0, instead("conv.bias", np.full(4, None))),
}


@pytest.fixture(
    params=[pytest.param(name, marks=() if name == "numpy" else getattr(pytest.mark, name)) for name in BACKENDS]
)
def backend(request: pytest.FixtureRequest) -> Backend:
    name = request.param
    if any(importlib.util.find_spec(module) is None for module in backend_plugin(name).requires):
        pytest.skip(f"{name} is not installed")
    if name not in _LOADED:
        _LOADED[name] = load_backend(name)
        _LOADED[name].configure(ProcessSettings(threads=2))  # as in every test: TensorFlow takes it once
    return _LOADED[name]


def options(name: str) -> ProgramOptions:
    return ProgramOptions(BACKENDS[name], precision("float32"), training=True)


def refusal(call: Callable[[], Any]) -> CnnbenchError:
    with pytest.raises(CnnbenchError) as caught:
        call()
    return caught.value


def expected(what: str, call: Callable[[Backend], Any], found: CnnbenchError) -> None:
    """The error is that of the NumPy backend, which the tests below read."""
    reference = refusal(lambda: call(_LOADED.setdefault("numpy", load_backend("numpy"))))
    assert type(found) is type(reference), what
    assert str(found) == str(reference), what


@pytest.mark.parametrize("what", BATCHES)
def test_a_batch_that_does_not_fit_is_refused_in_the_same_words(backend: Backend, what: str) -> None:
    given = batch()
    BATCHES[what](given)

    def upload(one: Backend) -> Any:
        how = options(one.name)
        if what in OF_COTANGENTS:
            return one.compile_gradient(network(), how).upload(given)
        if what in OF_LOSS:
            return one.compile_gradient(network(), how, CrossEntropy()).upload(given)
        return one.compile_forward(network(), how).upload(given)

    found = refusal(lambda: upload(backend))
    assert isinstance(found, DataError)
    expected(what, upload, found)


@pytest.mark.parametrize("what", LOADS)
def test_arrays_that_do_not_fit_are_not_loaded(backend: Backend, what: str) -> None:
    parts = arrays()
    position, change = LOADS[what]
    change(parts[position])

    def load(one: Backend) -> Any:
        return one.compile_step(network(), options(one.name), CrossEntropy(), SGD(momentum=0.9)).load(*parts)

    found = refusal(lambda: load(backend))
    assert isinstance(found, DataError)
    expected(what, load, found)


def test_what_fits_is_taken(backend: Backend) -> None:
    """The tests above could not fail otherwise; arrays that a program does not need do not disturb it."""
    program = backend.compile_step(network(), options(backend.name), CrossEntropy(), SGD(momentum=0.9))
    program.load(*arrays())
    assert np.isfinite(program.loss(program.run(program.upload(batch()), 0.1)))


def test_a_program_does_not_run_before_it_is_loaded(backend: Backend) -> None:
    def run(one: Backend) -> Any:
        program = one.compile_forward(network(), options(one.name))
        return program.run(program.upload(batch()))

    found = refusal(lambda: run(backend))
    assert isinstance(found, SpecError)
    expected("not loaded", run, found)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (
            "no input",
            "small: the input 'image' is missing\n  expected: real numbers of shape (3, 2, 5, 6)\n  remedy: ",
        ),
        ("another batch size", "small: the input 'index' has the wrong shape\n  received: (2,)\n  expected: (3,)"),
        ("indices that are floats", "the input 'index' has the wrong dtype\n  received: float64\n  expected: integers"),
        ("no mask", "small: the dropout mask 'drop.mask' is missing\n  expected: real numbers of shape (3, 4, 3, 4)"),
    ],
)
def test_the_words_name_the_place_what_came_and_what_was_expected(what: str, text: str) -> None:
    given = batch()
    BATCHES[what](given)
    program = load_backend("numpy").compile_forward(network(), options("numpy"))
    assert text in str(refusal(lambda: program.upload(given)))


def test_a_misspelt_weight_is_named_with_its_nearest() -> None:
    weights, state, _ = arrays()
    weights["conv.weihgt"] = weights.pop("conv.weight")
    program = load_backend("numpy").compile_forward(network(), options("numpy"))
    text = str(refusal(lambda: program.load(weights, state)))
    assert text == "small: there is no weight or running statistic 'conv.weihgt'\n  remedy: did you mean 'conv.weight'?"
