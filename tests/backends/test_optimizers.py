"""Optimisers and clipping on every backend: their closed form, the frameworks' own by name, and slots that travel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from loaded_backends import loaded_backend
from step_cases import AdaptiveTraining, batches, clipped, linear_graph

from cnnbench.conformance.programs import drawn_batch, small_network, steps_go_on_from_a_snapshot
from cnnbench.execution.backends import backend_plugin
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.clipping import Clipping
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Conv, GlobalAvgPool
from cnnbench.spec.losses import CrossEntropy, MeanSquaredError
from cnnbench.spec.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from cnnbench.spec.weights import general_position, split_state
from cnnbench.training.checkpoints import Checkpoint, load, save
from cnnbench.training.steps import TrainingSteps

BACKENDS = ("numpy", "torch", "jax", "tensorflow")
RULES: dict[str, Optimizer] = {
    "adam": Adam(),
    "adam decayed": Adam(beta1=0.8, beta2=0.95, epsilon=1e-3, weight_decay=0.1, decay="kernels"),
    "adam inside": Adam(epsilon=1e-3, epsilon_place="inside"),
    "adam uncorrected epsilon": Adam(epsilon=1e-3, epsilon_place="uncorrected", weight_decay=0.1),
    "adam biased": Adam(bias_correction=False, beta1=0.0),
    "adamw": AdamW(weight_decay=0.1),
    "rmsprop": RMSprop(weight_decay=0.1, decay="kernels"),
    "rmsprop centered": RMSprop(smoothing=0.9, centered=True, momentum=0.8),
    "rmsprop inside": RMSprop(smoothing=0.9, centered=True, momentum=0.8, epsilon=1e-3, epsilon_place="inside"),
    "adagrad": Adagrad(weight_decay=0.1),
    "adagrad inside": Adagrad(epsilon=1e-3, epsilon_place="inside", initial=0.1),
    "sgd damped": SGD(dampening=0.3, weight_decay=0.1),
    "sgd damped from the first": SGD(dampening=0.3, damp_first=True),
    "sgd by value": SGD(clipping=Clipping(kind="value", limit=0.3)),
    "sgd by norm": SGD(clipping=Clipping(kind="norm", limit=0.5, epsilon=0.0), weight_decay=0.1),
    "sgd by global norm": SGD(clipping=Clipping(kind="global_norm", limit=0.5), weight_decay=0.1),
    "sgd by global norm, epsilon": SGD(clipping=Clipping(kind="global_norm", limit=0.5, epsilon=0.1)),
    "sgd by a norm that is not reached": SGD(clipping=Clipping(kind="global_norm", limit=50.0)),
    "sgd accumulated": SGD(accumulate=2, weight_decay=0.1),
    "adam accumulated, clipped": Adam(accumulate=4, clipping=Clipping(kind="global_norm", limit=0.5)),
    "sgd, more parts than images": SGD(accumulate=9),
    "sgd adaptive": SGD(clipping=Clipping(kind="adaptive", limit=0.1, epsilon=0.5), weight_decay=0.1),
    "adam adaptive": Adam(clipping=Clipping(kind="adaptive", limit=0.1, excluded=("fc.bias",))),
    "adamw kernels": AdamW(weight_decay=0.1, decay="kernels", epsilon=1e-3, epsilon_place="inside"),
}

FIFTY = (
    "adam",
    "adamw kernels",
    "rmsprop",
    "adagrad",
    "sgd damped",
    "sgd damped from the first",
    "sgd by value",
    "sgd by norm",
    "sgd by global norm",
    "sgd adaptive",
    "sgd accumulated",
)


def options(backend: str, name: str = "float64") -> ProgramOptions:
    return ProgramOptions(backend_plugin(backend).modes[0], precision(name), training=True)


def trained(backend: str, rule: Optimizer, rates: Any = (0.1, 0.1, 0.02, 0.05)) -> tuple[Any, Any]:
    """What a backend's program holds after some steps on a linear layer, and the same by the definition."""
    rng = np.random.default_rng(2)
    weights = {"fc.weight": rng.normal(size=(3, 4)), "fc.bias": rng.normal(size=3)}
    program = loaded_backend(backend).compile_step(linear_graph(), options(backend), MeanSquaredError(), rule)
    program.load(weights, {})
    truth = AdaptiveTraining(rule, dict(weights))
    for rate, (x, targets) in zip(rates, batches(len(rates)), strict=True):
        loss = program.loss(program.run(program.upload({"x": x, "targets": targets}), rate))
        assert loss == pytest.approx(truth.step(x, targets, rate), rel=1e-12)
    return program.snapshot(), truth


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
@pytest.mark.parametrize("backend", BACKENDS)
def test_steps_equal_the_closed_form(backend, rule):
    found, truth = trained(backend, rule)
    for name, value in truth.weights.items():
        np.testing.assert_allclose(found.weights[name], value, rtol=1e-12, atol=1e-15)
    assert set(found.slots) == {f"{name}/{slot}" for name in truth.weights for slot in rule.slots}
    for name, value in found.slots.items():
        weight, _, slot = name.partition("/")
        np.testing.assert_allclose(value, truth.slots[weight][slot], rtol=1e-12, atol=1e-15)
        if slot in rule.counters:
            assert value.dtype == np.int64
            assert value.shape == ()


