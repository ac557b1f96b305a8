"""JAX functions as graphs: the outputs are the function's own, names are paths in the tree of parameters."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")

from cnnbench_jax.models import FunctionRunner, read  # noqa: E402
from jax import lax, nn  # noqa: E402
from jax import numpy as jnp  # noqa: E402
from jax_functions import EXACT, NCHW, NHWC, conv, drawn, kinds, read_and_compared  # noqa: E402

from cnnbench.errors import SpecError  # noqa: E402
from cnnbench.execution.backends import load_backend  # noqa: E402
from cnnbench.execution.own_forward import own_outputs  # noqa: E402
from cnnbench.numerics.subject import InProcessSubject  # noqa: E402
from cnnbench.spec.interchange.model_readers import GivenInputs  # noqa: E402

pytestmark = pytest.mark.jax


def max_pool(x, window=(1, 2, 2, 1)):
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")


def lenet(p, x, order=NHWC):
    for name in ("conv1", "conv2"):
        x = max_pool(
            jnp.tanh(conv(x, p[name], order, padding="VALID")), (1, 2, 2, 1) if order is NHWC else (1, 1, 2, 2)
        )
    x = x.reshape(x.shape[0], -1)
    x = nn.relu(x @ p["fc1"]["kernel"] + p["fc1"]["bias"])
    return nn.softmax(x @ p["fc2"]["kernel"] + p["fc2"]["bias"])


def lenet_parameters(first, second):
    return drawn(
        {
            "conv1": {"kernel": first, "bias": (4,)},
            "conv2": {"kernel": second, "bias": (6,)},
            "fc1": {"kernel": (54, 8), "bias": (8,)},
            "fc2": {"kernel": (8, 5), "bias": (5,)},
        }
    )


LENET = ["conv1", "tanh", "max_pool", "conv2", "tanh_1", "max_pool_1", "flatten", "fc1", "relu", "fc2"]


def test_lenet_with_channels_last():
    found = read_and_compared(lenet, lenet_parameters((3, 3, 3, 4), (3, 3, 4, 6)), (18, 18, 3))
    assert found.graph.inputs[0].shape == (3, 18, 18)
    assert [name for name, kind in kinds(found).items() if kind != "transpose"] == [*LENET, "softmax"]
    assert {"conv1.weight", "conv1.bias", "fc2.weight", "fc2.bias"} <= found.arrays.keys()
    assert found.arrays["conv1.weight"].shape == (4, 3, 3, 3)


def test_lenet_with_channels_first():
    parameters = lenet_parameters((4, 3, 3, 3), (6, 4, 3, 3))
    found = read_and_compared(lambda p, x: lenet(p, x, NCHW), parameters, (3, 18, 18))
    assert [*kinds(found)] == [*LENET, "softmax"]


ELEMENTS = {
    "gelu": (lambda x: nn.gelu(x, approximate=False), "gelu"),
    "gelu_tanh": (nn.gelu, "gelu"),
    "silu": (nn.silu, "silu"),
    "leaky_relu": (nn.leaky_relu, "leaky_relu"),
    "elu": (nn.elu, "elu"),
    "softplus": (nn.softplus, "softplus"),
    "mish": (nn.mish, "mish"),
    "hard_swish": (nn.hard_swish, "hard_swish"),
    "hard_sigmoid": (nn.hard_sigmoid, "hard_sigmoid"),
    "sigmoid": (nn.sigmoid, "sigmoid"),
    "clip": (lambda x: jnp.clip(x, -0.5, 0.25), "clip"),
    "exp": (jnp.exp, "elementwise"),
    "cube": (lambda x: x**3, "scalar_power"),
}


@pytest.mark.parametrize("name", ELEMENTS)
def test_an_activation_is_one_layer(name):
    function, kind = ELEMENTS[name]
    found = read_and_compared(lambda p, x: function(x), {}, (3, 4))
    assert [*kinds(found).values()] == [kind]


OTHERS = {
    "transposed": (
        lambda p, x: lax.conv_transpose(x, p["w"], (2, 2), "SAME", dimension_numbers=NHWC),
        {"w": (3, 3, 3, 5)},
        (4, 5, 3),
    ),
    "dilated": (
        lambda p, x: conv(x, {"kernel": p["w"]}, rhs_dilation=(2, 1)),
        {"w": (3, 2, 3, 5)},
        (7, 5, 3),
    ),
    "one_axis": (
        lambda p, x: lax.conv_general_dilated(x, p["w"], (2,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")),
        {"w": (3, 3, 4)},
        (8, 3),
    ),
    "odd_order": (
        lambda p, x: lax.conv_general_dilated(x, p["w"], (1, 1), "SAME", dimension_numbers=("NHWC", "IHWO", "NCHW")),
        {"w": (3, 2, 3, 4)},
        (5, 6, 3),
    ),
    "mean_without_padding": (
        lambda p, x: (
            lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
            / lax.reduce_window(jnp.ones((1, 8, 8, 1)), 0.0, lax.add, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
        ),
        {},
        (8, 8, 3),
    ),
    "heads": (
        lambda p, x: jnp.einsum("bthd,hde->bte", jnp.einsum("btd,dhe->bthe", x, p["in"]) + p["b"], p["out"]),
        {"in": (6, 2, 4), "b": (2, 4), "out": (2, 4, 5)},
        (3, 6),
    ),
    "grouped_heads": (  # as jax.nn.dot_product_attention, whose queries have an axis of groups
        lambda p, x: jnp.einsum(
            "btkgh,bskh->bkgts", x.reshape(len(x), 3, 2, 2, 2), x.reshape(len(x), 3, 2, 4)[..., 1:3]
        ),
        {},
        (3, 8),
    ),
    "weight_first": (lambda p, x: jnp.matmul(p["w"], x.T).T + p["b"], {"w": (4, 6), "b": (4,)}, (6,)),
    "parts": (
        lambda p, x: jnp.concatenate([x[:, ::2, 1:], jnp.pad(x, ((0, 0), (0, 0), (0, 1)))[:, :2, 2:]], 1),
        {},
        (4, 4),
    ),
    "windows": (
        lambda p, x: x.reshape(x.shape[0], 2, 2, 2, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 4, 3) * p["s"],
        {"s": (3,)},
        (4, 4, 3),
    ),
    "nearest": (lambda p, x: jax.image.resize(x, (len(x), 8, 3, 3), "nearest"), {}, (4, 6, 3)),
    "taken": (
        lambda p, x: jnp.take(x, jnp.array([2, 0, -1]), axis=2) + x[:, 1, jnp.array([0, 1, 1]), None].mT,
        {},
        (4, 3),
    ),
    "outer_places": (lambda p, x: x[:, jnp.arange(3)[:, None], jnp.array([[2, 0]]), 1:], {}, (4, 5, 3)),
    "outputs": (lambda p, x: {"a": x + 1, "b": (1 - x) * 2 / (jnp.abs(x) + p["c"])}, {"c": ()}, (3,)),
    "shared": (lambda p, x: nn.relu(nn.relu(x @ p["w"] + p["b"]) @ p["w"] + p["b"]), {"w": (4, 4), "b": (4,)}, (4,)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_operation_is_read_as_what_it_computes(name):
    function, shapes, image = OTHERS[name]
    read_and_compared(function, drawn(shapes), image)


def test_weights_that_are_used_twice_are_one():
    function, shapes, image = OTHERS["shared"]
    nodes = {node.name: node for node in read_and_compared(function, drawn(shapes), image).graph.nodes}
    assert [node.weights_of for node in nodes.values() if node.layer.kind == "linear"] == [None, next(iter(nodes))]


def test_an_average_that_leaves_padding_out_is_recognised():
    function, shapes, image = OTHERS["mean_without_padding"]
    (node,) = read_and_compared(function, shapes, image).graph.nodes
    assert (node.layer.kind, node.layer.count_include_pad) == ("avg_pool", False)


def test_an_image_with_channels_first_is_turned_for_a_function_that_wants_them_last():
    model = lenet, lenet_parameters((3, 3, 3, 4), (3, 3, 4, 6))
    asked, own = read(model, GivenInputs(image=(3, 18, 18))), read(model, GivenInputs(((18, 18, 3),)))
    assert asked.graph.digest == own.graph.digest


def test_everything_that_is_not_read_is_named_with_its_line():
    def odd(p, x):
        return jnp.sort(jnp.cumsum(x, 1) * p["w"])

    with pytest.raises(SpecError) as error:
        read((odd, drawn({"w": (4,)})), GivenInputs(((4,),)))
    assert "test_jax_models.py" in str(error.value.received)
    assert "cumsum: this operation is not known" in str(error.value.received)


@pytest.mark.parametrize("new", [True, False])
def test_random_numbers_are_refused(new):
    key = (jax.random.key if new else jax.random.PRNGKey)(0)
    with pytest.raises(SpecError) as error:
        read((lambda p, x: x * jax.random.normal(key, x.shape[1:]), {}), GivenInputs(((4,),)))
    assert "it draws at random" in str(error.value.received)


def test_a_branch_that_depends_on_values_is_refused_with_the_reason():
    with pytest.raises(SpecError, match="JAX cannot trace the function"):
        read((lambda p, x: x if x.sum() > 0 else -x, {}), GivenInputs(((3,),)))


REFUSED = {
    "nan_to_zero": (lambda p, x: jnp.where(jnp.isnan(x), 0, x), "other values in the place of NaN"),
    "nan_to_num": (lambda p, x: jnp.nan_to_num(x), "other values in the place of NaN"),
    "nan_to_other": (lambda p, x: jnp.where(jnp.isnan(x), x + 1, jnp.tanh(x)), "other values in the place of NaN"),
    "nan_of_other": (lambda p, x: jnp.where(jnp.isnan(x * p["w"]), x, nn.softplus(x)), "in the place of NaN"),
    "gelu_capped": (lambda p, x: jnp.where(x > 20, 20, nn.gelu(x)), "none of the known activations"),
    "slope_for_each_element": (lambda p, x: jnp.where(x > 0, x, p["table"] * x), "a slope for each element"),
    "other_above": (lambda p, x: jnp.where(x > 0, 2 * x, p["w"] * x), "none of the known activations"),
    "slope_of_other": (lambda p, x: jnp.where(x > 0, x, p["w"] * (x + 1)), "none of the known activations"),
    "pairs_of_places": (lambda p, x: x[:, jnp.array([0, 2]), jnp.array([1, 3])], "along two axes together"),
    "places_outside": (lambda p, x: x.at[:, jnp.array([5])].get(mode="fill", fill_value=0), "places 5 to 5"),
    "threshold_that_is_0_now": (lambda p, x: jnp.where(x > p["zero"], x, 0), "none of the known activations"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_choice_that_is_no_layer_is_refused(name):
    function, expected = REFUSED[name]
    parameters = {"w": np.ones(4, np.float32), "table": np.ones((3, 4), np.float32), "zero": np.zeros(4, np.float32)}
    with pytest.raises(SpecError) as error:
        read((function, parameters), GivenInputs(((3, 4),)))
    assert expected in str(error.value.received)


@pytest.mark.parametrize(("shape", "slopes"), [((), "one"), ((1,), "one"), ((3,), "channel"), ((5, 1, 1), "channel")])
def test_a_choice_with_a_trained_slope_is_a_prelu(shape, slopes):
    found = read_and_compared(lambda p, x: jnp.where(x >= 0, x, p["a"] * x), drawn({"a": shape}), (5, 4, 3))
    (node,) = (node for node in found.graph.nodes if node.layer.kind != "transpose")
    assert (node.layer.kind, node.layer.slopes) == ("prelu", slopes)


def test_logaddexp_is_read_with_its_choice():
    read_and_compared(lambda p, x: jnp.logaddexp(x, p["b"]) + jnp.logaddexp(3.0, x), drawn({"b": (4,)}), (3, 4))
    assert kinds(read_and_compared(lambda p, x: -nn.softplus(-x), {}, (3, 4))).keys() >= {"softplus"}


TAILS = {
    "gelu": lambda x: nn.gelu(x) + nn.relu(x - 20),
    "silu": lambda x: nn.silu(x) + nn.relu(x - 60),
    "hard_swish": lambda x: x * nn.relu6(x + 3) / 6 + nn.relu(x - 60),
    "softplus": lambda x: jnp.log1p(jnp.exp(x)) + nn.relu(x - 60),
    "silu_capped": lambda x: nn.silu(x) * nn.relu6(60 - x) / 6,
    "near_0": lambda x: nn.silu(x) + 1e-3 * jnp.exp(-1e6 * jnp.square(x)),
}


@pytest.mark.parametrize("name", TAILS)
def test_an_activation_with_another_tail_is_not_renamed(name):
    found = read_and_compared(lambda p, x: TAILS[name](x), {}, (3, 4))
    assert len(found.graph.nodes) > 2
    batch = {found.graph.inputs[0].name: np.linspace(-90, 90, 12).reshape(1, 3, 4)}
    runner = FunctionRunner((lambda p, x: TAILS[name](x), {}), "eager", "float64", "cpu")
    theirs = own_outputs(runner, found, batch)[found.graph.outputs[0][0]]
    ours = InProcessSubject(load_backend("numpy")).forward(found.graph, found.arrays, batch, EXACT).outputs
    np.testing.assert_allclose(ours[found.graph.outputs[0][0]], theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("function", "kind", "differs"),
    [
        (lambda p, x: jnp.where(x > 0, x, 0), "relu", True),
        (lambda p, x: jnp.where(x < 0, 0, x), "relu", False),
        (lambda p, x: jnp.where(x < 0, x, 0), "clip", True),
        (lambda p, x: jnp.where(x > 0, 0, x), "clip", False),
    ],
    ids=["0 at NaN", "NaN at NaN", "clip, 0 at NaN", "clip, NaN at NaN"],
)
def test_a_rectifier_that_hides_nan_is_read_with_a_note(function, kind, differs):
    found = read_and_compared(function, {}, (3, 3, 2))
    assert list(kinds(found).values()) == [kind]
    assert bool(found.notes) is differs
    assert np.isnan(function({}, jnp.array(jnp.nan))) != differs


def test_a_function_without_parameters_is_a_model():
    from cnnbench_jax.plugin import _is_function

    assert _is_function((nn.relu, {}))
    assert not _is_function((nn.relu, (3, 8, 8)))
