"""The loop learns, is the same on every backend and for the same seed only, and resumes bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cnnbench.errors import DataError, SpecError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import Backend, ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.registry import build
from cnnbench.spec import layers as L
from cnnbench.spec.clipping import Clipping
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.losses import CrossEntropy, MeanSquaredError, SoftCrossEntropy
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import initialize
from cnnbench.training import checkpoints
from cnnbench.training.augmentation import Augmentation
from cnnbench.training.batches import epoch_batches, evaluation_batches
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest
from cnnbench.training.epoch import Epoch
from cnnbench.training.evaluation import host_loss
from cnnbench.training.loop import losses_until, train
from cnnbench.training.result import TrainingResult
from cnnbench.training.schedules import Constant, Cosine, Plateau
from cnnbench.training.settings import TrainSettings
from cnnbench.training.task import TrainingTask

FAST = ProgramOptions("fast", precision("float32"))
SMALL = TrainSettings(
    epochs=3,
    batch=16,
    train_images=70,
    test_images=25,
    learning_rate=0.02,
    schedule=Cosine(warm_up=0.5),
    optimizer=SGD(momentum=0.9, weight_decay=1e-4),
    augmentation=Augmentation(crop_padding=1),
)


def small_graph() -> Graph:
    builder = Builder("small")
    x = builder.input("picture", (1, 8, 8))
    x = builder.add("conv", L.Conv(out_channels=6, kernel_size=3, padding=1), x)
    x = builder.add("norm", L.BatchNorm(), x)
    x = builder.add("relu", L.ReLU(), x)
    x = builder.add("pool", L.MaxPool(kernel_size=2), x)
    x = builder.add("flat", L.Flatten(), x)
    x = builder.add("drop", L.Dropout(p=0.2), x)
    return builder.build({"logits": builder.add("fc", L.Linear(out_features=10), x)})


def run(
    backend: Backend, settings: TrainSettings = SMALL, options: ProgramOptions = FAST, **more: Any
) -> TrainingResult:
    graph = small_graph()
    return train(TrainingTask(backend, graph, initialize(graph, 0), settings, options), **more)


def same_bits(one: TrainingResult, other: TrainingResult) -> bool:
    arrays = [
        np.array_equal(part[name], others[name])
        for part, others in zip(one.final, other.final, strict=True)
        for name in part
    ]
    return all(arrays) and one.losses == other.losses and one.predictions == other.predictions


def test_lenet5_learns_the_digits(numpy_backend: Backend) -> None:
    graph = build("lenet5", num_classes=10)
    optimizer = SGD(momentum=0.9, weight_decay=1e-4)
    settings = TrainSettings(epochs=2, batch=32, learning_rate=0.03, schedule=Cosine(warm_up=0.5), optimizer=optimizer)
    result = train(TrainingTask(numpy_backend, graph, initialize(graph, 0), settings, FAST))
    assert result.epochs[1].train_loss < 0.5 * result.epochs[0].train_loss
    assert result.test_accuracy > 0.8  # 0.91 here; 0.87 to 0.92 over three seeds


def test_resnet20_learns_a_part_of_the_digits(numpy_backend: Backend) -> None:
    graph = build("resnet20", image=(3, 8, 8))
    settings = TrainSettings(
        epochs=3,
        batch=16,
        learning_rate=0.03,
        schedule=Cosine(warm_up=0.5),
        optimizer=SGD(momentum=0.9, weight_decay=1e-4),
        train_images=512,
        test_images=128,
    )
    result = train(TrainingTask(numpy_backend, graph, initialize(graph, 0), settings, FAST))
    losses = [epoch.train_loss for epoch in result.epochs]
    assert losses[2] < 0.5 * losses[1] < 0.5 * losses[0]
    assert result.test_accuracy > 0.85  # 0.94 to 0.98 over five seeds


def test_the_first_step_is_gradient_descent_on_the_first_batch(numpy_backend: Backend) -> None:
    """A linear network's step, worked out by hand from the dataset and the stated order of batches."""
    builder = Builder("linear")
    flat = builder.add("flat", L.Flatten(), builder.input("image", (1, 8, 8)))
    graph = builder.build({"logits": builder.add("fc", L.Linear(out_features=10), flat)})
    arrays = initialize(graph, 0)
    settings = TrainSettings(epochs=1, batch=70, train_images=70, learning_rate=0.1, optimizer=SGD(momentum=0.0))
    options = ProgramOptions("reference", precision("float64"))
    result = train(TrainingTask(numpy_backend, graph, arrays, settings, options))
    data = load_dataset("digits", DataRequest("train", (1, 8, 8), 70, 0))
    x = data.images.reshape(70, 64).astype(float)
    logits = x @ arrays["fc.weight"].T.astype(float) + arrays["fc.bias"]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    onehot = np.eye(10)[data.labels]
    assert result.losses[0] == pytest.approx(-np.mean(np.log(shares[onehot == 1])), rel=1e-12)
    expected = arrays["fc.weight"] - 0.1 * (shares - onehot).T @ x / 70
    np.testing.assert_allclose(result.final.weights["fc.weight"], expected, rtol=0, atol=1e-13)


