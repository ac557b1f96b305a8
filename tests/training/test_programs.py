"""Training programs: what is refused, what each phase moves and reads, averages, and taking up a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cnnbench.errors import DataError, SpecError, UnavailableError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Linear
from cnnbench.spec.layers.reduction import Reduce
from cnnbench.spec.optimizers import SGD
from cnnbench.training.dataset import Dataset
from cnnbench.training.programs.offered import offered_program, training_programs
from cnnbench.training.programs.program import Phase, TrainingProgram
from cnnbench.training.programs.runner import ProgramRunner, RoundSettings, compiled_on, train_program
from cnnbench.training.programs.sources import FromData, Integers, Normal, TableAt

SETTINGS = RoundSettings(batch=3, learning_rate=0.001)


def pictures(program: TrainingProgram) -> dict[str, Dataset]:
    """Random pictures of the shape that the program reads, for each of its datasets."""
    items = {item.name: item for phase in program.phases for item in phase.graph.inputs}
    found = {}
    for number, (name, source) in enumerate(sorted(program.sources.items())):
        if isinstance(source, FromData):
            images = np.random.default_rng(number).uniform(-1, 2, (7, *items[name].shape)).astype(np.float32)
            found[source.dataset] = Dataset("random", "train", images, np.arange(7), tuple("0123456"), "none")
    return found


def runner(program: TrainingProgram, name: str = "numpy", mode: str = "fast", kind: str = "float32") -> ProgramRunner:
    backend = load_backend(name)
    backend.configure(ProcessSettings(threads=2))
    options = ProgramOptions(mode, precision(kind))
    return ProgramRunner(program, compiled_on(backend, options), SETTINGS, pictures(program))


@pytest.mark.parametrize("name", training_programs())
def test_each_phase_of_a_shipped_program_moves_what_it_trains_and_nothing_else(name):
    found = runner(offered_program(name).build())
    found.load()
    statistics = {spec.name for phase in found.program.phases for spec in phase.graph.named_state()}
    before = found.snapshot().arrays
    for number, phase in enumerate(found.program.phases):
        assert np.isfinite(found.take(number, found.batch(number, 0)))
        after = found.snapshot().arrays
        moved = {key for key in after if not np.array_equal(after[key], before[key])}
        assert moved - statistics <= set(phase.weights)
        assert len(moved - statistics) > len(phase.weights) / 2
        before = after


@pytest.mark.slow
@pytest.mark.parametrize("name", training_programs())
@pytest.mark.parametrize(
    ("backend", "mode"),
    [
        pytest.param("torch", "eager", marks=pytest.mark.torch),
        pytest.param("jax", "jit", marks=pytest.mark.jax),
        pytest.param("tensorflow", "graph", marks=pytest.mark.tensorflow),
    ],
)
def test_backends_train_the_same_in_float64(name, backend, mode):
    pytest.importorskip(backend, reason=f"needs {backend}")
    program = offered_program(name).build()
    right = [list(losses.values()) for losses in train_program(runner(program, kind="float64"), 2)]
    other = runner(program, backend, mode, "float64")
    assert [list(losses.values()) for losses in train_program(other, 2)] == [pytest.approx(x, rel=1e-7) for x in right]


def test_averages_follow_their_formula_and_a_run_is_taken_up():
    program = replace(offered_program("ddpm_tiny").build(), average=0.75)
    whole = runner(program)
    expected = {name: np.asarray(whole.program.initial(0)[name], np.float64) for name in program.trained}
    losses = []
    for at, found in enumerate(train_program(whole, 3)):
        losses.append(found)
        arrays = whole.snapshot().arrays
        expected = {name: 0.75 * mean + 0.25 * arrays[name] for name, mean in expected.items()}
        if at == 0:
            middle = whole.snapshot()
    for name, mean in expected.items():
        np.testing.assert_allclose(whole.averages[name], mean, rtol=1e-12)
    again = runner(program)
    again.load(middle)
    assert [again.round(at) for at in (1, 2)] == losses[1:]
    for name in expected:
        np.testing.assert_array_equal(again.averages[name], whole.averages[name])


def test_phases_draw_their_own_noise_and_share_the_images():
    program = offered_program("adversarial_autoencoder_tiny").build()
    data = pictures(program)
    images = [program.batch(phase, 3, data, 0, 0)["image"] for phase in range(3)]
    assert all(np.array_equal(image, images[0]) for image in images)
    assert images[0].min() >= 0
    assert images[0].max() <= 1
    program = offered_program("dcgan_tiny").build()
    latents = [program.batch(phase, 3, pictures(program), 0, at)["latent"] for phase in (0, 1) for at in (0, 1)]
    assert len({latent.tobytes() for latent in latents}) == 4
    program = offered_program("ddpm_tiny").build()
    batch = program.batch(0, 3, pictures(program), 0, 0)
    np.testing.assert_allclose(batch["signal"] ** 2 + batch["spread"] ** 2, 1, rtol=1e-6)
    assert batch["time"].dtype == np.float32
    assert set(batch["time"] % 1) == {0}


def phase(name: str = "one", trained: tuple[str, ...] = ("net",)) -> Phase:
    b = Builder(name)
    y = b.embed("net", part(), {"x": b.input("x", (2,))})["y"]
    return Phase(name, b.build(b.add("loss", Reduce(function="mean", keepdims=False), y)), trained, SGD())


def part():
    net = Builder("net")
    return net.build({"y": net.add("fc", Linear(out_features=1), net.input("x", (2,)))})


def made(*phases: Phase, **fields) -> TrainingProgram:
    return TrainingProgram("made", **{"networks": {"net": part()}, "sources": {"x": Normal()}, **fields}, phases=phases)


def no_scalar() -> Phase:
    b = Builder("no scalar")
    return Phase("one", b.build(b.embed("net", part(), {"x": b.input("x", (2,))})["y"]), ("net",), SGD())


def unreached() -> Phase:
    good = phase()
    other = Builder("other")
    y = other.embed("net", part(), {"x": other.input("x", (2,))})["y"]
    z = other.embed("more", part(), {"x": other.input("z", (2,))})["y"]
    loss = other.add("loss", Reduce(function="mean", keepdims=False), y)
    return replace(good, graph=other.build({"loss": loss, "z": z}), trained=("more",))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: made(), "needs a phase", id="no phase"),
        pytest.param(lambda: made(phase(), phase()), "two phases have one name", id="twice"),
        pytest.param(lambda: made(no_scalar()), "phase 'one'.*must be a scalar", id="no scalar"),
        pytest.param(lambda: made(phase(trained=("nett",))), "no weight of 'nett'", id="nothing to train"),
        pytest.param(lambda: made(unreached()), "does not depend on the trained weight 'more", id="unreached"),
        pytest.param(lambda: made(phase(), sources={}), "the input 'x' has no source", id="no source"),
        pytest.param(
            lambda: made(phase(), sources={"x": Normal(), "y": Normal()}), "no phase reads 'y'", id="unused source"
        ),
        pytest.param(lambda: made(phase(), networks={"other": part()}), "is not one of the program", id="network"),
        pytest.param(lambda: made(phase(), average=1.0), "average is not valid", id="average"),
        pytest.param(lambda: Integers(3, 3), "no integer to draw", id="integers"),
    ],
)
def test_what_cannot_be_trained_is_refused_where_it_is_wrong(make, message):
    with pytest.raises(SpecError, match=f"(?s){message}"):
        make()


def test_missing_data_and_names_are_told():
    program = offered_program("dcgan_tiny").build()
    with pytest.raises(DataError, match="needs a dataset 'data'"):
        program.batch(0, 3, {}, 0, 0)
    with pytest.raises(DataError, match="batch is larger"):
        program.batch(0, 8, pictures(program), 0, 0)
    odd = replace(program, sources={**program.sources, "image": FromData("mask")})
    with pytest.raises(DataError, match="has no 'mask'"):
        odd.batch(0, 3, pictures(program), 0, 0)
    with pytest.raises(SpecError, match="must be declared before it"):
        made(phase(), sources={"x": TableAt((1.0,), "time")}).batch(0, 2, {}, 0, 0)
    with pytest.raises(UnavailableError, match="dcgan_tiny"):
        offered_program("dcgan")
