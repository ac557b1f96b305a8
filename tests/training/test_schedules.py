"""Schedules against their closed forms, and augmentation against what it says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.spec.streams import stream
from cnnbench.training.augmentation import Augmentation, jittered, turned
from cnnbench.training.epoch import Epoch
from cnnbench.training.schedules import Constant, Cosine, Exponential, OneCycle, Plateau, Step, schedule_from_fields
from cnnbench.training.settings import TrainSettings


def test_the_constant_schedule_is_one() -> None:
    assert [Constant().factor(epoch, 10) for epoch in (0, 3.5, 10)] == [1, 1, 1]


def test_the_step_schedule_falls_at_its_milestones() -> None:
    schedule = Step(milestones=(2, 4.5), gamma=0.1)
    factors = [schedule.factor(epoch, 10) for epoch in (0, 1.999, 2, 4.49, 4.5, 9)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_the_exponential_schedule_is_a_power() -> None:
    assert Exponential(gamma=0.8).factor(2.5, 10) == pytest.approx(0.8**2.5)


def test_the_cosine_schedule_falls_from_one_to_its_end() -> None:
    schedule = Cosine(final=0.2)
    assert schedule.factor(0, 8) == 1
    assert schedule.factor(4, 8) == pytest.approx(0.6)
    assert schedule.factor(2, 8) == pytest.approx(0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2)
    assert schedule.factor(8, 8) == pytest.approx(0.2)


def test_warm_up_rises_linearly_and_then_the_schedule_begins() -> None:
    schedule = Cosine(warm_up=2, warm_up_start=0.25)
    assert [schedule.factor(epoch, 10) for epoch in (0, 1, 2)] == pytest.approx([0.25, 0.625, 1])
    assert schedule.factor(6, 10) == pytest.approx(0.5)
    assert schedule.factor(10, 10) == pytest.approx(0)


def test_the_rate_of_a_step_is_base_times_factor() -> None:
    settings = TrainSettings(epochs=4, learning_rate=0.2, schedule=Step(milestones=(1,), gamma=0.5))
    assert [settings.rate(step, 3) for step in range(6)] == pytest.approx([0.2, 0.2, 0.2, 0.1, 0.1, 0.1])


def test_schedules_come_from_plain_data_and_wrong_ones_are_refused() -> None:
    assert schedule_from_fields("step", {"milestones": [1, 2]}) == Step(milestones=(1, 2))
    assert schedule_from_fields("cosine", {"warm_up": 1}) == Cosine(warm_up=1)
    with pytest.raises(SpecError, match="cosine"):
        schedule_from_fields("cosin", {})
    for kind, fields in (
        ("cosine", {"finale": 0.1}),
        ("cosine", {"final": 1.5}),
        ("step", {"milestones": [3, 2]}),
        ("step", {"milestones": []}),
        ("exponential", {"gamma": 0}),
        ("constant", {"warm_up": -1}),
    ):
        with pytest.raises(SpecError):
            schedule_from_fields(kind, fields)


def pictures(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=(count, 2, 5, 6)).astype(np.float32)


def test_no_augmentation_changes_nothing() -> None:
    images, positions = pictures(4), np.arange(4)
    assert np.array_equal(Augmentation().draw(4, 0, 0).apply(images, positions), images)


def test_flips_mirror_about_half_of_the_images() -> None:
    images, positions = pictures(400), np.arange(400)
    found = Augmentation(flip=True).draw(400, 0, 0).apply(images, positions)
    same = np.array([np.array_equal(a, b) for a, b in zip(found, images, strict=True)])
    mirrored = np.array([np.array_equal(a, b[..., ::-1]) for a, b in zip(found, images, strict=True)])
    assert np.all(same ^ mirrored)
    assert 150 < mirrored.sum() < 250


def test_crops_are_shifts_of_the_padded_image() -> None:
    images, positions = pictures(60), np.arange(60)
    found = Augmentation(crop_padding=2).draw(60, 0, 0).apply(images, positions)
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    places = set()
    for picture, wide in zip(found, padded, strict=True):
        matches = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(picture, wide[:, top : top + 5, left : left + 6])
        ]
        assert len(matches) == 1
        places.update(matches)
    assert {top for top, _ in places} == {left for _, left in places} == set(range(5))


@pytest.mark.parametrize("size", [1, 3, 4])
def test_cutout_is_one_square_whose_centre_is_any_pixel(size: int) -> None:
    images, positions, centres = pictures(300) + 9, np.arange(300), set()
    found = Augmentation(cutout=size).draw(300, 0, 0).apply(images, positions)
    for picture, whole in zip(found, images, strict=True):
        hole = picture[0] == 0
        assert np.array_equal(picture, np.where(hole, 0, whole))
        fits = [
            (y, x)
            for y in range(5)
            for x in range(6)
            if np.array_equal(hole, outer(range(5), y, size) & outer(range(6), x, size).T)
        ]
        centres.update(fits)
        assert fits
    assert centres == {(y, x) for y in range(5) for x in range(6)}


def outer(places: range, centre: int, size: int) -> Any:
    """(len, 1): which of the places a side of the square covers."""
    return np.array([[centre - size // 2 <= place < centre - size // 2 + size] for place in places])


@pytest.mark.parametrize(
    "fields",
    [
        {"flip": True},
        {"crop_padding": 2},
        {"crop_padding": 7},
        {"cutout": 3},
        {"cutout": 9},
        {"flip": True, "crop_padding": 1, "cutout": 4},
    ],
    ids=str,
)
def test_a_batch_is_varied_bit_for_bit_as_its_images_are_one_by_one(fields: dict[str, int]) -> None:
    """What is NaN, infinite or a negative zero stays so, and the images that were given stay as they are."""
    images, positions = pictures(50), np.random.default_rng(1).permutation(80)[:50]
    images[::7], images[3, :, 2, 2], images[4, 0, 1, 1] = -0.0, np.nan, np.inf
    before, draws = images.tobytes(), Augmentation(**fields).draw(80, 5, 2)
    found = draws.apply(images, positions)
    assert (found.dtype, found.flags.c_contiguous, images.tobytes()) == (np.float32, True, before)
    pad, size = fields.get("crop_padding", 0), fields.get("cutout", 0)
    for picture, made, place in zip(images, found, positions, strict=True):
        expected = picture[:, :, ::-1] if draws.flips[place] else picture
        top, left = draws.offsets[place]
        wide = np.pad(expected, ((0, 0), (pad, pad), (pad, pad)))
        expected = wide[:, top : top + 5, left : left + 6].copy()
        y, x = (int(share * side) for share, side in zip(draws.places[place], (5, 6), strict=True))
        for row in range(5):
            for column in range(6):
                if 0 <= row - y + size // 2 < size and 0 <= column - x + size // 2 < size:
                    expected[:, row, column] = 0
        assert made.tobytes() == expected.tobytes()


def test_mixup_mixes_images_and_targets_by_one_share_of_beta() -> None:
    """Each mixed row is l x + (1 - l) x' for one other row, the same for its target; shares are those of Beta(a, a)."""
    images, targets, shares = pictures(6), np.eye(6), []
    for step in range(400):
        mixed, soft = Augmentation(mixup=0.5).mixed(images, targets, 3, step)
        np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_allclose(mixed, np.einsum("ij,jchw->ichw", soft, images), rtol=1e-4, atol=1e-5)
        assert all(np.count_nonzero(row > 1e-6) <= 2 for row in soft)
        own = np.diag(soft)[np.count_nonzero(soft > 1e-6, axis=1) == 2]
        assert len(set(own.round(5))) <= 1
        shares.extend(own[:1])
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)
    assert np.var(shares) == pytest.approx(1 / 8, abs=0.02)  # 1 / (4 (2 a + 1))
    one, again = (Augmentation(mixup=0.5).mixed(images, targets, 3, 7)[1] for _ in range(2))
    assert np.array_equal(one, again)