def test_a_weight_that_clipping_leaves_out_must_be_there(numpy_backend: Backend) -> None:
    clipping = Clipping(kind="adaptive", limit=0.01, excluded=("fd",))
    with pytest.raises(SpecError, match=r"'fd'.*\n*.*did you mean 'fc'"):
        run(numpy_backend, replace(SMALL, optimizer=SGD(clipping=clipping)))
    run(numpy_backend, replace(SMALL, epochs=1, optimizer=SGD(clipping=replace(clipping, excluded=("fc",)))))


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param("torch", "eager", marks=pytest.mark.torch),
        pytest.param("jax", "jit", marks=pytest.mark.jax),
        pytest.param("tensorflow", "graph", marks=pytest.mark.tensorflow),
    ],
)
def test_curves_are_the_same_on_every_backend(name: str, mode: str, numpy_backend: Backend) -> None:
    pytest.importorskip(name, reason=f"{name} is not installed")
    backend = load_backend(name)
    backend.configure(ProcessSettings(threads=2))
    wide = precision("float64")
    expected = run(numpy_backend, options=ProgramOptions("reference", wide))
    found = run(backend, options=ProgramOptions(mode, wide))
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-10)
    assert found.predictions == expected.predictions
    assert found.targets == expected.targets
    for part, others in zip(found.final, expected.final, strict=True):
        assert part.keys() == others.keys()
        for key, array in others.items():
            np.testing.assert_allclose(part[key], array, rtol=1e-9, atol=1e-11, err_msg=key)


def test_a_run_depends_on_its_seed_alone(numpy_backend: Backend) -> None:
    one = run(numpy_backend)
    assert same_bits(one, run(numpy_backend))
    assert not same_bits(one, run(numpy_backend, replace(SMALL, seed=1)))


def test_listeners_hear_of_every_step_and_epoch(numpy_backend: Backend) -> None:
    steps: list[tuple[int, float]] = []
    epochs: list[Epoch] = []
    result = run(numpy_backend, on_epoch=epochs.append, on_step=lambda step, loss: steps.append((step, loss)))
    assert [step for step, _ in steps] == list(range(1, 13))  # 70 images in batches of 16: 4 steps an epoch
    assert tuple(loss for _, loss in steps) == result.losses
    assert tuple(epochs) == result.epochs
    assert [epoch.step for epoch in epochs] == [4, 8, 12]
    assert epochs[1].train_loss == pytest.approx(np.mean(result.losses[4:8]), rel=1e-14)
    assert len(result.predictions) == len(result.targets) == 25
    right = np.mean(np.array(result.predictions) == np.array(result.targets))
    assert result.test_accuracy == right
    assert all(epoch.seconds > 0 for epoch in epochs)


class _StopError(Exception):
    pass


def _stop_after(count: int) -> Callable[[Epoch], None]:
    def stop(epoch: Epoch) -> None:
        if epoch.epoch == count:
            raise _StopError

    return stop


