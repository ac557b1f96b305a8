"""Folders in COCO's format: what is read from them, and how broken ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnbench.errors import DataError, UnavailableError
from cnnbench.training.data import dataset, load_dataset
from cnnbench.training.dataset import DataRequest, Dataset
from cnnbench.training.datasets.coco_masks import decode_mask, polygons

# Of pycocotools 2.0.11: ones at [5:12, 3:20], [20:39, 10:13] and [0, 29] of 40 x 30.
TEXT = "m37Q10000000000000WO<ND2<ND2<NDk000000000000S;JSE"
Content = dict[str, Any]


def blocks() -> Any:
    mask = np.zeros((40, 30), bool)
    mask[5:12, 3:20] = mask[20:39, 10:13] = mask[0, 29] = True
    return mask


def annotation(number: int, image: int, box: list[float], **others: Any) -> Content:
    x, y, w, h = box
    corners = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return {"id": number, "image_id": image, "category_id": 7, "bbox": box, "segmentation": corners, **others}


def write(folder: Path) -> None:
    """Two pictures of 30 x 40 (H 40), ids 4 and 9; the first has two objects, the second a crowd."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "images" / "val2017").mkdir(parents=True, exist_ok=True)
    for name, colour in (("a.png", (255, 0, 0)), ("b.png", (0, 0, 255))):
        Image.new("RGB", (30, 40), colour).save(folder / "images" / "val2017" / name)
    images = [
        {"id": number, "file_name": name, "width": 30, "height": 40} for number, name in ((9, "b.png"), (4, "a.png"))
    ]
    categories = [{"id": 7, "name": "person"}, {"id": 3, "name": "cat"}]
    annotations = [
        annotation(12, 4, [2, 10, 20, 16]),
        annotation(11, 4, [8, 4, 10, 20], category_id=3),
        annotation(13, 9, [0, 0, 30, 40], iscrowd=1, segmentation={"size": [40, 30], "counts": TEXT}),
    ]
    points = [{"id": 12, "keypoints": [5, 12, 2, 9, 14, 1, 7, 7, 0]}]
    people = [{"id": 7, "keypoints": ["nose", "neck", "tail"], "skeleton": [[1, 2], [2, 3]]}]
    captions = [
        {"id": 1, "image_id": 4, "caption": "A red, red picture."},
        {"id": 2, "image_id": 9, "caption": "Blue"},
        {"id": 3, "image_id": 4, "caption": "another"},
    ]
    contents = {
        "instances": {"images": images, "categories": categories, "annotations": annotations},
        "person_keypoints": {"categories": people, "annotations": points},
        "captions": {"annotations": captions},
    }
    for name, content in contents.items():
        (folder / "annotations" / f"{name}_val2017.json").write_text(json.dumps(content), encoding="utf-8")


