"""Users' functions of JAX, read and compared."""

from __future__ import annotations

import jax
import numpy as np
from cnnbench_jax.models import FunctionRunner, read
from jax import lax

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.own_forward import own_outputs
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.interchange.model_readers import GivenInputs

EXACT = ProgramOptions("reference", precision("float64"), "channels_first")
NHWC, NCHW = ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW")


def drawn(shapes):
    """Parameters of a tree of shapes, in float32; variances and factors above 0."""
    leaves, tree = jax.tree_util.tree_flatten(shapes, is_leaf=lambda item: isinstance(item, tuple))
    rng = np.random.default_rng(0)
    return tree.unflatten([rng.uniform(0.2, 0.9, shape).astype(np.float32) - 0.1 for shape in leaves])


def read_and_compared(function, parameters, *shapes, integers=False):
    """The read model, after the reference has computed of its graph what the function computes."""
    found = read((function, parameters), GivenInputs(shapes, (integers,) * len(shapes)))
    batch = draw_inputs(found.graph, 0, 3)
    theirs = own_outputs(FunctionRunner((function, parameters), "eager", "float64", "cpu"), found, batch)
    ours = InProcessSubject(load_backend("numpy")).forward(found.graph, found.arrays, batch, EXACT).outputs
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-10, atol=1e-10 * np.abs(array).max())
    return found


def kinds(found):
    return {node.name: node.layer.kind for node in found.graph.nodes}


def conv(x, layer, order=NHWC, stride=1, padding="SAME", **rest):
    made = lax.conv_general_dilated(x, layer["kernel"], (stride, stride), padding, dimension_numbers=order, **rest)
    if "bias" not in layer:
        return made
    return made + (layer["bias"] if order is NHWC else layer["bias"][:, None, None])
