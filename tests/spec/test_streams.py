"""Random streams: equal keys give equal numbers, and any other key gives others."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from cnnbench.spec.streams import stream


def head(*key) -> list[int]:
    return stream(*key).integers(0, 2**63, 4).tolist()


def test_the_key_alone_decides():
    first = head(1, "weights", "conv1.weight", 2)
    head(1, "masks")  # what others draw changes nothing
    assert head(1, "weights", "conv1.weight", 2) == first


@pytest.mark.parametrize(
    "key", [(2, "weights", "a", 0), (1, "masks", "a", 0), (1, "weights", "b", 0), (1, "weights", "a", 1)]
)
def test_each_part_of_the_key_matters(key):
    assert head(*key) != head(1, "weights", "a", 0)


def test_parts_do_not_run_together():
    assert head(1, "ab", "c") != head(1, "a", "bc")
    assert head(1, "a", "1", 2) != head(1, "a", "", 12)


def test_the_generator_is_philox_with_the_documented_key():
    digest = hashlib.sha256(b"7\0inputs\0image\0" + b"3").digest()
    low, high = (int.from_bytes(digest[i : i + 8], "little") for i in (0, 8))
    known = np.random.Generator(np.random.Philox(key=np.array([low, high], np.uint64)))
    assert stream(7, "inputs", "image", 3).random() == known.random()