def change(folder: Path, name: str, edit: Callable[[Content], object]) -> None:
    path = folder / "annotations" / f"{name}_val2017.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def load(folder: Path, height: int = 40, width: int = 30) -> Dataset:
    return load_dataset(f"coco:{folder}", DataRequest("test", (3, height, width)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


def test_a_folder_is_read_with_all_its_truth(folder: Path) -> None:
    found = load(folder)
    truth = found.truth
    assert (found.classes, found.labels.tolist()) == (("cat", "person"), [0, 1])
    assert truth["image_ids"].tolist() == [4, 9]
    np.testing.assert_allclose(found.images[0, 0], (1 - 0.485) / 0.229, rtol=1e-5)
    assert truth["boxes"].tolist() == [[[8, 4, 18, 24], [2, 10, 22, 26]], [[0, 0, 30, 40], [0, 0, 0, 0]]]
    assert truth["box_classes"].tolist() == [[0, 1], [1, -1]]
    assert truth["crowd"].tolist() == [[0, 0], [1, 0]]
    expected = np.zeros((2, 40, 30), int)
    expected[0, 4:24, 8:18], expected[1, 10:26, 2:22] = 1, 1
    assert np.array_equal(truth["masks"][0], expected)
    assert np.array_equal(truth["masks"][1, 0], blocks())
    assert np.array_equal(truth["segmentation"][0], np.where(expected[1], 2, expected[0]))
    assert truth["keypoints"][0].tolist() == [[[0, 0, 0]] * 3, [[5, 12, 2], [9, 14, 1], [0, 0, 0]]]
    assert (found.names["keypoints"], found.limbs) == (("nose", "neck", "tail"), ((0, 1), (1, 2)))
    assert found.names["captions"] == ("<end>", "<unknown>", "a", "another", "blue", "picture", "red")
    assert truth["captions"].tolist() == [[2, 6, 6, 5, 0], [4, 0, 0, 0, 0]]
    assert truth["references"].tolist() == [[[2, 6, 6, 5, 0], [3, 0, 0, 0, 0]], [[4, 0, 0, 0, 0], [0] * 5]]


def test_truth_follows_a_picture_that_is_stretched(folder: Path) -> None:
    found = load(folder, height=20, width=60)
    assert found.images.shape == (2, 3, 20, 60)
    assert found.truth["boxes"][0, 1].tolist() == [4, 5, 44, 13]
    assert found.truth["keypoints"][0, 1].tolist() == [[10, 6, 2], [18, 7, 1], [0, 0, 0]]
    inside = found.truth["masks"][0, 1]
    assert inside[5:13, 4:44].all()
    assert inside.sum() == 8 * 40


def test_the_area_that_a_file_declares_is_kept_and_follows_the_picture(folder: Path) -> None:
    change(folder, "instances", lambda c: c["annotations"][0].update(area=123.5))
    areas = [load(folder, 40 * side, 30 * side).truth["areas"] for side in (1, 2)]
    assert 123.5 in areas[0]
    np.testing.assert_allclose(areas[1], 4 * areas[0])


def test_words_that_training_does_not_have_are_unknown(folder: Path) -> None:
    for name in ("instances", "captions"):
        path = folder / "annotations" / f"{name}_val2017.json"
        path.with_name(f"{name}_train2017.json").write_bytes(path.read_bytes())
    change(folder, "captions", lambda c: c["annotations"][0].update(caption="a green picture"))
    assert dataset(f"coco:{folder}").splits == ("train", "test")
    assert load(folder).truth["captions"][0].tolist() == [2, 1, 5, 0]


def test_run_lengths_are_decoded_as_pycocotools_encodes_them() -> None:
    assert np.array_equal(decode_mask({"size": [40, 30], "counts": TEXT}, (40, 30), "x"), blocks())
    columns = blocks().T.ravel()
    edges = np.flatnonzero(np.diff(columns.astype(int), prepend=0)).tolist()
    counts = np.diff([0, *edges, columns.size]).tolist()
    assert np.array_equal(decode_mask({"size": [40, 30], "counts": counts}, (40, 30), "x"), blocks())


def test_a_polygon_covers_the_pixels_whose_centres_lie_inside() -> None:
    corners = [1.2, 2.1, 17.3, 4.8, 9.9, 15.2]
    x, y = np.meshgrid(np.arange(20) + 0.5, np.arange(18) + 0.5)
    inside = np.ones((18, 20), bool)
    points = np.reshape(corners, (3, 2))
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        inside &= (x1 - x0) * (y - y0) >= (y1 - y0) * (x - x0)
    assert inside.sum() > 50
    assert np.array_equal(polygons([corners], (18, 20), "x"), inside)
    assert not polygons([[-9, -9, -3, -9, -3, -3]], (18, 20), "x").any()


def first(content: Content) -> Content:
    found: Content = content["annotations"][0]
    return found


def size(content: Content, **others: Any) -> Any:
    return first(content).update(segmentation={"size": [40, 30], "counts": [1200], **others})


BROKEN: dict[str, tuple[str, Callable[[Content], object], str]] = {
    "no list of images": ("instances", lambda c: c.pop("images"), "list named images"),
    "image without id": ("instances", lambda c: c["images"][0].pop("id"), r"images\[0\]: id"),
    "image that is no object": ("instances", lambda c: c["images"].append(3), r"images\[2\]"),
    "two images of one id": ("instances", lambda c: c["images"][0].update(id=4), "one id"),
    "image of no size": ("instances", lambda c: c["images"][0].update(width=0), "no size"),
    "file beyond the folder": ("instances", lambda c: c["images"][0].update(file_name="../a.png"), "below the folder"),
    "file name that is too long": ("instances", lambda c: c["images"][0].update(file_name="a" * 300), "cannot be read"),
    "file name that ends": ("instances", lambda c: c["images"][0].update(file_name="a\0"), "below the folder"),
    "missing picture": ("instances", lambda c: c["images"][0].update(file_name="c.png"), "missing"),
    "picture of another size": ("instances", lambda c: c["images"][0].update(width=31), "another size"),
    "unknown category": ("instances", lambda c: first(c).update(category_id=8), "12: unknown category"),
    "unknown image": ("instances", lambda c: first(c).update(image_id=5), "12: unknown image"),
    "no box": ("instances", lambda c: first(c).pop("bbox"), "12: the box"),
    "box of three": ("instances", lambda c: first(c).update(bbox=[1, 2, 3]), "12: the box"),
    "box of text": ("instances", lambda c: first(c).update(bbox=[1, 2, 3, "4"]), "12: the box"),
    "box that is not finite": ("instances", lambda c: first(c).update(bbox=[1, 2, 3, float("nan")]), "12: the box"),
    "negative box": ("instances", lambda c: first(c).update(bbox=[9, 9, -3, 2]), "12: the box"),
    "box beyond the picture": ("instances", lambda c: first(c).update(bbox=[9, 9, 30, 2]), "12: the box"),
    "area that is no number": ("instances", lambda c: first(c).update(area="large"), "area is no number"),
    "crowd that is no flag": ("instances", lambda c: first(c).update(iscrowd=2), "iscrowd"),
    "polygon of two corners": ("instances", lambda c: first(c).update(segmentation=[[1, 2, 3, 4]]), "12: a polygon"),
    "polygon of halves": ("instances", lambda c: first(c).update(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "a polygon"),
    "segmentation of text": ("instances", lambda c: first(c).update(segmentation="x"), "12: the segmentation"),
    "mask of another size": ("instances", lambda c: size(c, size=[30, 40]), "12: the mask"),
    "run lengths too few": ("instances", lambda c: size(c, counts=[5, 6]), "12: the run lengths"),
    "negative run length": ("instances", lambda c: size(c, counts=[1300, -100]), "12: the run lengths"),
    "text too short": ("instances", lambda c: size(c, counts=TEXT[:-4]), "12: the run lengths"),
    "text that ends in a group": ("instances", lambda c: size(c, counts="m"), "cut short"),
    "text of other signs": ("instances", lambda c: size(c, counts="\x01"), "cannot be read"),
    "keypoints too few": ("person_keypoints", lambda c: first(c).update(keypoints=[1, 2, 2]), "12: the keypoints"),
    "visibility 3": ("person_keypoints", lambda c: first(c).update(keypoints=[1, 2, 3] * 3), "visibility"),
    "keypoints without names": ("person_keypoints", lambda c: c["categories"].clear(), "no names"),
    "limb to nowhere": ("person_keypoints", lambda c: c["categories"][0].update(skeleton=[[1, 4]]), "the limb"),
    "skeleton of a number": ("person_keypoints", lambda c: c["categories"][0].update(skeleton=4), "skeleton"),
    "caption of a number": ("captions", lambda c: first(c).update(caption=4), "1: the caption"),
    "caption of another image": ("captions", lambda c: first(c).update(image_id=5), "1: unknown image"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused_where_they_are_broken(folder: Path, case: str) -> None:
    name, edit, message = BROKEN[case]
    change(folder, name, edit)
    with pytest.raises(DataError, match=message) as caught:
        load(folder)
    assert str(folder) in str(caught.value) or "instances_val2017.json: annotation" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"images": 3}', "[" * 100000, '{"images": ' + "9" * 5000 + "}"])
def test_what_is_no_json_of_coco_is_refused(folder: Path, text: str) -> None:
    (folder / "annotations" / "instances_val2017.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"instances_val2017\.json"):
        load(folder)


def test_pictures_that_cannot_be_decoded_and_empty_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "images" / "val2017" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.png: the picture cannot be read"):
        load(folder)
    change(folder, "instances", lambda c: c.update(images=[], annotations=[]))
    (folder / "annotations" / "captions_val2017.json").unlink()
    with pytest.raises(DataError, match="no pictures"):
        load(folder)
    with pytest.raises(UnavailableError, match=r"instances_\*\.json"):
        load(tmp_path / "elsewhere")
