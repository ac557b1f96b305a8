"""A training pass of ports: statistics that move otherwise are named at their layer, right ports are silent."""

from __future__ import annotations

import json

import numpy as np
import pytest

import cnnbench
from cnnbench.porting.report import lines, to_html, to_json, to_markdown
from cnnbench.porting.training_apart import BatchStatistics, rule_of

TORCH = """
import torch
from torch import nn
from torch.nn import functional as F
class Frozen(nn.BatchNorm2d):
    def train(self, mode=True):
        return super().train(False)
class Net(nn.Module):
    def __init__(self, norm=nn.BatchNorm2d, momentum=0.1, p=0.5, mistake=""):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 1), norm(4, momentum=momentum)
        self.drop, self.fc, self.p, self.mistake = nn.Dropout(p), nn.Linear(4, 5), p, mistake
    def forward(self, x):
        if self.training and self.mistake == "raises":
            raise ValueError("no such batch")
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        if self.training and self.mistake == "noise":
            x = x + torch.randn_like(x)
        x = F.dropout(F.relu(self.bn2(self.conv2(x))), self.p, self.training)
        x = self.fc(self.drop(x.mean((2, 3))))
        x = 2 * x if self.training and self.mistake == "doubled" else x
        return (x, x) if self.training and self.mistake == "second" else x
def made(**how):
    torch.manual_seed(0)
    found = Net(**how)
    for norm in (found.bn1, found.bn2):
        for item in (norm.weight, norm.running_var):
            nn.init.uniform_(item, 0.5, 1.5)
    return found.eval(), (3, 5, 5)
def net(): return made()
def frozen(): return made(norm=Frozen)
def slow(): return made(momentum=0.01)
def rate(): return made(p=0.25)
def doubled(): return made(mistake="doubled")
def second(): return made(mistake="second")
def noise(): return made(mistake="noise")
def raises(): return made(mistake="raises")
class StochasticDepth(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p
    def forward(self, x):
        return x * (torch.rand(len(x), 1, 1, 1) > self.p) / (1 - self.p) if self.training else x
def noisy(layer):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), layer, nn.Flatten(), nn.Linear(36, 5)).eval(), (3, 5, 5)
def channels(p=0.2): return noisy(nn.Dropout2d(p))
def channels_rate(): return channels(0.6)
def channels_none(): return channels(0.0)
def alpha(p=0.2): return noisy(nn.AlphaDropout(p))
def alpha_rate(): return alpha(0.6)
def branches(p=0.2): return noisy(StochasticDepth(p))
def branches_rate(): return branches(0.6)
"""
KERAS = """
import keras
from keras import layers
from torch_nets import net as theirs
def made(momentum=0.9):
    x = inputs = keras.Input((5, 5, 3))
    for i, size in enumerate((3, 1), 1):
        x = layers.Conv2D(4, size, padding="same", name=f"conv{i}")(x)
        x = layers.BatchNormalization(epsilon=1e-5, momentum=momentum, name=f"bn{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(layers.Dropout(0.5, name="drop1")(x))
    model = keras.Model(inputs, layers.Dense(5, name="fc")(layers.Dropout(0.5, name="drop2")(x)))
    arrays = {name: item.numpy() for name, item in theirs()[0].state_dict().items()}
    for i in (1, 2):
        kernel = arrays[f"conv{i}.weight"].transpose(2, 3, 1, 0)
        model.get_layer(f"conv{i}").set_weights([kernel, arrays[f"conv{i}.bias"]])
        roles = ("weight", "bias", "running_mean", "running_var")
        model.get_layer(f"bn{i}").set_weights([arrays[f"bn{i}." + role] for role in roles])
    model.get_layer("fc").set_weights([arrays["fc.weight"].T, arrays["fc.bias"]])
    return model
def net(): return made()
def frozen():
    model = made()
    model.get_layer("bn2").trainable = False
    return model
"""
JAX = """
import jax.numpy as jnp
def net(): return (lambda p, x: (x * p["scale"]).mean((1, 2)), {"scale": jnp.ones(3)}), (5, 5, 3)
"""
MOVES = "the mean moves by {0:.4g} of the batch's, the variance by {0:.4g} of the batch's {1} one"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """(function, file) -> the reference to a model of it, in files that are written once: what is read is kept."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("models")
    for name, text in {"torch": TORCH, "keras": KERAS, "jax": JAX}.items():
        (folder / f"{name}_nets.py").write_text(text)

    def named(function="net", file="torch"):
        return f"{folder / f'{file}_nets.py'}:{function}"

    return named


@pytest.mark.torch
def test_a_right_port_agrees_without_its_dropout(model):
    result = cnnbench.port(model(), model(), train=True)
    assert result.same, lines(result)
    assert result.trained == 5  # two statistics of two norms, and an output
    assert "a training pass agrees: 5 running statistics and outputs" in lines(result)
    assert not result.notes


@pytest.mark.torch
def test_the_references_own_training_pass_is_that_of_the_framework(model):
    found = cnnbench.load(model())
    result = cnnbench.port(found, model(), train=True)
    assert result.same, lines(result)
    assert result.trained == 5


@pytest.mark.torch
def test_statistics_that_do_not_move_are_named_at_their_layer(model):
    """Which no field and no value at inference shows."""
    result = cnnbench.port(model(), model("frozen"), train=True)
    assert result.parting is None
    assert not result.counted
    item = result.training_parting
    assert (item.node, item.name, item.number) == ("bn2", "running_mean", 3)
    assert item.rules == (MOVES.format(0.1, "unbiased"), "they do not move")
    assert item.budgets > 1e3
    assert result.exit_code == 4
    back = cnnbench.port(model("frozen"), model(), train=True).training_parting
    assert back.rules == item.rules[::-1]
    assert any("in the candidate they do not move" in line for line in lines(result))
    data = json.loads(json.dumps(to_json(result)))
    assert data["first_training_parting"]["node"] == "bn2"
    assert data["training_arrays_compared"] == 5
    assert all("they do not move" in page(result) for page in (to_markdown, to_html))


@pytest.mark.torch
def test_another_momentum_is_named_as_a_field_and_shows_in_the_statistics(model):
    result = cnnbench.port(model(), model("slow"), train=True)
    assert [(item.node, item.name) for item in result.counted] == [("bn2", "momentum")]
    item = result.training_parting
    assert (item.node, item.name, item.number) == ("bn2", "running_mean", 2)  # the outputs take the batch's own
    assert item.rules == (MOVES.format(0.1, "unbiased"), MOVES.format(0.01, "unbiased"))
    assert cnnbench.port(model(), model("slow")).same


@pytest.mark.torch
def test_another_rate_of_dropout_is_a_field_alone(model):
    result = cnnbench.port(model(), model("rate"), train=True)
    assert {item.name for item in result.counted} == {"p"}
    assert result.training_parting is None


@pytest.mark.torch
def test_an_output_that_differs_in_training_alone_is_named(model):
    result = cnnbench.port(model(), model("doubled"), train=True)
    assert not result.counted
    item = result.training_parting
    assert (item.name, item.number, item.apart) == ("", 1, pytest.approx(1.0))
    assert result.exit_code == 4
    second = cnnbench.port(model(), model("second"), train=True)
    (difference,) = second.counted
    assert (difference.reference, difference.candidate) == ("1", "2")
    assert second.trained == 4


@pytest.mark.torch
def test_what_depends_on_further_draws_is_left_out_and_said(model):
    result = cnnbench.port(model("noise"), model("noise"), train=True)
    assert result.same
    assert result.trained == 2  # of the norm before the noise
    assert sum("draws more than dropout" in note for note in result.notes) == 2


@pytest.mark.torch
def test_a_model_without_a_training_pass_says_why(model):
    result = cnnbench.port(model(), model("raises"), train=True)
    assert any("ValueError: no such batch" in note for note in result.notes)
    assert "no training pass is compared" in lines(result)


@pytest.mark.torch
@pytest.mark.tensorflow
@pytest.mark.slow
def test_keras_keeps_the_variance_otherwise(model):
    pytest.importorskip("tensorflow")
    result = cnnbench.port(model(), model(file="keras"), train=True)
    assert {item.name for item in result.counted} == {"running_variance"}
    item = result.training_parting
    assert (item.node, item.name, item.number) == ("bn1", "running_var", 2)
    assert item.rules == (MOVES.format(0.1, "unbiased"), MOVES.format(0.1, "biased"))
    frozen = cnnbench.port(model(file="keras"), model("frozen", "keras"), train=True).training_parting
    assert (frozen.node, frozen.name) == ("bn2", "running_mean")
    assert frozen.rules == (MOVES.format(0.1, "biased"), "they do not move")


@pytest.mark.jax
@pytest.mark.slow
def test_a_jax_function_is_its_inference(model):
    pytest.importorskip("jax")
    result = cnnbench.port(model(file="jax"), model(file="jax"), train=True)
    assert result.trained == 0
    assert any("is its inference alone" in note for note in result.notes)


@pytest.mark.parametrize("momentum", [0.1, 0.01, 1.0])
@pytest.mark.parametrize("kind", ["biased", "unbiased"])
def test_the_rule_is_found_from_what_the_statistics_were_and_are(momentum, kind):
    random = np.random.default_rng(0)
    x = random.normal(1.0, 2.0, (8, 6))
    before = [random.normal(size=6), random.uniform(0.5, 1.5, 6)]
    taken = (x.mean(0), x.var(0, ddof=int(kind == "unbiased")))
    after = [((1 - momentum) * old + momentum * new).astype("float32") for old, new in zip(before, taken, strict=True)]
    batch = BatchStatistics(x.mean(0), x.var(0), 8)
    assert rule_of(before, after, batch) == MOVES.format(momentum, kind)
    assert rule_of(before, before, batch) == "they do not move"
    assert rule_of(before, [random.normal(size=6), before[1] + 1], batch) == ""


NOISES = {  # reference, candidate: what is said
    ("channels", "channels_rate"): "1: noise dropout of whole channels, p 0.2 here, dropout of whole channels, p 0.6",
    ("channels", "channels_none"): "1: the candidate has no such layer (dropout of whole channels, p 0.2)",
    ("channels_none", "channels"): "1: the candidate alone has this layer (dropout of whole channels, p 0.2)",
    ("alpha", "alpha_rate"): "1: noise alpha dropout, p 0.2 here, alpha dropout, p 0.6 in the candidate",
    ("channels", "alpha"): "1: noise dropout of whole channels, p 0.2 here, alpha dropout, p 0.2 in the candidate",
    ("branches", "branches_rate"): "1: noise dropout of whole branches, p 0.2 here, dropout of whole branches, p 0.6",
    ("channels", "channels"): "",
}


QUICK = (("channels", "channels_rate"), ("channels", "channels"))


@pytest.mark.torch
@pytest.mark.parametrize(
    "pair",
    [pytest.param(pair, marks=[] if pair in QUICK else [pytest.mark.slow]) for pair in NOISES],
    ids=" beside ".join,
)
def test_what_acts_in_training_only_and_no_layer_stands_for_is_compared_with_its_rate(pair, model):
    files = [model(name) for name in pair]
    result = cnnbench.port(*files, train=True)
    assert result.same == (not NOISES[pair])
    assert NOISES[pair] in "\n".join(lines(result))
    assert cnnbench.port(*files).same


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "layer",
    [
        "SpatialDropout2D",
        *(
            pytest.param(layer, marks=pytest.mark.slow)
            for layer in ("GaussianNoise", "AlphaDropout", "GaussianDropout")
        ),
    ],
)
def test_the_rates_of_keras_noises_are_compared(layer, tmp_path):
    pytest.importorskip("tensorflow", reason="needs tensorflow")
    (tmp_path / "noisy.py").write_text(
        "import keras\nfrom keras import layers as L\n"
        "def net(p):\n    keras.utils.set_random_seed(0)\n"
        f"    return keras.Sequential([L.Input((5, 5, 3)), L.Conv2D(4, 3), L.{layer}(p), L.Flatten(), L.Dense(5)])\n"
        "def one(): return net(0.2)\ndef two(): return net(0.6)\ndef none(): return net(0.0)\n",
        encoding="utf-8",
    )
    one, two, none = (f"{tmp_path}/noisy.py:{name}" for name in ("one", "two", "none"))
    assert cnnbench.port(one, one, train=True).same
    assert not cnnbench.port(one, two, train=True).same
    assert not cnnbench.port(one, none, train=True).same
    assert cnnbench.port(one, two).same
