"""Datasets: splits, file formats written by the test, resizing against Pillow, determinism, refusals."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnbench.errors import DataError, UnavailableError
from cnnbench.training.data import batch_of, dataset, datasets, load_dataset
from cnnbench.training.dataset import DataRequest
from cnnbench.training.datasets.idx import read_idx
from cnnbench.training.datasets.pictures import Moments, normalised, resize, resize_and_crop, with_channels
from cnnbench.views.images import read_images


def write_idx(path: Path, array: np.ndarray[Any, Any], code: int = 0x08, dtype: str = ">u1") -> None:
    head = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = head + array.astype(dtype).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_mnist(folder: Path, train: int = 20, test: int = 6) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    written = {}
    for stem, count, suffix in (("train", train, ""), ("t10k", test, ".gz")):
        written[stem] = rng.integers(0, 256, (count, 28, 28)), rng.integers(0, 4, count)
        write_idx(folder / f"{stem}-images-idx3-ubyte{suffix}", written[stem][0])
        write_idx(folder / f"{stem}-labels-idx1-ubyte{suffix}", written[stem][1])
    return written


def test_every_shipped_dataset_is_registered_with_its_splits() -> None:
    found = datasets()
    assert {"digits", "photographs", "random", "fashion_mnist"} <= set(found)
    assert found["digits"].splits == ("train", "test")
    assert all(plugin.description for plugin in found.values())


def test_the_splits_of_the_digits_are_disjoint_complete_and_stratified() -> None:
    from sklearn.datasets import load_digits

    from cnnbench.training.datasets.digits import split

    labels = load_digits().target
    train, test = split(labels)
    assert not set(train) & set(test)
    assert sorted([*train, *test]) == list(range(1797))
    shares = [np.mean(labels[test] == label) / np.mean(labels == label) for label in range(10)]
    assert min(shares) > 0.98
    assert max(shares) < 1.02
    again = split(labels)
    assert all(np.array_equal(one, other) for one, other in zip((train, test), again, strict=True))


def test_digits_at_their_own_size_are_the_originals_normalised() -> None:
    from sklearn.datasets import load_digits

    train = load_dataset("digits", DataRequest("train", (1, 8, 8)))
    test = load_dataset("digits", DataRequest("test", (1, 8, 8)))
    assert train.images.dtype == np.float32
    assert train.labels.dtype == np.int64
    assert len(train) + len(test) == 1797
    assert float(train.images.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(train.images.std()) == pytest.approx(1.0, abs=1e-6)
    levels = np.unique(np.concatenate([train.images.ravel(), test.images.ravel()]))
    assert len(levels) == 17
    raw = load_digits()
    back = np.searchsorted(levels, train.images[0, 0])
    assert any(
        np.array_equal(back, image) and train.labels[0] == t for image, t in zip(raw.images, raw.target, strict=True)
    )


def test_enlarging_is_linear_with_half_pixel_centres() -> None:
    ramp = np.arange(4.0).reshape(1, 1, 1, 4)
    expected = [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    np.testing.assert_allclose(resize(ramp, 1, 8)[0, 0, 0], expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("before", "after"), [((8, 8), (32, 32)), ((30, 45), (12, 17)), ((9, 20), (9, 7))])
def test_resizing_equals_pillow(before: tuple[int, int], after: tuple[int, int]) -> None:
    from PIL import Image

    picture = np.random.default_rng(1).random(before).astype(np.float32)
    expected = np.asarray(Image.fromarray(picture).resize(after[::-1], Image.Resampling.BILINEAR))
    np.testing.assert_allclose(resize(picture[None, None], *after)[0, 0], expected, rtol=0, atol=1e-6)


def test_cropping_keeps_the_centre_of_what_covers_the_image() -> None:
    picture = np.zeros((1, 1, 256, 512))
    picture[..., 128:384] = np.linspace(0.0, 1.0, 256)
    found = resize_and_crop(picture, 224, 224)
    np.testing.assert_allclose(found, picture[:, :, 16:240, 144:368], rtol=0, atol=1e-12)


def test_channels_are_repeated_or_become_luma() -> None:
    colours = np.random.default_rng(0).random((2, 3, 4, 5))
    grey = with_channels(colours, 1)
    np.testing.assert_allclose(grey[:, 0], 0.299 * colours[:, 0] + 0.587 * colours[:, 1] + 0.114 * colours[:, 2])
    assert np.array_equal(with_channels(grey, 3), np.concatenate([grey] * 3, axis=1))
    with pytest.raises(DataError):
        with_channels(colours, 4)


def test_moments_of_bytes_equal_numpys() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (7, 3, 5, 4)).astype(np.uint8)
    moments = Moments.of(pictures)
    np.testing.assert_allclose(moments.mean, (pictures / 255).mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(moments.std, (pictures / 255).std(axis=(0, 2, 3)))
    assert float(normalised(pictures / 255, moments).std()) == pytest.approx(1.0, abs=1e-5)


def test_photographs_are_real_and_their_licences_are_stated() -> None:
    found = load_dataset("photographs", DataRequest("test", (3, 48, 64)))
    assert found.images.shape == (8, 3, 48, 64)
    assert np.isfinite(found.images).all()
    assert len({image.tobytes() for image in found.images}) == 8
    assert all(name in found.licence for name in found.classes)
    assert float(np.abs(found.images).max()) < 3  # ImageNet's white is 2.64, its black -2.12


@pytest.mark.parametrize("name", ["digits", "photographs", "random"])
def test_a_batch_is_the_same_for_the_same_seed_only(name: str) -> None:
    one, same, other = (batch_of(name, (3, 16, 16), 5, seed) for seed in (1, 1, 2))
    assert one["image"].shape == (5, 3, 16, 16)
    assert one["targets"].shape == (5,)
    assert np.array_equal(one["image"], same["image"])
    assert not np.array_equal(one["image"], other["image"])


def test_a_batch_larger_than_its_dataset_repeats_it() -> None:
    found = batch_of("photographs", (3, 8, 8), 11, 0, input_name="x")
    assert np.array_equal(found["x"][8:], found["x"][:3])
    assert np.array_equal(found["targets"][8:], found["targets"][:3])


def test_random_data_have_any_shape() -> None:
    assert batch_of("random", (2, 30), 3, 0)["image"].shape == (3, 2, 30)
    many = load_dataset("random", DataRequest("train", (1, 8, 8)))
    assert abs(float(many.images.mean())) < 0.02
    assert float(many.images.std()) == pytest.approx(1.0, abs=0.02)


def test_idx_folders_are_read_plain_and_compressed(tmp_path: Path) -> None:
    written = write_mnist(tmp_path)
    name = f"idx:{tmp_path}"
    for split, stem in (("train", "train"), ("test", "t10k")):
        found = load_dataset(name, DataRequest(split, (1, 28, 28)))
        pictures, labels = written[stem]
        train = written["train"][0] / 255
        np.testing.assert_allclose(found.images[:, 0], (pictures / 255 - train.mean()) / train.std(), atol=1e-5)
        assert np.array_equal(found.labels, labels)
    assert load_dataset(name, DataRequest("test", (3, 32, 32), limit=4)).images.shape == (4, 3, 32, 32)


@pytest.mark.parametrize(("code", "dtype"), [(0x08, ">u1"), (0x0B, ">i2"), (0x0D, ">f4"), (0x0E, ">f8")])
def test_idx_elements_have_their_stated_type(tmp_path: Path, code: int, dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4)
    write_idx(tmp_path / "a", array, code, dtype)
    assert np.array_equal(read_idx(tmp_path / "a"), array)


def test_broken_idx_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_idx(path, np.arange(6).reshape(2, 3))
    whole = path.read_bytes()
    for content in (b"", whole[:6], whole[:-1], whole + b"\0", b"\x89PNG" + whole[4:], b"\0\0\x07" + whole[3:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="IDX") as caught:
            read_idx(path)
        assert str(path) in str(caught.value)
    with pytest.raises(DataError):
        read_idx(tmp_path / "not there")
    (tmp_path / "b.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError):
        read_idx(tmp_path / "b.gz")


@pytest.mark.parametrize(("kind", "label_bytes"), [("cifar10", 1), ("cifar100", 2)])
def test_cifar_records_are_read(tmp_path: Path, kind: str, label_bytes: int) -> None:
    rng = np.random.default_rng(3)
    names = (
        [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
        if label_bytes == 1
        else ["train.bin", "test.bin"]
    )
    records = {name: rng.integers(0, 7, (4, label_bytes + 3072)).astype(np.uint8) for name in names}
    for name, record in records.items():
        (tmp_path / name).write_bytes(record.tobytes())
    train = np.concatenate([records[name] for name in names[:-1]])
    test = records[names[-1]]
    found = load_dataset(f"{kind}:{tmp_path}", DataRequest("test", (3, 32, 32)))
    assert np.array_equal(found.labels, test[:, label_bytes - 1])
    green = test[2, label_bytes + 1024 + 5 * 32 + 9] / 255
    greens = train[:, label_bytes + 1024 : label_bytes + 2048] / 255
    assert found.images[2, 1, 5, 9] == pytest.approx((green - greens.mean()) / greens.std(), rel=1e-5)
    assert len(load_dataset(f"{kind}:{tmp_path}", DataRequest("train", (3, 32, 32)))) == len(train)
    assert found.classes == tuple(map(str, range(10 if label_bytes == 1 else 100)))
    records[names[-1]][2, label_bytes - 1] = 100
    (tmp_path / names[-1]).write_bytes(records[names[-1]].tobytes())
    with pytest.raises(DataError, match="label of image 2"):
        load_dataset(f"{kind}:{tmp_path}", DataRequest("test", (3, 32, 32)))
    (tmp_path / names[0]).write_bytes(b"short")
    with pytest.raises(DataError, match="CIFAR"):
        load_dataset(f"{kind}:{tmp_path}", DataRequest("train", (3, 32, 32)))


def test_picture_folders_have_a_class_a_subfolder(tmp_path: Path) -> None:
    from PIL import Image

    for split in ("train", "test"):
        for position, label in enumerate(("cats", "dogs")):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            Image.new("RGB", (20, 30), (200 * position, 10, 0)).save(folder / "a.png")
    found = load_dataset(f"images:{tmp_path}", DataRequest("test", (3, 8, 8)))
    assert found.classes == ("cats", "dogs")
    assert list(found.labels) == [0, 1]
    np.testing.assert_allclose(found.images[1, 0], (200 / 255 - 0.485) / 0.229, rtol=1e-5)
    (tmp_path / "test" / "cats" / "b.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="cannot be read"):
        load_dataset(f"images:{tmp_path}", DataRequest("test", (3, 8, 8)))


def write_picture(path: Path, red: int = 0) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (red, 10, 0)).save(path)


def test_a_class_has_the_same_number_in_both_splits_of_a_picture_folder(tmp_path: Path) -> None:
    """The test split has no birds: numbered by itself, its dogs would be what the network learnt as cats."""
    for name in ("train/birds/a.png", "train/cats/a.png", "train/dogs/a.png", "test/cats/a.png", "test/dogs/a.PNG"):
        write_picture(tmp_path / name)
    train, test = (load_dataset(f"images:{tmp_path}", DataRequest(split, (3, 8, 8))) for split in ("train", "test"))
    assert train.classes == test.classes == ("birds", "cats", "dogs")
    assert (list(train.labels), list(test.labels)) == ([0, 1, 2], [1, 2])


def test_pictures_beside_the_classes_are_refused_and_names_with_a_dot_left_out(tmp_path: Path) -> None:
    for name in ("cats/a.png", ".thumbnails/a.png", "cats/.a.png"):
        write_picture(tmp_path / name)
    found = load_dataset(f"images:{tmp_path}", DataRequest("test", (3, 8, 8)))
    assert (found.classes, list(found.labels)) == (("cats",), [0])
    write_picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="lies in no class"):
        load_dataset(f"images:{tmp_path}", DataRequest("test", (3, 8, 8)))


def test_pictures_of_a_folder_without_classes_are_of_one(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name)
    found = load_dataset(f"images:{tmp_path}", DataRequest("test", (1, 8, 8)))
    assert (found.classes, list(found.labels)) == ((tmp_path.name,), [0, 0])


def test_a_picture_that_is_too_large_for_pillow_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    write_picture(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for read in (
        lambda: load_dataset(f"images:{tmp_path}", DataRequest("test", (3, 8, 8))),
        lambda: read_images(tmp_path / "a.png", (3, 8, 8)),
    ):
        with pytest.raises(DataError, match=r"a\.png.*cannot be read"):
            read()


@pytest.mark.parametrize(
    ("name", "array", "dtype"),
    [
        ("train-images-idx3-ubyte", np.zeros((20, 28, 28)), (0x0D, ">f4")),
        ("train-images-idx3-ubyte", np.zeros((20, 784)), (0x08, ">u1")),
        ("t10k-labels-idx1-ubyte", np.full(6, -1), (0x09, ">i1")),
        ("t10k-labels-idx1-ubyte", np.zeros((6, 1)), (0x08, ">u1")),
        ("t10k-images-idx3-ubyte", np.zeros((0, 28, 28)), (0x08, ">u1")),
    ],
)
def test_idx_files_of_something_else_than_pictures_and_labels_are_refused(
    tmp_path: Path, name: str, array: np.ndarray[Any, Any], dtype: tuple[int, str]
) -> None:
    write_mnist(tmp_path)
    (tmp_path / f"{name}.gz").unlink(missing_ok=True)
    write_idx(tmp_path / name, array, *dtype)
    with pytest.raises(DataError, match=f"{name}.*something else"):
        load_dataset(f"idx:{tmp_path}", DataRequest("test", (1, 28, 28)))


def test_a_damaged_compressed_file_is_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[20:60] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(path)


def test_a_channel_that_is_the_same_everywhere_does_not_make_nan() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 3, 2, 2)).astype(np.uint8)
    pictures[:, 1] = 77
    found = normalised(pictures / 255, Moments.of(pictures))
    assert np.isfinite(found).all()
    assert not found[:, 1].any()


@pytest.mark.parametrize("kind", ["idx", "cifar10", "cifar100", "coco", "images"])
def test_a_folder_that_is_missing_is_named_in_full(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A suite that is run from elsewhere looks for it there."""
    monkeypatch.chdir(tmp_path)
    lack = dataset(f"{kind}:somewhere").lack
    assert lack is not None
    assert str(tmp_path / "somewhere") in lack


def test_what_is_not_there_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="digits"):
        dataset("digts")
    with pytest.raises(UnavailableError, match="cifar10"):
        dataset("cifar11:somewhere")
    with pytest.raises(UnavailableError, match="does not exist"):
        load_dataset(f"idx:{tmp_path}", DataRequest("train", (1, 28, 28)))
    with pytest.raises(DataError, match="split"):
        load_dataset("photographs", DataRequest("train", (3, 32, 32)))
    with pytest.raises(DataError, match="pictures"):
        load_dataset("digits", DataRequest("train", (1, 64)))


def test_fashion_mnist_is_read_where_it_is_installed() -> None:
    reason = dataset("fashion_mnist").unavailable()
    if reason is not None:
        pytest.skip(reason)
    found = load_dataset("fashion_mnist", DataRequest("test", (1, 28, 28)))
    assert found.images.shape == (10000, 1, 28, 28)
    assert np.array_equal(np.bincount(found.labels), [1000] * 10)
    assert found.classes[9] == "Ankle boot"
    assert found.labels[0] == 9
