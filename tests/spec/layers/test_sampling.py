"""Sampling at points, and positions of maxima: shapes, bad input, and numbers by closed forms and loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from cnnbench_numpy.ops import REFERENCE

from cnnbench.errors import SpecError
from cnnbench.execution.operations import Call
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers.max_positions import MaxPoolPositions
from cnnbench.spec.layers.sampling import GridSample

CALL = Call(training=False, channels_last=False)


def computed(layer, *inputs):
    resolved = layer.resolve(tuple(x.shape for x in inputs))
    (found,) = REFERENCE[layer.kind].forward(resolved, inputs, (), (), CALL).outputs
    assert found.shape == resolved.output_shapes(tuple(x.shape for x in inputs))[0]
    return found


def centres(size, *, align_corners):
    return np.linspace(-1, 1, size) if align_corners else (2 * np.arange(size) + 1) / size - 1


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_a_grid_of_the_pixels_centres_gives_the_image(mode, align_corners):
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    rows, columns = (centres(n, align_corners=align_corners) for n in (4, 5))
    grid = np.broadcast_to(np.stack(np.meshgrid(columns, rows), axis=-1), (2, 4, 5, 2))  # x comes first
    found = computed(GridSample(mode=mode, padding="border", align_corners=align_corners), x, grid)
    np.testing.assert_allclose(found, x, atol=1e-12)


def test_linear_sampling_of_a_plane_is_the_plane_and_zero_far_outside():
    rows, columns = np.mgrid[:6, :7].astype(float)
    x = (2 * rows - 3 * columns + 1)[None, None]
    points = np.array([[-0.3, 0.4], [0.1, -0.6], [3.0, 0.0]])
    found = computed(GridSample(align_corners=True), x, points.reshape(1, 1, 3, 2))[0, 0, 0]
    column, row = (points[:, 0] + 1) * 3, (points[:, 1] + 1) * 2.5
    np.testing.assert_allclose(found[:2], (2 * row - 3 * column + 1)[:2], rtol=1e-12)
    assert found[2] == 0


@pytest.mark.parametrize(("align_corners", "expected"), [(False, [0, 0, 1, 2, 2, 1]), (True, [1, 0, 1, 2, 1, 0])])
def test_reflection_is_about_edges_or_about_centres(align_corners, expected):
    """A row 0 1 2 goes on as 0 0 1 2 2 1, or as 1 0 1 2 1 0."""
    x = np.arange(3.0).reshape(1, 1, 1, 3)
    at = np.arange(-1, 5)  # pixels
    grid = at - 1.0 if align_corners else (2 * at + 1) / 3 - 1
    points = np.stack([grid, np.zeros(6)], axis=-1).reshape(1, 1, 6, 2)
    layer = GridSample(mode="nearest", padding="reflection", align_corners=align_corners)
    np.testing.assert_array_equal(computed(layer, x, points)[0, 0, 0], expected)


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_sampling_is_pytorch_s(mode, padding, align_corners):
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(1)
    x, grid = generator.normal(size=(2, 3, 5, 7)), generator.uniform(-2.7, 2.7, (2, 4, 6, 2))
    expected = torch.nn.functional.grid_sample(
        torch.tensor(x),
        torch.tensor(grid),
        mode={"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode),
        padding_mode=padding,
        align_corners=align_corners,
    )
    found = computed(GridSample(mode=mode, padding=padding, align_corners=align_corners), x, grid)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-12)


@pytest.mark.parametrize(
    ("layer", "shapes", "message", "received", "expected"),
    [
        (GridSample(), ((3, 5, 7), (4, 6, 3)), "the grid does not fit the image", "(1, 4, 6, 3)", "(N, *out, 2)"),
        (GridSample(), ((3, 5, 7), (4, 2)), "the grid does not fit the image", "(1, 4, 2)", "rank 4"),
        (GridSample(), ((3, 5), (4, 1)), "grid_sample cannot take an input of rank 3", "(1, 3, 5)", "rank 4 to 5"),
        (GridSample(mode="cubic"), ((3, 4, 5, 6), (2, 2, 2, 3)), "two spatial axes", "(1, 3, 4, 5, 6)", "rank 4"),
        (GridSample(mode="bilinear"), ((3, 5, 7), (4, 6, 2)), "mode", "bilinear", "linear"),
    ],
)
def test_what_does_not_fit_names_the_node(layer, shapes, message, received, expected):
    builder = Builder("net")
    values = [builder.input(f"x{i}", shape) for i, shape in enumerate(shapes)]
    with pytest.raises(SpecError) as raised:
        builder.add("sample", layer, *values)
    text = str(raised.value)
    assert all(part in text for part in ("sample", message, received, expected))


@pytest.mark.parametrize("counted", ["image", "tensor"])
@pytest.mark.parametrize("order", ["rows", "columns"])
def test_positions_of_maxima_are_those_of_loops(counted, order):
    x = np.random.default_rng(2).normal(size=(2, 3, 6, 7))
    layer = MaxPoolPositions(kernel_size=(3, 2), stride=(2, 1), padding=((1, 0), (0, 1)), counted=counted, order=order)
    found = computed(layer, x)
    for n, c, i, j in itertools.product(*map(range, found.shape)):
        window = [(r, s) for r in range(2 * i - 1, 2 * i + 2) for s in (j, j + 1) if 0 <= r < 6 and s < 7]
        row, column = max(window, key=lambda place: x[n, c, place[0], place[1]])
        position = row * 7 + column if order == "rows" else row + column * 6
        assert found[n, c, i, j] == position + ((n * 3 + c) * 42 if counted == "tensor" else 0)
