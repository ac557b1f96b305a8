"""Output sizes and padding, against windows that are enumerated one by one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbench.errors import SpecError
from cnnbench.spec.layers.windows import (
    effective_size,
    empty_window,
    output_size,
    output_sizes,
    per_axis,
    resolve_padding,
    same_padding,
)

sizes = st.integers(1, 24)
kernels = st.integers(1, 6)
strides = st.integers(1, 5)
dilations = st.integers(1, 4)
paddings = st.tuples(st.integers(0, 6), st.integers(0, 6))


def full_windows(length: int, kernel: int, stride: int, dilation: int) -> list[list[int]]:
    """The taps of every window that lies within ``length`` positions, by trying each start."""
    taps = [[start + k * dilation for k in range(kernel)] for start in range(0, length, stride)]
    return [window for window in taps if window[-1] < length]


@given(sizes, kernels, strides, dilations, paddings)
def test_output_size_counts_the_windows_that_fit(size, kernel, stride, dilation, padding):
    windows = full_windows(size + sum(padding), kernel, stride, dilation)
    if windows:
        assert output_size(size, kernel, stride, dilation, padding) == len(windows)
    else:
        with pytest.raises(SpecError, match="window does not fit the input on spatial axis 0"):
            output_sizes((size,), (kernel,), (stride,), (dilation,), (padding,))


@given(sizes, kernels, strides, dilations, paddings)
def test_ceil_mode_adds_the_window_that_runs_over_the_end_and_drops_a_last_one_that_starts_beyond_the_input(
    size, kernel, stride, dilation, padding
):
    length = size + sum(padding)
    windows = full_windows(length, kernel, stride, dilation)
    if not windows:
        return
    starts = [taps[0] for taps in windows]
    if windows[-1][-1] < length - 1:
        starts.append(starts[-1] + stride)
    if starts[-1] >= padding[0] + size:
        starts.pop()
    assert output_size(size, kernel, stride, dilation, padding, ceil_mode=True) == len(starts)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "expected"),
    [
        (112, 3, 2, (0, 0), 56),  # GoogLeNet's pool1/3x3_s2 in Caffe, table 1 of its paper
        (54, 3, 2, (0, 0), 27),
        (55, 3, 2, (0, 0), 27),  # CaffeNet's pool1
        (4, 2, 2, (1, 0), 3),
        (1, 1, 2, (1, 0), 1),  # the last window would start beyond the input
    ],
)
def test_ceil_mode_gives_published_sizes(size, kernel, stride, padding, expected):
    assert output_size(size, kernel, stride, 1, padding, ceil_mode=True) == expected


@given(sizes, kernels, strides, dilations, st.booleans())
def test_same_padding_is_the_least_that_gives_ceil_of_size_over_stride(size, kernel, stride, dilation, lower):
    begin, end = same_padding(size, kernel, stride, dilation, lower=lower)
    wanted = -(-size // stride)
    fitting = [
        total for total in range(begin + end + 1) if len(full_windows(size + total, kernel, stride, dilation)) >= wanted
    ]
    assert fitting == [begin + end]
    assert len(full_windows(size + begin + end, kernel, stride, dilation)) >= wanted
    assert (begin - end if lower else end - begin) in (0, 1)


def test_same_puts_the_odd_row_at_the_end_as_tensorflow_and_same_lower_at_the_beginning():
    arguments = ((224,), (3,), (2,), (1,))
    assert resolve_padding("same", *arguments) == ((0, 1),)
    assert resolve_padding("same_lower", *arguments) == ((1, 0),)
    assert resolve_padding("valid", *arguments) == ((0, 0),)


@pytest.mark.parametrize(
    ("padding", "expected"),
    [(1, ((1, 1), (1, 1))), ((1, 2), ((1, 1), (2, 2))), (((1, 2), (3, 4)), ((1, 2), (3, 4)))],
)
def test_padding_may_be_one_number_one_for_each_axis_or_pairs(padding, expected):
    assert resolve_padding(padding, (8, 8), (3, 3), (1, 1), (1, 1)) == expected


@pytest.mark.parametrize("padding", ["sane", -1, (1,), (1, 2, 3), ((1, 2),), ((1, 2, 3), (1, 2, 3)), ((1, -2), (0, 0))])
def test_padding_that_does_not_fit_is_refused(padding):
    with pytest.raises(SpecError, match="padding"):
        resolve_padding(padding, (8, 8), (3, 3), (1, 1), (1, 1))


@pytest.mark.parametrize("value", [True, 1.0, "3", (3,), (3, 3, 3), (3, 0), None])
def test_numbers_for_each_axis_are_integers_of_at_least_the_least(value):
    with pytest.raises(SpecError, match="kernel_size"):
        per_axis(value, 2, "kernel_size", least=1)


@given(sizes, kernels, strides, dilations, paddings)
def test_an_empty_window_is_found_exactly_where_a_window_sees_padding_only(size, kernel, stride, dilation, padding):
    windows = full_windows(size + sum(padding), kernel, stride, dilation)
    inside = range(padding[0], padding[0] + size)
    empty = [index for index, taps in enumerate(windows) if not set(taps) & set(inside)]
    found = empty_window(size, len(windows), kernel, stride, dilation, padding[0])
    assert found == (empty[0] if empty else None)


@given(kernels, dilations)
def test_effective_size_is_the_reach_of_the_taps(kernel, dilation):
    taps = [k * dilation for k in range(kernel)]
    assert effective_size(kernel, dilation) == taps[-1] - taps[0] + 1


def test_empty_windows_are_found_as_by_looking_at_every_tap():
    def by_looking(size, count, kernel_size, stride, dilation, begin):
        for index in range(count):
            first = index * stride - begin
            if not any(0 <= first + k * dilation < size for k in range(kernel_size)):
                return index
        return None

    sizes = (range(1, 5), range(7), range(1, 5), range(1, 4), range(1, 6), range(7))
    for numbers in itertools.product(*sizes):
        assert empty_window(*numbers) == by_looking(*numbers), numbers


def test_empty_windows_of_a_huge_image_are_found_at_once():
    assert empty_window(2**63, 2**62, 2, 2, 1, 0) is None
    assert empty_window(2**61, 2**62, 2, 2, 1, 0) == 2**60
