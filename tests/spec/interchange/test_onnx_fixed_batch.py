"""ONNX models that state their batch, or have inputs without one: what is opened, kept or refused."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")

from small_onnx import computed, imported, model, numbers, op, results

from cnnbench.errors import SpecError

CLASS_TOKEN = numbers(1, 1, 4, seed=7)


class TestFixed:
    """A batch that the file states."""

    @pytest.mark.parametrize("stated", [1, 2, 8])
    @pytest.mark.parametrize("images", [1, 3, 8])
    def test_it_is_opened_where_only_the_first_size_of_a_reshape_holds_it(self, tmp_path, stated, images):
        nodes = [op("Relu", "x", "a"), op("Reshape", "a to")]
        proto = model(nodes, {"x": [stated, 4, 2, 2]}, {"to": np.array([stated, -1])})
        x = numbers(images, 4, 2, 2)
        np.testing.assert_array_equal(computed(tmp_path, proto, x=x), np.maximum(x, 0).reshape(images, -1))

    @pytest.mark.parametrize("images", [1, 2, 3])
    def test_sizes_of_a_resize_are_opened(self, tmp_path, images):
        proto = model([op("Resize", "x - - to", mode="nearest")], {"x": [2, 3, 4, 4]}, {"to": np.array([2, 3, 8, 8])})
        x = numbers(images, 3, 4, 4)
        np.testing.assert_array_equal(computed(tmp_path, proto, x=x), x.repeat(2, 2).repeat(2, 3))

    @pytest.mark.parametrize(("size", "begin"), [(2, 0.0), (3, 0.0), (3, 0.5)])
    def test_a_batch_that_is_cropped_or_resized_is_named(self, tmp_path, size, begin):
        region = np.array([begin, 0, 0, 0.1, 1, 1, 1, 0.9], np.float32)
        resize = op("Resize", "x region - to", mode="linear", coordinate_transformation_mode="tf_crop_and_resize")
        proto = model([resize], {"x": ["N", 3, 4, 5]}, {"region": region, "to": np.array([size, 3, 4, 3])})
        with pytest.raises(SpecError, match="the batch is not resized"):
            imported(tmp_path, proto)

    @pytest.mark.parametrize("stated", [1, 2])
    def test_a_row_that_the_file_holds_for_each_image_is_given_to_every_image(self, tmp_path, stated):
        token = np.repeat(CLASS_TOKEN, stated, 0)
        proto = model([op("Concat", "token x", axis=1)], {"x": [stated, 3, 4]}, {"token": token})
        x = numbers(5, 3, 4)
        expected = np.concatenate([np.repeat(CLASS_TOKEN, 5, 0), x], 1)
        np.testing.assert_array_equal(computed(tmp_path, proto, x=x), expected)

    @pytest.mark.parametrize(
        ("nodes", "constants", "expected"),
        [
            ([op("Split", "x to", "a b", axis=0), op("Sub", "a b")], {"to": np.array([1, 1])}, lambda x: x[:1] - x[1:]),
            ([op("Reshape", "x to")], {"to": np.array([4, 3])}, lambda x: x.reshape(4, 3)),
            ([op("Add", "x to")], {"to": numbers(2, 6, seed=3)}, lambda x: x + numbers(2, 6, seed=3)),
            ([op("ReduceSum", "x to", keepdims=0)], {"to": np.array([0])}, lambda x: x.sum(0)),
            ([op("Slice", "x to one to")], {"to": np.array([0]), "one": np.array([1])}, lambda x: x[:1]),
        ],
    )
    def test_else_the_network_has_that_batch_alone(self, tmp_path, nodes, constants, expected):
        network = imported(tmp_path, model(nodes, {"x": [2, 6]}, constants))
        assert [(item.batched, item.shape) for item in network.graph.inputs] == [(False, (2, 6))]
        x = numbers(2, 6)
        np.testing.assert_allclose(results(network, x=x)[0], expected(x), rtol=1e-6, atol=1e-6)

    def test_axes_of_one_are_left_out_as_the_file_has_them(self, tmp_path):
        """Squeeze without axes leaves out the axis of a batch of one too."""
        assert computed(tmp_path, model([op("Squeeze", "x")], {"x": [1, 6, 1]}), x=numbers(1, 6, 1)).shape == (6,)

    def test_predict_says_that_the_input_takes_no_other_batch(self, tmp_path):
        from cnnbench import predict
        from cnnbench.errors import DataError

        imported(tmp_path, model([op("Reshape", "x to")], {"x": [2, 6]}, {"to": np.array([4, 3])}))
        with pytest.raises(DataError, match="has the wrong shape") as raised:
            predict(tmp_path / "small.onnx", numbers(1, 6))
        assert "takes no other batch" in str(raised.value)

    def test_a_suite_skips_the_other_batches_with_the_reason(self, tmp_path):
        from cnnbench.harness.suite.networks import default_image, fixed_batch

        imported(tmp_path, model([op("Reshape", "x to")], {"x": [2, 6]}, {"to": np.array([4, 3])}))
        name = f"file:{tmp_path / 'small.onnx'}"
        assert (fixed_batch(name), default_image(name)) == (2, (6,))


class TestInputs:
    """Which inputs have a batch."""

    def test_an_input_of_one_fixed_axis_has_none(self, tmp_path):
        proto = model([op("Mul", "x s")], {"x": ["n", 3, 4], "s": [4]})
        x, s = numbers(2, 3, 4), numbers(4, seed=1)
        np.testing.assert_allclose(computed(tmp_path, proto, x=x, s=s), x * s, rtol=1e-6)

    def test_an_input_of_another_fixed_size_has_none(self, tmp_path):
        proto = model([op("MatMul", "x w")], {"x": ["n", 3], "w": [3, 5]})
        x, w = numbers(4, 3), numbers(3, 5, seed=1)
        np.testing.assert_allclose(computed(tmp_path, proto, x=x, w=w), x @ w, rtol=1e-5)

    def test_an_open_axis_alone_is_the_batch(self, tmp_path):
        nodes = [op("Unsqueeze", "s one", "t"), op("Mul", "x t")]
        proto = model(nodes, {"x": ["n", 3], "s": ["n"]}, {"one": np.array([1])})
        x, s = numbers(4, 3), numbers(4, seed=1)
        np.testing.assert_allclose(computed(tmp_path, proto, x=x, s=s), x * s[:, np.newaxis], rtol=1e-6)

    def test_they_keep_the_order_of_the_model(self, tmp_path):
        proto = model([op("Sub", "b a")], {"a": ["n", 3], "b": ["n", 3]})
        assert [item.name for item in imported(tmp_path, proto).graph.inputs] == ["a", "b"]

    def test_one_that_no_node_reads_is_left_out(self, tmp_path):
        network = imported(tmp_path, model([op("Relu", "x")], {"x": ["n", 3], "unread": ["n", "open", "sizes"]}))
        assert [item.name for item in network.graph.inputs] == ["x"]