def test_losses_alone_are_those_of_a_training_and_end_where_that_is_enough(numpy_backend: Backend) -> None:
    graph = small_graph()
    heard: list[int] = []

    def losses(last: int) -> tuple[float, ...]:
        task = TrainingTask(numpy_backend, graph, initialize(graph, 0), SMALL, FAST)
        heard.clear()
        return losses_until(task, lambda step, loss: step == last, on_step=lambda step, loss: heard.append(step))

    whole = run(numpy_backend).losses
    assert losses(100) == whole
    assert heard == list(range(1, 13))
    assert losses(6) == whole[:6]
    assert heard == list(range(1, 7))


HARD_TO_PLEASE = replace(SMALL, schedule=Plateau(threshold=0.99, patience=0, watch="train_loss"))


def test_mixup_trains_towards_probabilities(numpy_backend: Backend) -> None:
    mixing = replace(SMALL, augmentation=Augmentation(mixup=1.0, cutout=3))
    with pytest.raises(SpecError, match="soft_cross_entropy"):
        run(numpy_backend, mixing)
    plain, soft = run(numpy_backend), run(numpy_backend, replace(SMALL, loss=SoftCrossEntropy()))
    np.testing.assert_allclose(soft.losses, plain.losses, rtol=1e-4)  # of indicator vectors the two losses are one
    halves = [replace(mixing.augmentation, mixup=0.0), replace(mixing.augmentation, cutout=0), mixing.augmentation]
    firsts = [run(numpy_backend, replace(SMALL, epochs=1, loss=SoftCrossEntropy(), augmentation=a)) for a in halves]
    assert len({result.losses[0] for result in [soft, *firsts]}) == 4


def test_a_plateau_lowers_the_rate_and_losses_alone_see_it_too(numpy_backend: Backend) -> None:
    """No epoch is better by 99 %, so that the second and third ones count, and the third has a tenth of the rate."""
    found, plain = run(numpy_backend, HARD_TO_PLEASE), run(numpy_backend, replace(SMALL, schedule=Constant()))
    assert found.losses[:9] == plain.losses[:9]
    assert found.losses[9:] != plain.losses[9:]
    graph = small_graph()
    task = TrainingTask(numpy_backend, graph, initialize(graph, 0), HARD_TO_PLEASE, FAST)
    assert losses_until(task, lambda step, loss: False) == found.losses


