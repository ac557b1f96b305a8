"""Winograd convolution with 3x3 kernels: input and output transforms as matrix products, batched products between."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.winograd import Winograd
from cnnbench.spec.layers import Conv, Shape
from cnnbench.spec.layers.windows import require_pairs
from cnnbench_numpy.fast.conv import ConvGeometry, ranges
from cnnbench_numpy.fast.epilogue import Epilogue, KernelOperands, bind
from cnnbench_numpy.fast.kernels import Kernel, Workspace
from cnnbench_numpy.fast.team import Team

Array = NDArray[Any]

FEW, MANY = 112, 196  # tiles of a block: with many channels the transformed weight is large, and is read once a block
WIDE = 192  # channels


class WinogradKernel(Kernel):
    """A 3x3 convolution of stride 1 and its epilogue, in blocks of a few rows of tiles.

    The weight is transformed at the first run after it is loaded, and kept.
    """

    def __init__(
        self, layer: Conv, x: Shape, form: Winograd, epilogue: Epilogue, team: Team, workspace: Workspace
    ) -> None:
        self.form = form
        self.algorithm = f"winograd {form.tile}x{form.tile}"
        self.epilogue = epilogue
        self.team = team
        self.workspace = workspace
        self.geometry = ConvGeometry(layer, x, np.dtype(workspace.dtype).itemsize)
        (self.top, _), (self.left, _) = require_pairs(layer.padding)
        batch, height, width, self.outputs = self.geometry.out
        self.columns, rows = -(-width // form.tile), -(-height // form.tile)
        most = MANY if max(x[-1], self.outputs) >= WIDE else FEW
        step = max(1, min(most // self.columns, -(-batch * rows // team.size)))
        self.blocks = [(image, part) for image in range(batch) for part in ranges(rows, step)]
        self.largest = max((part.stop - part.start for _, part in self.blocks), default=0)
        self.strips = [np.zeros(self._strip_shape(x), workspace.dtype) for _ in range(team.size)]
        values = form.reach**2
        tiles = self.largest * self.columns
        self.half = values * tiles * max(x[-1], self.outputs)
        workspace.reserve(2 * self.half)
        self._seen: Array | None = None
        self._transformed: Array | None = None
        of_input, of_output = (np.asarray(matrix) for matrix in (form.of_input, form.of_output))
        self.into = np.kron(of_input, of_input).astype(workspace.dtype)
        self.back = np.kron(of_output, of_output).astype(workspace.dtype)

    def _strip_shape(self, x: Shape) -> tuple[int, ...]:
        form = self.form
        return self.largest * form.tile + form.reach - form.tile, self.columns * form.tile + 2, x[-1]

    def run(self, operands: KernelOperands, out: Array) -> None:
        weight = self._weight(operands.weights[0])
        then = bind(self.epilogue, operands)
        flat = out.reshape(-1, self.outputs)

        def task(worker: int, number: int) -> None:
            self._fill(operands.inputs[0], weight, out, number, worker)
            image, part = self.blocks[number]
            _, height, width, _ = self.geometry.out
            first = image * height + part.start * self.form.tile
            last = image * height + min(part.stop * self.form.tile, height)
            rows = slice(first * width, last * width)
            then(flat[rows], rows, slice(None))

        self.team.run(task, len(self.blocks))

    def _weight(self, native: Array) -> Array:
        """(reach^2, C, O): G w G^T of the native weight (1, taps * C, O), computed in float64 and rounded once."""
        if self._seen is not native or self._transformed is None:
            g = np.asarray(self.form.of_weight)
            taps = native[0].reshape(g.shape[1] ** 2, -1).astype(np.float64)
            found = np.matmul(np.kron(g, g), taps).astype(native.dtype)
            self._transformed, self._seen = found.reshape(self.form.reach**2, -1, self.outputs), native
        return self._transformed

    def _strip(self, x: Array, image: int, part: slice, worker: int) -> Array:
        """The input rows that a block of tiles needs, zero-padded: (rows, columns, C)."""
        form, strip = self.form, self.strips[worker]
        first = part.start * form.tile - self.top
        reach = (part.stop - part.start) * form.tile + form.reach - form.tile
        begin, end = (min(max(edge - first, 0), reach) for edge in (0, x.shape[1]))
        width = max(0, min(x.shape[2], strip.shape[1] - self.left))
        strip[:begin] = 0
        strip[end:reach] = 0
        strip[begin:end, self.left : self.left + width] = x[image, first + begin : first + end, :width]
        return strip[:reach]

    def _fill(self, x: Array, weight: Array, out: Array, number: int, worker: int) -> None:
        """Computes the outputs of one block of tiles, before the epilogue, and writes them into ``out``."""
        form, (image, part) = self.form, self.blocks[number]
        rows, channels = part.stop - part.start, x.shape[-1]
        tiles, values = rows * self.columns, form.reach**2
        strip = self._strip(x, image, part, worker)
        buffer = self.workspace.buffer(worker)
        first, second = buffer[: self.half], buffer[self.half : 2 * self.half]
        step = strip.strides
        view = np.lib.stride_tricks.as_strided(
            strip,
            (form.reach, form.reach, rows, self.columns, channels),
            (step[0], step[1], form.tile * step[0], form.tile * step[1], step[2]),
        )
        gathered = first[: values * tiles * channels].reshape(view.shape)
        np.copyto(gathered, view)
        transformed = second[: values * tiles * channels].reshape(values, -1)
        np.matmul(self.into, gathered.reshape(values, -1), out=transformed)
        products = first[: values * tiles * self.outputs].reshape(values, tiles, self.outputs)
        np.matmul(transformed.reshape(values, tiles, channels), weight, out=products)
        found = second[: form.tile**2 * tiles * self.outputs].reshape(form.tile**2, -1)
        np.matmul(self.back, products.reshape(values, -1), out=found)
        self._place(found.reshape(form.tile, form.tile, rows, self.columns, self.outputs), out[image], part.start)

    def _place(self, found: Array, out: Array, first: int) -> None:
        """Writes tiles (m, m, rows, columns, O) where they belong; what lies beyond the last output is dropped."""
        tile = self.form.tile
        for i in range(tile):
            target = out[first * tile + i : (first + found.shape[2]) * tile : tile]
            for j in range(tile):
                part = target[:, j::tile]
                part[...] = found[i, j, : part.shape[0], : part.shape[1]]