@pytest.mark.parametrize("backend", BACKENDS)
def test_slots_and_their_count_survive_a_checkpoint_file(backend, tmp_path):
    def program() -> Any:
        return loaded_backend(backend).compile_step(
            small_network(), options(backend, "float32"), CrossEntropy(), AdamW()
        )

    straight, batch = program(), drawn_batch()
    straight.load(*split_state(small_network(), general_position(small_network(), 0)))
    for rate in (0.01, 0.02):
        straight.run(straight.upload(batch), rate)
    save(Checkpoint("task", straight.snapshot(), (), ()), tmp_path / "run.safetensors")
    held = load(tmp_path / "run.safetensors").training
    assert held.slots["fc.bias/step"] == 2
    straight.run(straight.upload(batch), 0.01)
    resumed = program()
    resumed.load(*held)
    resumed.run(resumed.upload(batch), 0.01)
    for one, other in zip(resumed.snapshot(), straight.snapshot(), strict=True):
        assert set(one) == set(other)
        for name, array in other.items():
            np.testing.assert_array_equal(one[name], array)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_slots_are_float32_where_weights_are_narrow(dtype):
    """In bfloat16 a running mean with 0.999 of itself would stay where it is."""
    program = loaded_backend("torch").compile_step(linear_graph(), options("torch", dtype), MeanSquaredError(), Adam())
    program.load({"fc.weight": np.ones((3, 4)), "fc.bias": np.zeros(3)}, {})
    x, targets = next(batches(1))
    for _ in range(2):
        program.run(program.upload({"x": x, "targets": targets}), 0.1)
    halfway = program.snapshot()
    square = halfway.slots["fc.weight/square"]
    assert (square != square.astype(np.float16)).any()
    program.load(*halfway)
    np.testing.assert_array_equal(program.snapshot().slots["fc.weight/square"], square)


def by_torch(rule: Any, arrays: Any, gradients: Any, rate: float) -> Any:
    torch = pytest.importorskip("torch")
    parameter = torch.tensor(arrays, dtype=torch.float64, requires_grad=True)
    own = rule([parameter], lr=rate)
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        own.step()
    return parameter.detach().numpy()


def by_optax(rule: Any, arrays: Any, gradients: Any, rate: float) -> Any:
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    with jax.enable_x64(True):
        weight, own = jax.numpy.array(arrays), rule(rate)
        state = own.init(weight)
        for gradient in gradients:
            move, state = own.update(jax.numpy.array(gradient), state, weight)
            weight = optax.apply_updates(weight, move)
        return np.asarray(weight)


