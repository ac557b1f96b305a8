"""The least that a machine must do for a network: below it a latency is no result."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.spec.graph import Graph, Node, value_names, weight_parts
from cnnbench.spec.layers.base import Window
from cnnbench.spec.passes import lower

TILE = 6  # outputs along an axis of the largest tiles in use: F(6, 3) of Winograd's algorithm
NARROW = 32  # times as fast as float32: matrix units of processors for bfloat16 and float16, which NumPy does not use
MARGIN = 2.0  # above the best that was measured, for a machine that was disturbed, and for Strassen's algorithm
READING = 4  # times as fast as a copy that lies in the first caches


@dataclass(frozen=True)
class MachineRates:
    """What processors can do at best, with the threads of a cell.

    Args:
        operations_per_s: Multiplications and additions of a matrix product of the precision's type.
        copied_bytes_per_s: Of a copy within the caches, read and written bytes counted.
    """

    operations_per_s: float
    copied_bytes_per_s: float

    def best(self, other: MachineRates) -> MachineRates:
        """The better of each."""
        return MachineRates(
            max(self.operations_per_s, other.operations_per_s), max(self.copied_bytes_per_s, other.copied_bytes_per_s)
        )


@dataclass(frozen=True)
class LeastWork:
    """Of one call.

    Args:
        operations: Multiplications and additions of products, by the most economical algorithm in use.
        bytes: Of weights, inputs and outputs, each read or written once.
    """

    operations: float
    bytes: float

    @staticmethod
    def of(graph: Graph, batch: int, policy: PrecisionPolicy) -> LeastWork:
        """The least work of a network.

        By its definition a convolution of k taps along an axis needs k products for each output. Winograd's algorithms
        need (m + k - 1) / m of them for m outputs at once, and an FFT of such a tile needs no less: k m / (m + k - 1)
        times fewer. With ``TILE`` outputs that is 5.06 for 3 x 3. A stride of s parts the taps into s phases of k / s.
        Nodes that no output needs count nothing.

        Args:
            graph: The network.
            batch: Images.
            policy: Whose type values are stored in.

        Source: Winograd, "Arithmetic complexity of computations" (1980): F(m, k) needs m + k - 1 products; Lavin and
        Gray, "Fast algorithms for convolutional neural networks" (2015).
        """
        graph = lower(graph)
        shapes, needed = graph.shapes(batch), _needed(graph)
        operations, values = 0.0, 0
        for node in needed:
            inputs, outputs = graph.input_shapes(node, batch), graph.output_shapes(node, batch)
            attention = node.layer.macs_attention(inputs, outputs)
            operations += 2 * (node.layer.macs(inputs, outputs) / economy(node.layer.window()) + attention)
        owners = {node.owner for node in needed}
        values += sum(math.prod(w.shape) for w in graph.named_weights() if weight_parts(w.name)[0] in owners)
        values += sum(math.prod(item.full_shape(batch)) for item in graph.inputs)
        values += sum(math.prod(shapes[value]) for _, value in graph.outputs)
        return LeastWork(operations, values * value_bytes(policy))

    def seconds(self, rates: MachineRates, policy: PrecisionPolicy) -> float:
        """Below so many no call can be, whatever the program.

        Args:
            rates: Measured on this machine, with the threads of the cell.
            policy: The program's precision.
        """
        faster = NARROW if value_bytes(policy) < 4 else 1
        computing = self.operations / (MARGIN * faster * rates.operations_per_s)
        return max(computing, self.bytes / (READING * MARGIN * rates.copied_bytes_per_s))


def economy(window: Window | None) -> float:
    """How many times fewer products than its definition a convolution of this window needs, at the least."""
    if window is None:
        return 1.0
    fewer = 1.0
    for kernel, stride in zip(window.kernel_size, window.stride, strict=True):
        taps = math.ceil(kernel / stride)
        fewer *= taps * TILE / (TILE + taps - 1)
    return fewer


def _needed(graph: Graph) -> list[Node]:
    """The nodes that an output depends on."""
    wanted = {value for _, value in graph.outputs}
    found = []
    for node in reversed(graph.nodes):
        if wanted & set(value_names(node.name, len(graph.output_shapes(node)))):
            wanted |= set(node.inputs)
            found.append(node)
    return found


def value_bytes(policy: PrecisionPolicy) -> int:
    """Of one value in the type in which a policy stores it."""
    return {"float64": 8, "float32": 4}.get(policy.storage, 2)
