"""Arrays between processes: unchanged, readable by other programs, refused where the file is not whole."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import DataError
from cnnbench.harness.worker.arrays import read_arrays, write_arrays


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "uint8", "bool"])
def test_arrays_travel_unchanged_and_other_programs_can_read_them(tmp_path, dtype):
    from safetensors.numpy import load_file, save_file

    generator = np.random.default_rng(0)
    arrays = {
        "odd": generator.normal(size=(3, 5)) > 0,
        "a": (generator.normal(size=(2, 3, 4)) * 10).astype(dtype),
        "transposed": np.asfortranarray(generator.normal(size=(4, 3))),
        "scalar": np.array(1.5, np.float32),
        "empty": np.zeros((0, 4), np.float32),
    }
    write_arrays(tmp_path / "x", arrays)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, tmp_path / "y")
    for read in (read_arrays(tmp_path / "x"), load_file(tmp_path / "x"), read_arrays(tmp_path / "y")):
        assert read.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(read[name], array, strict=name != "scalar")


def test_a_file_of_arrays_that_is_cut_short_is_refused(tmp_path):
    write_arrays(tmp_path / "x", {"a": np.ones(100)})
    data = (tmp_path / "x").read_bytes()
    for length in (0, 4, 40, len(data) - 8):
        (tmp_path / "cut").write_bytes(data[:length])
        with pytest.raises(DataError, match="cannot be read"):
            read_arrays(tmp_path / "cut")
    with pytest.raises(DataError, match="bfloat"):
        import ml_dtypes

        write_arrays(tmp_path / "z", {"a": np.ones(2, ml_dtypes.bfloat16)})