def by_keras(rule: Any, arrays: Any, gradients: Any, rate: float) -> Any:
    keras = pytest.importorskip("keras")
    variable = keras.Variable(arrays, dtype="float64")
    own = rule(rate)
    for gradient in gradients:
        own.apply([keras.ops.convert_to_tensor(gradient, "float64")], [variable])
    return np.asarray(variable)


def by_definition(rule: Optimizer, arrays: Any, gradients: Any, rate: float) -> Any:
    truth = AdaptiveTraining(rule, {"weight": np.array(arrays)})
    for gradient in gradients:
        truth.update({"weight": gradient}, rate)
    return truth.weights["weight"]


def _torch(name: str, **fields: Any) -> Any:
    return lambda parameters, lr: getattr(pytest.importorskip("torch").optim, name)(parameters, lr=lr, **fields)


def _optax(name: str, **fields: Any) -> Any:
    return lambda rate: getattr(pytest.importorskip("optax"), name)(rate, **fields)


def _keras(name: str, **fields: Any) -> Any:
    return lambda rate: getattr(pytest.importorskip("keras").optimizers, name)(rate, **fields)


FROM_TENTH = Adagrad(epsilon=0.1, epsilon_place="inside", initial=0.1)
NAMED: dict[str, tuple[Any, Any, Optimizer]] = {  # a framework's own, and the fields that say the same
    "torch.optim.Adam": (by_torch, _torch("Adam", weight_decay=0.1), Adam(weight_decay=0.1)),
    "torch.optim.AdamW": (by_torch, _torch("AdamW"), AdamW()),
    "optax.adam": (by_optax, _optax("adam"), Adam()),
    "optax.adam eps_root": (
        by_optax,
        _optax("adam", eps=0.0, eps_root=1e-3),
        Adam(epsilon=1e-3, epsilon_place="inside"),
    ),
    "torch.optim.SGD": (
        by_torch,
        _torch("SGD", momentum=0.9, dampening=0.3, weight_decay=0.1),
        SGD(dampening=0.3, weight_decay=0.1),
    ),
    "torch.optim.RMSprop": (
        by_torch,
        _torch("RMSprop", momentum=0.8, centered=True),
        RMSprop(momentum=0.8, centered=True),
    ),
    "torch.optim.Adagrad": (by_torch, _torch("Adagrad"), Adagrad()),
    "optax.rmsprop": (
        by_optax,
        _optax("rmsprop", eps=1e-3),
        RMSprop(smoothing=0.9, epsilon=1e-3, epsilon_place="inside"),
    ),
    "optax.adagrad": (by_optax, _optax("adagrad", eps=0.1), FROM_TENTH),
    "keras.optimizers.RMSprop": (
        by_keras,
        _keras("RMSprop", epsilon=1e-3),
        RMSprop(smoothing=0.9, epsilon=1e-3, epsilon_place="inside"),
    ),
    "keras.optimizers.Adagrad": (by_keras, _keras("Adagrad", epsilon=0.1), FROM_TENTH),
    "optax.adamw": (by_optax, _optax("adamw", weight_decay=0.1), AdamW(weight_decay=0.1)),
    "keras.optimizers.Adam": (
        by_keras,
        _keras("Adam", epsilon=1e-3),
        Adam(epsilon=1e-3, epsilon_place="uncorrected"),
    ),
    "keras.optimizers.AdamW": (
        by_keras,
        _keras("AdamW", weight_decay=0.1, epsilon=1e-3),
        AdamW(weight_decay=0.1, epsilon=1e-3, epsilon_place="uncorrected"),
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_frameworks_own_optimizer_is_named_by_fields(name):
    """Some gradients are as small as epsilon, so that its place shows; another rule of the same kind is not it."""
    run, own, rule = NAMED[name]
    rng = np.random.default_rng(3)
    arrays = rng.normal(size=6) * [1, 1, 1, 0, 0, 1]  # no decay hides the small gradients
    epsilon = getattr(rule, "epsilon", 1.0)
    gradients = rng.normal(size=(4, 6)) * [1, 1, 1, epsilon, epsilon, 0.1]
    found = run(own, arrays, gradients, 0.02)
    close = {"rtol": 2e-6, "atol": 2e-7} if "keras" in name else {"rtol": 1e-12, "atol": 1e-14}  # float32 powers
    np.testing.assert_allclose(found, by_definition(rule, arrays, gradients, 0.02), **close)
    if isinstance(rule, SGD):
        others = [replace(rule, damp_first=True)]
    else:
        others = [replace(rule, epsilon_place=p) for p in ("outside", "inside") if p != rule.epsilon_place]
    for other in others:
        assert np.abs(found - by_definition(other, arrays, gradients, 0.02)).max() > 1e-4


def clipped_by(framework: str, clipping: Clipping, gradients: Any) -> Any:
    """A framework's own clipping of two arrays, whose parameters are ones; and its clipping of one of them."""
    if framework == "torch":
        torch = pytest.importorskip("torch")
        parameters = [torch.ones(g.shape, dtype=torch.float64, requires_grad=True) for g in gradients]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.tensor(gradient)
        if clipping.kind == "value":
            torch.nn.utils.clip_grad_value_(parameters, clipping.limit)
        else:
            torch.nn.utils.clip_grad_norm_(parameters, clipping.limit)
        return [parameter.grad.numpy() for parameter in parameters]
    if framework == "optax":
        jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
        own = {
            "value": optax.clip,
            "global_norm": optax.clip_by_global_norm,
            "adaptive": optax.adaptive_grad_clip,
        }[clipping.kind](clipping.limit)
        with jax.enable_x64(True):
            last = [jax.numpy.asarray(g.T) for g in gradients]  # optax' units are what the last axis counts
            ones = [jax.numpy.ones_like(g) for g in last]
            return [np.asarray(g).T for g in own.update(last, own.init(ones), ones)[0]]
    keras = pytest.importorskip("keras")
    name = {"value": "clipvalue", "global_norm": "global_clipnorm", "norm": "clipnorm"}[clipping.kind]
    own = keras.optimizers.SGD(1.0, **{name: clipping.limit})
    variables = [keras.Variable(np.ones(g.shape), dtype="float64") for g in gradients]
    own.apply([keras.ops.convert_to_tensor(g, "float64") for g in gradients], variables)
    return [1.0 - np.asarray(variable) for variable in variables]


@pytest.mark.parametrize(
    ("framework", "clipping"),
    [
        ("torch", Clipping(kind="value", limit=0.4)),
        ("torch", Clipping(kind="global_norm", limit=0.7)),
        ("optax", Clipping(kind="value", limit=0.4)),
        ("optax", Clipping(kind="global_norm", limit=0.7, epsilon=0.0)),
        ("optax", Clipping(kind="adaptive", limit=0.2)),
        ("keras", Clipping(kind="value", limit=0.4)),
        ("keras", Clipping(kind="global_norm", limit=0.7, epsilon=0.0)),
        ("keras", Clipping(kind="norm", limit=0.7, epsilon=0.0)),
    ],
    ids=str,
)
def test_a_frameworks_own_clipping_is_named_by_fields(framework, clipping):
    """The same as the definition by loops, and far from what the next kind would make of these gradients."""
    rng = np.random.default_rng(4)
    gradients = [rng.normal(size=(3, 4)) * [[1.0], [0.1], [0.01]], rng.normal(size=(2, 3))]
    ones = {str(i): np.ones(g.shape) for i, g in enumerate(gradients)}
    named = {str(i): g for i, g in enumerate(gradients)}
    found = clipped_by(framework, clipping, gradients)
    truth = clipped(clipping, ones, named)
    for i, array in enumerate(found):
        np.testing.assert_allclose(array, truth[str(i)], rtol=1e-6, atol=1e-9)
    other = clipped(Clipping(kind="norm" if clipping.kind != "norm" else "global_norm", limit=0.3), ones, named)
    assert max(np.abs(array - other[str(i)]).max() for i, array in enumerate(found)) > 1e-2


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_micro_batch_normalises_itself_and_moves_the_statistics(backend):
    """Steps of the rate 0 on the parts alone: gradients are averaged, statistics go from part to part."""
    graph, batch = small_network(), drawn_batch()
    weights, state = split_state(graph, general_position(graph, 0))

    def after(rule: SGD, *parts: Any) -> Any:
        program = loaded_backend(backend).compile_step(graph, options(backend), CrossEntropy(), rule)
        losses, gradients, running = [], [], state
        for part in parts:
            program.load(weights, running)
            losses.append(program.loss(program.run(program.upload(part), 0.0)))
            held = program.snapshot()
            gradients.append(held.slots)
            running = held.state
        return np.mean(losses), {n: np.mean([g[n] for g in gradients], axis=0) for n in gradients[0]}, running

    halves = [{name: array[i : i + 2] for name, array in batch.items()} for i in (0, 2)]
    found, truth, whole = after(SGD(accumulate=2), batch), after(SGD(), *halves), after(SGD(), batch)
    assert found[0] == pytest.approx(truth[0], rel=1e-12)
    for ours, theirs, others in zip(found[1:], truth[1:], whole[1:], strict=True):
        for name, array in theirs.items():
            np.testing.assert_allclose(ours[name], array, rtol=1e-9, atol=1e-12, err_msg=name)
        assert any(np.abs(others[name] - array).max() > 1e-3 for name, array in theirs.items())


@pytest.mark.parametrize("backend", ["numpy", "torch", pytest.param("jax", marks=pytest.mark.slow), "tensorflow"])
def test_units_are_output_channels_however_kernels_are_held(backend):
    """Depthwise and grouped kernels, and both layouts: rows of the canonical array, clipped by loops."""
    builder = Builder("kernels")
    x = builder.add("stem", Conv(out_channels=4, kernel_size=3), builder.input("image", (2, 6, 6)))
    x = builder.add("depthwise", Conv(out_channels=8, kernel_size=3, groups=4), x)
    graph = builder.build(builder.add("pool", GlobalAvgPool(), x))
    arrays = {name: a.astype(np.float64) for name, a in general_position(graph, 1).items()}
    rng = np.random.default_rng(6)
    batch = {"image": rng.normal(size=(3, 2, 6, 6)), "targets": 9.0 * rng.normal(size=(3, 8))}
    adaptive = Clipping(kind="adaptive", limit=0.01, excluded=("stem.bias",))

    def moved(rule: Optimizer, layout: Any) -> Any:
        how = replace(options(backend), layout=layout)
        program = loaded_backend(backend).compile_step(graph, how, MeanSquaredError(), rule)
        program.load(arrays, {})
        program.run(program.upload(batch), 1.0)
        return {name: arrays[name] - a for name, a in program.snapshot().weights.items()}

    layouts = ("auto", *backend_plugin(backend).layouts)
    for layout in dict.fromkeys(layouts):
        truth = clipped(adaptive, arrays, moved(SGD(momentum=0.0), layout))
        for name, array in moved(SGD(momentum=0.0, clipping=adaptive), layout).items():
            np.testing.assert_allclose(array, truth[name], rtol=1e-9, atol=1e-12, err_msg=f"{layout} {name}")


@pytest.mark.slow
@pytest.mark.parametrize("rule", [RULES[name] for name in FIFTY], ids=FIFTY)
@pytest.mark.parametrize("backend", BACKENDS)
def test_fifty_steps_lie_within_the_envelope(backend, rule):
    graph, training = small_network(), TrainingSteps.of_steps(50)
    batch = {"image": drawn_batch()["image"]}
    case = Case(graph, general_position(graph, 0), batch, options(backend, "float32"), training=training)
    case = replace(case, training=replace(training, optimizer=rule))
    (found,) = run_checks(["training"], InProcessSubject(loaded_backend(backend)), case)
    assert found.status == "passed", found.message
    assert found.details["steps"] == 50


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_steps_of_momentum_go_on_too(backend):
    steps_go_on_from_a_snapshot(loaded_backend(backend), options(backend, "float32"))
