"""Between canonical host arrays and a bound program's: lowering, folding, native weight layouts, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnbench.errors import SpecError, UnavailableError
from cnnbench.execution.operations import Operations, WeightLayout
from cnnbench.execution.program import Program
from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import Layer
from cnnbench.spec.passes import fold_arrays, fold_batch_norm, lower

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnbench.execution.contract import HostArrays, ProgramOptions


@dataclass(frozen=True)
class HeldWeight:
    """How one weight of a program is held: its layer, its name within the node, and the permutation that it takes."""

    layer: Layer
    name: str
    layout: WeightLayout
    channels_last: bool

    def to_native(self, array: Any) -> Any:
        """The native form of a canonical host array."""
        return self.layout.to_native(self.layer, self.name, array, self.channels_last)

    def to_canonical(self, array: Any) -> Any:
        """The canonical form of a native host array."""
        return self.layout.to_canonical(self.layer, self.name, array, self.channels_last)


@dataclass(frozen=True)
class BoundGraph:
    """A program together with what loading and downloading its arrays needs.

    Args:
        source: The lowered graph before folding, whose arrays ``native`` takes.
        program: The bound program.
        folded: Whether batch norms are folded when arrays are loaded.
        weights: One entry for each of ``program.weight_names``.
        trainable: The positions among them that are trained.
        masks_channels_last: For each of ``program.mask_names``, whether its op takes it channels-last.
    """

    source: Graph
    program: Program
    folded: bool
    weights: tuple[HeldWeight, ...]
    trainable: tuple[int, ...]
    masks_channels_last: tuple[bool, ...]

    @staticmethod
    def of(
        graph: Graph,
        operations: Operations,
        options: ProgramOptions,
        *,
        channels_last: bool,
        fold: bool = False,
        gradient: bool = False,
    ) -> BoundGraph:
        """Lowers ``graph`` as far as ``operations`` needs, folds batch norms where ``fold``, and binds it.

        Raises SpecError where folding is asked of a training pass, UnavailableError where ops are missing or a node
        falls into a declared gap (``gradient``: the program differentiates).
        """
        if fold and options.training:
            raise SpecError(
                "batch norms fold at inference only",
                where=graph.name,
                received="fold_batch_norm=True, training=True",
                remedy="leave one of the two out",
            )
        source = lower(graph, native=tuple(operations))
        bound = fold_batch_norm(source) if fold else source
        for node in bound.nodes:
            reason = operations.gap(node.layer, options.precision.name, options.mode, gradient=gradient)
            if reason is not None:
                where = f"{graph.name}: node {node.name!r} ({node.layer.kind}) on {operations.backend}"
                raise UnavailableError(reason, where=where)
        program = Program.bind(bound, operations, training=options.training, channels_last=channels_last)
        held: list[Any] = [None] * len(program.weight_names)
        last = [False] * len(program.mask_names)
        for step in program.steps:
            for position in step.weights:
                name = program.weight_names[position].removeprefix(f"{bound.node(step.name).owner}.")
                layout = operations[step.layer.kind].weight_layout
                held[position] = HeldWeight(step.layer, name, layout, step.call.channels_last)
            for position in step.masks:
                last[position] = step.call.channels_last
        trainable = tuple(i for i, spec in enumerate(bound.named_weights()) if spec.trainable)
        return BoundGraph(source, program, fold, tuple(held), trainable, tuple(last))

    def native(self, weights: HostArrays, state: HostArrays) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """Weights in native layout and state, in the program's order; folding is computed in float64."""
        import numpy as np

        arrays = {**weights, **state}
        if self.folded:
            wide = {name: np.asarray(array, np.float64) for name, array in arrays.items()}
            arrays = fold_arrays(self.source, wide)
        native = [
            held.to_native(np.asarray(arrays[name]))
            for held, name in zip(self.weights, self.program.weight_names, strict=True)
        ]
        return native, [np.asarray(arrays[name]) for name in self.program.state_names]

    def canonical(self, position: int, array: NDArray[Any]) -> NDArray[Any]:
        """The canonical form of the native host array (or gradient, or slot) of the weight at ``position``."""
        import numpy as np

        return np.ascontiguousarray(self.weights[position].to_canonical(array))

    @property
    def float_inputs(self) -> tuple[int, ...]:
        """The positions of the graph inputs that have a gradient."""
        return tuple(i for i, item in enumerate(self.source.inputs) if item.dtype == "float")
