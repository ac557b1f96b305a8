"""Keras models and networks of ours that stand for each other, and what both predict."""

from __future__ import annotations

import numpy as np

import cnnbench
from cnnbench.spec.graph import Builder
from cnnbench.spec.kinds import layer_kinds

WHOLE = (".keras", ".h5")


def network(shape, *nodes, dtype="float"):
    """A chain of nodes as (name, kind, fields); ``inputs`` among the fields names others than the one before."""
    b = Builder("net")
    values = {"input": b.input("input", shape, dtype=dtype)}
    last = "input"
    for name, kind, fields in nodes:
        fields = dict(fields)
        inputs = [values[item] for item in fields.pop("inputs", [last])]
        output = fields.pop("output", 0)
        values[name] = b.add_all(name, layer_kinds()[kind](**fields), *inputs)[output]
        last = name
    return b.build({"output": values[last]})


def drawn(model, seed=0):
    """Every variable in general position."""
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.dtype not in ("float32", "bfloat16", "float16"):
            continue
        array = generator.normal(size=variable.shape) * 0.5
        if "variance" in variable.path:
            array = np.abs(array) + 0.5
        variable.assign(array)
    return model


def saved(model, suffix, folder):
    path = folder / f"model{suffix}"
    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    return path


def predicts_as(graph, arrays, model, image, *, first=True):
    """``first``: whether our images and outputs have their channels first, and Keras' have not."""
    given = np.ascontiguousarray(np.moveaxis(image, -1, 1)) if first and image.ndim > 2 else image
    ours = cnnbench.predict(cnnbench.Model(graph, arrays), given).output
    theirs = np.asarray(model(image, training=False)).astype(np.float32)
    if first and theirs.ndim > 2:
        theirs = np.moveaxis(theirs, -1, 1)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * max(np.abs(theirs).max(), 1e-3))


IMAGE, SERIES = (6, 5, 3), (7, 3)
ONE = (3, 6, 5)  # the image with its channels first
CONV = {"out_channels": 4, "kernel_size": 3}
END = [("flat", "flatten", {}), ("fc", "linear", {"out_features": 2})]


def end(k):
    return [k.Flatten(), k.Dense(2, name="fc")]
