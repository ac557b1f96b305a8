"""Preprocessing, held by Pillow to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnbench.errors import DataError
from cnnbench.training.datasets.pictures import read_picture
from cnnbench.training.preprocessing import EFFICIENTNET_LITE, IMAGENET, centre_crop
from cnnbench.training.preprocessing_faults import FAULTS, examine_input
from cnnbench.training.resampling import FILTERS, resize

Image = pytest.importorskip("PIL.Image", reason="Pillow is the oracle here")
PILLOW = {name: getattr(Image.Resampling, name.upper()) for name in FILTERS}
sizes = st.integers(1, 40)


@settings(max_examples=150)
@given(sizes, sizes, sizes, sizes, st.sampled_from(sorted(FILTERS)), st.booleans(), st.integers(0, 2**32 - 1))
def test_resizing_is_pillow_s_to_the_bit(height, width, new_height, new_width, name, colour, seed):
    shape = (height, width, 3) if colour else (height, width)
    picture = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    expected = np.asarray(Image.fromarray(picture).resize((new_width, new_height), PILLOW[name]))
    np.testing.assert_array_equal(resize(picture, new_height, new_width, name), expected)


@pytest.mark.parametrize("shape", [(300, 451, 3), (451, 300, 3), (256, 256, 3), (100, 90, 3)])
@pytest.mark.parametrize(("chosen", "name"), [(IMAGENET, "bilinear"), (EFFICIENTNET_LITE, "bicubic")])
def test_the_whole_of_it_is_what_torchvision_documents(shape, chosen, name):
    picture = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    height, width = shape[:2]
    short = min(height, width)
    new = (256 * height // short, 256 * width // short)
    small = np.asarray(Image.fromarray(picture).resize(new[::-1], PILLOW[name]))
    top, left = round((new[0] - 224) / 2), round((new[1] - 224) / 2)
    cut = small[top : top + 224, left : left + 224].astype(np.float64)
    expected = ((cut - chosen.mean) / chosen.std).transpose(2, 0, 1)
    got = chosen(picture)
    assert got.shape == (3, 224, 224)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_a_grey_picture_becomes_three_equal_channels():
    got = EFFICIENTNET_LITE(np.full((300, 300), 127, np.uint8))
    assert got.shape == (3, 224, 224)
    assert not got.any()


def test_what_is_no_picture_is_refused():
    with pytest.raises(DataError, match="three channels"):
        IMAGENET(np.zeros((30, 30, 4), np.uint8))
    with pytest.raises(DataError, match="cannot be resized"):
        resize(np.zeros((30, 30), np.float32), 4, 4, "box")
    with pytest.raises(DataError, match="did you mean 'bilinear'"):
        resize(np.zeros((30, 30), np.uint8), 4, 4, "bilinaer")
    with pytest.raises(DataError, match="larger than the picture"):
        centre_crop(np.zeros((30, 30), np.uint8), 31)


ALIKE = {  # where the means of all channels are equal, and where a picture is enlarged
    "channels_reversed": ["planes_reversed"],
    "planes_reversed": ["channels_reversed"],
    "filter_box": ["filter_nearest", "filter_nearest_floor"],
    "filter_nearest": ["filter_box"],
}
CONTRACTS = {"imagenet": IMAGENET, "efficientnet_lite": EFFICIENTNET_LITE}


def pictures():
    """Photographs, wide and tall."""
    data = pytest.importorskip("skimage.data", reason="its photographs are used")
    return {"cat": data.chelsea(), "tall": np.ascontiguousarray(data.coffee()[:, 100:350])}


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_with_a_picture_is_found_and_named(fault, contract):
    wanted = CONTRACTS[contract]
    for picture in pictures().values():
        given = FAULTS[fault][1](wanted, picture)
        found = examine_input(wanted, picture, given)
        if fault == f"filter_{wanted.filter}":
            assert found.right
            continue
        same = [name for name in ALIKE.get(fault, ()) if np.array_equal(given, FAULTS[name][1](wanted, picture))]
        assert not found.right
        assert sorted(found.faults) == sorted([fault, *same]), "named, and nothing else explains it"
        enlarged = min(picture.shape[:2]) < wanted.shorter_side  # which needs no antialiasing
        if fault == "channels_last":
            assert found.largest is None
        elif fault != "not_antialiased" or not enlarged:
            assert found.largest >= 1, "a grey level at least"


@pytest.mark.parametrize("name", ["nearest", "bilinear"])
def test_what_pytorch_makes_of_a_tensor_by_default_is_named(name):
    """Interpolation of a tensor is not antialiased; to the nearest pixel it rounds down."""
    torch = pytest.importorskip("torch")
    picture = pictures()["cat"]
    tensor = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
    size = IMAGENET.resized(*picture.shape[:2])
    small = torch.nn.functional.interpolate(tensor, size, mode=name)[0].round().permute(1, 2, 0).numpy()
    cut = centre_crop(small, 224).astype(np.float64)
    given = ((cut - IMAGENET.mean) / IMAGENET.std).transpose(2, 0, 1).astype(np.float32)
    expected = {"nearest": "filter_nearest_floor", "bilinear": "not_antialiased"}[name]
    assert examine_input(IMAGENET, picture, given).faults == (expected,)


def test_an_input_that_only_another_rounding_moved_has_no_other_explanation():
    picture = pictures()["tall"]
    given = FAULTS["not_antialiased"][1](IMAGENET, picture) + np.float32(0.3 / 255)
    assert examine_input(IMAGENET, picture, given).faults == ()


@pytest.mark.parametrize("contract", CONTRACTS)
def test_the_right_input_in_another_order_of_operations_is_right(contract):
    wanted = CONTRACTS[contract]
    for picture in pictures().values():
        small = resize(picture, *wanted.resized(*picture.shape[:2]), wanted.filter)
        cut = centre_crop(small, wanted.crop).astype(np.float32) / np.float32(255)
        mean, std = (np.asarray(values, np.float32) / np.float32(255) for values in (wanted.mean, wanted.std))
        given = ((cut - mean) / std).transpose(2, 0, 1)
        assert examine_input(wanted, picture, given).right
        brighter = given + np.float32(0.9) / np.float32(255) / std.reshape(3, 1, 1)
        assert not examine_input(wanted, picture, brighter).right
        assert examine_input(wanted, picture, brighter, grey_levels=1.0).right


def test_what_nothing_known_explains_is_said_so():
    picture = pictures()["cat"]
    given = IMAGENET(picture)
    assert examine_input(IMAGENET, picture, given[:, ::-1]).faults == ()
    assert examine_input(IMAGENET, picture, given[:, :-1]).largest is None
    with pytest.raises(DataError, match="not finite"):
        examine_input(IMAGENET, picture, np.full_like(given, np.nan))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_a_picture_of_more_than_8_bits_is_refused_rather_than_cut_off(tmp_path, dtype):
    from PIL import Image

    path = tmp_path / "deep.tif"
    Image.fromarray(np.linspace(0, 60000, 96).reshape(12, 8).astype(dtype)).save(path)
    with pytest.raises(DataError, match="more than 8 bits a channel"):
        read_picture(path)


def test_pictures_of_8_bits_in_other_modes_are_read(tmp_path):
    from PIL import Image

    colours = np.arange(288, dtype=np.uint8).reshape(12, 8, 3)
    Image.fromarray(colours).save(tmp_path / "colours.png")
    assert np.array_equal(read_picture(tmp_path / "colours.png"), colours)
    for mode in ("L", "LA", "RGBA", "P", "1"):
        Image.fromarray(colours).convert(mode).save(tmp_path / f"{mode}.png")
        assert read_picture(tmp_path / f"{mode}.png").shape == (12, 8, 3)