@pytest.mark.parametrize("shape", [(7, 2, 5, 6), (3, 3, 9, 9), (2, 1, 1, 4)])
def test_turned_images_are_those_of_scipys_linear_interpolation(shape: tuple[int, ...]) -> None:
    from scipy.ndimage import affine_transform

    draw = np.random.default_rng(2)
    images = draw.normal(size=shape).astype(np.float32)
    angles, factors = draw.uniform(-np.pi, np.pi, shape[0]), draw.uniform(0.1, 1.9, shape[0])
    centre = (np.array(shape[2:]) - 1) / 2
    for found, picture, angle, factor in zip(turned(images, angles, factors), images, angles, factors, strict=True):
        source = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / factor
        for plane, made in zip(picture.astype(np.float64), found, strict=True):
            expected = affine_transform(plane, source, centre - source @ centre, order=1, mode="grid-constant")
            np.testing.assert_allclose(made, expected, rtol=0, atol=2e-6)


def test_a_right_angle_turns_counter_clockwise_and_no_angle_leaves_the_image_as_it_is() -> None:
    images = np.random.default_rng(0).normal(size=(2, 3, 6, 6)).astype(np.float32)
    found = turned(images, np.array([np.pi / 2, 0.0]), np.ones(2))
    np.testing.assert_allclose(found[0], np.rot90(images[0], axes=(1, 2)), atol=1e-6)
    assert np.array_equal(found[1], images[1])
    wide = np.zeros((1, 1, 4, 4), np.float32)
    wide[0, 0, 1:3, 1:3] = 1
    assert (
        turned(wide, np.zeros(1), np.array([1.9])).sum() > wide.sum() > turned(wide, np.zeros(1), np.array([0.5])).sum()
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_changes_contrast_saturation_and_brightness_as_it_says(channels: int) -> None:
    images = np.random.default_rng(0).normal(size=(4, channels, 5, 6)).astype(np.float32)
    changes = np.random.default_rng(1).uniform(-1, 1, (4, 3))
    for picture, made, (c, s, b) in zip(images.astype(float), jittered(images, changes), changes, strict=True):
        expected = picture.mean() + (1 + c) * (picture - picture.mean())
        if channels == 3:
            grey = expected.mean(axis=0)
            expected = grey + (1 + s) * (expected - grey)
        np.testing.assert_allclose(made, expected + b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("field", ["jitter", "rotation", "scale"])
def test_images_change_by_no_more_than_was_asked_and_both_ways(field: str) -> None:
    drawn = Augmentation(**{field: 0.5}).draw(400, 0, 0)
    assert drawn.shares.shape == (400, 5)
    assert (np.abs(drawn.shares) <= 1).all()
    assert (drawn.shares.min(axis=0) < -0.95).all()
    assert (drawn.shares.max(axis=0) > 0.95).all()
    images = pictures(400)
    few, more = (Augmentation(**{field: x}).draw(400, 0, 0).apply(images, np.arange(400)) for x in (0.01, 0.5))
    assert 0 < np.abs(few - images).mean() < 0.2 * np.abs(more - images).mean()


@pytest.mark.parametrize("fields", [{"jitter": 1.1}, {"rotation": 181}, {"scale": 1}, {"scale": -0.1}], ids=str)
def test_what_no_image_can_be_changed_by_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=next(iter(fields))):
        Augmentation(**fields)


def test_flips_crops_and_holes_are_the_same_whatever_else_is_asked() -> None:
    one = Augmentation(flip=True, crop_padding=2, cutout=3).draw(50, 7, 1)
    other = Augmentation(flip=True, crop_padding=2, cutout=3, jitter=0.5, rotation=20, scale=0.2).draw(50, 7, 1)
    for name in ("flips", "offsets", "places", "shares"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_an_image_varies_alike_wherever_it_stands_in_the_order() -> None:
    images = pictures(10)
    varied = Augmentation(flip=True, crop_padding=1, jitter=0.2, rotation=20, scale=0.2, cutout=2)
    draws = varied.draw(10, seed=4, epoch=2)
    order = np.array([7, 2, 9])
    together = draws.apply(images, np.arange(10))
    assert np.array_equal(draws.apply(images[order], order), together[order])
    other = varied.draw(10, seed=4, epoch=3).apply(images, np.arange(10))
    assert not np.array_equal(other, together)


def by_torch(name: str, steps: int, **fields: Any) -> tuple[Any, Any]:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    return optimizer, getattr(torch.optim.lr_scheduler, name)(optimizer, **fields)


@pytest.mark.torch
def test_one_cycle_is_pytorchs_over_one_step_less() -> None:
    optimizer, schedule = by_torch("OneCycleLR", 40, max_lr=1.0, total_steps=40, cycle_momentum=False)
    ours = OneCycle(peak=(0.3 * 40 - 1) / 39)
    for step in range(40):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(ours.factor(step, 39), rel=1e-9, abs=1e-12)
        if step < 39:
            optimizer.step()
            schedule.step()


def past(figures: Sequence[float]) -> list[Epoch]:
    return [
        Epoch(epoch=i + 1, step=i, train_loss=0.0, test_loss=value, test_accuracy=value, seconds=0.0)
        for i, value in enumerate(figures)
    ]


@pytest.mark.torch
@pytest.mark.parametrize("watch", ["test_loss", "test_accuracy"])
@pytest.mark.parametrize("fields", [{}, {"patience": 0, "cooldown": 2}, {"threshold": 0.2, "patience": 3}], ids=str)
def test_plateau_is_pytorchs(watch: str, fields: dict[str, Any]) -> None:
    figures = stream(3, "plateau").normal(size=60) * 0.1 + np.linspace(2.0, 1.0, 60)
    given = {"patience": 1, **fields}
    mode = "max" if watch == "test_accuracy" else "min"
    optimizer, schedule = by_torch("ReduceLROnPlateau", 60, mode=mode, factor=0.5, eps=0.0, **given)
    ours, reductions = Plateau(watch=watch, gamma=0.5, **given), set()
    for count in range(1, 61):
        schedule.step(figures[count - 1])
        assert ours.reduction(past(figures[:count])) == optimizer.param_groups[0]["lr"]
        reductions.add(optimizer.param_groups[0]["lr"])
    assert len(reductions) > 2


def test_plateau_has_a_least_factor_and_leaves_out_the_warm_up() -> None:
    flat = past([1.0] * 9)
    assert Plateau(gamma=0.5, patience=0, least=0.3).reduction(flat) == 0.3
    assert [Plateau(gamma=0.5, patience=0, warm_up=w).reduction(flat[:4]) for w in (0, 2, 4)] == [0.125, 0.5, 1.0]
    with pytest.raises(SpecError, match="watch is not valid"):
        Plateau(watch="test_loss").reduction([flat[0].model_copy(update={"test_loss": None})])


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("one_cycle", {"peak": 1.0}, "peak is not valid"),
        ("one_cycle", {"start": -0.1}, "start is not valid"),
        ("plateau", {"watch": "miou"}, "watch is not valid"),
        ("plateau", {"gamma": 1.0}, "gamma is not valid"),
        ("plateau", {"patience": -1}, "patience is not valid"),
    ],
)
def test_fields_that_cannot_be_are_refused(kind: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        schedule_from_fields(kind, fields)