@pytest.mark.parametrize("settings", [SMALL, HARD_TO_PLEASE], ids=["cosine", "plateau"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    settings: TrainSettings, numpy_backend: Backend, tmp_path: Path
) -> None:
    whole = run(numpy_backend, settings)
    path = tmp_path / "run" / "training.safetensors"
    with pytest.raises(_StopError):
        run(numpy_backend, settings, on_epoch=_stop_after(2), checkpoint=path)
    saved = checkpoints.load(path)
    assert saved.losses == whole.losses[:8]
    heard: list[Epoch] = []
    resumed = run(numpy_backend, settings, on_epoch=heard.append, checkpoint=path)
    assert [epoch.epoch for epoch in heard] == [3]
    assert same_bits(resumed, whole)
    assert [path.name for path in path.parent.iterdir()] == ["training.safetensors"]
    assert same_bits(run(numpy_backend, settings, checkpoint=path), whole)  # nothing is left to do


def test_a_checkpoint_of_something_else_is_refused(
    numpy_backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, settings = tmp_path / "c.safetensors", replace(SMALL, epochs=1)
    run(numpy_backend, settings, checkpoint=path)
    with pytest.raises(DataError, match="another training"):
        run(numpy_backend, replace(settings, learning_rate=0.5), checkpoint=path)
    with monkeypatch.context() as changed, pytest.raises(DataError, match="another training"):
        changed.setattr("cnnbench.training.task.computing_digest", lambda: "other code")
        run(numpy_backend, settings, checkpoint=path)
    run(numpy_backend, settings, checkpoint=path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="safetensors"):
        run(numpy_backend, checkpoint=path)


def test_a_checkpoint_belongs_to_every_field_of_its_training_and_to_the_code(
    numpy_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = small_graph()
    task = TrainingTask(numpy_backend, graph, initialize(graph, 0), SMALL, FAST)
    settings = {
        "data": "blobs", "image": (1, 8, 8), "epochs": 4, "batch": 8, "loss": MeanSquaredError(), "optimizer": SGD(),
        "learning_rate": 0.03, "schedule": Constant(), "augmentation": Augmentation(), "seed": 1, "train_images": None,
        "test_images": None, "target": 0.5,
    }  # fmt: skip
    assert settings.keys() == {item.name for item in fields(TrainSettings)}
    assert TrainingTask(numpy_backend, small_graph(), initialize(graph, 0), replace(SMALL), FAST).digest == task.digest
    monkeypatch.setattr("cnnbench.training.task.dataset", lambda name: SimpleNamespace(files_digest=""))
    others = [replace(task, settings=replace(SMALL, **{name: value})) for name, value in settings.items()]
    others += [replace(task, arrays=initialize(graph, 1)), replace(task, graph=build("lenet5"))]
    others += [replace(task, options=replace(FAST, **change)) for change in ({"mode": "reference"}, {"layout": "nhwc"})]
    found = [task.digest, *(other.digest for other in others)]
    monkeypatch.setattr("cnnbench.training.task.dataset", lambda name: SimpleNamespace(files_digest="other files"))
    found.append(task.digest)
    monkeypatch.setattr("cnnbench.training.task.computing_digest", lambda: "other code")
    found.append(task.digest)
    assert len(set(found)) == len(found)


def test_a_loss_on_values_gets_indicator_vectors(numpy_backend: Backend) -> None:
    settings = replace(SMALL, loss=MeanSquaredError(), learning_rate=0.05, epochs=4)
    result = run(numpy_backend, settings)
    assert result.epochs[-1].train_loss < 0.8 * result.epochs[0].train_loss


def test_the_host_loss_equals_its_definition() -> None:
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(5, 4)) + 700, np.array([0, 3, 1, 1, 2])
    smooth = 0.1
    expected = 0.0
    for row, target in zip(logits, targets, strict=True):
        total = math.fsum(math.exp(value - 700) for value in row)
        logs = [value - 700 - math.log(total) for value in row]
        expected -= sum(((1 - smooth) * (k == target) + smooth / 4) * logs[k] for k in range(4)) / 5
    assert host_loss(CrossEntropy(label_smoothing=smooth), logits, targets) == pytest.approx(expected, rel=1e-12)


def test_every_image_is_in_at_most_one_batch_of_an_epoch() -> None:
    first, second = (epoch_batches(50, 8, seed=3, epoch=epoch) for epoch in (0, 1))
    assert first.shape == (6, 8)
    assert len(set(first.ravel().tolist())) == 48
    assert not np.array_equal(first, second)


def test_evaluation_counts_every_image_once() -> None:
    batches = list(evaluation_batches(10, 4))
    assert [len(positions) for positions, _ in batches] == [4, 4, 4]
    counted = [position for positions, count in batches for position in positions[:count].tolist()]
    assert counted == list(range(10))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 71}, "larger than the training data"),
        ({"image": (3, 8, 8)}, "takes another image"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], message: str, numpy_backend: Backend) -> None:
    with pytest.raises(SpecError, match=message):
        run(numpy_backend, replace(SMALL, **changes))


def test_a_network_with_too_few_classes_is_refused(numpy_backend: Backend) -> None:
    builder = Builder("two")
    flat = builder.add("flat", L.Flatten(), builder.input("image", (1, 8, 8)))
    graph = builder.build(builder.add("fc", L.Linear(out_features=2), flat))
    with pytest.raises(SpecError, match="classes"):
        train(TrainingTask(numpy_backend, graph, initialize(graph, 0), SMALL, FAST))
    with pytest.raises(SpecError, match="epochs"):
        TrainSettings(epochs=0)
