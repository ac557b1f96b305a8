"""Between canonical host arrays and a bound program's: lowering, folding, native weight layouts, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnbench.errors import SpecError, UnavailableError, did_you_mean
from cnnbench.execution.binding import bind_program
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.host import (
    ArraySpec,
    HostArrays,
    HostGradients,
    HostResult,
    HostSlots,
    HostTraining,
    SlotName,
    refuse_unknown,
)
from cnnbench.execution.operations import Operations, WeightLayout
from cnnbench.execution.program import Program
from cnnbench.spec.graph import Graph, weight_parts
from cnnbench.spec.layers import Layer, WeightSpec
from cnnbench.spec.optimizers import Optimizer, decays
from cnnbench.spec.passes import fold_arrays, fold_batch_norm, lower

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class HeldWeight:
    """How one weight of a program is held: what it is, its layer, its name there, and the permutation that it takes."""

    spec: WeightSpec
    layer: Layer
    name: str
    layout: WeightLayout
    channels_last: bool

    def to_native(self, array: Any) -> Any:
        """The native form of a canonical host array."""
        return self.layout.to_native(self.layer, self.name, array, self.channels_last)

    def to_canonical(self, array: Any) -> Any:
        """The canonical form of a native host array."""
        import numpy as np

        return np.asarray(self.layout.to_canonical(self.layer, self.name, array, self.channels_last), order="C")


@dataclass(frozen=True)
class BoundGraph:
    """A program together with what loading and downloading its arrays needs.

    Args:
        source: The lowered graph before folding, whose arrays ``native`` takes.
        program: The bound program.
        folded: Whether batch norms are folded when arrays are loaded.
        weights: One entry for each of ``program.weight_names``.
        trainable: The positions among them that are trained: all that can be, or those that the options name.
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
        gradient: bool = False,
    ) -> BoundGraph:
        """Lowers ``graph`` as far as ``operations`` needs, folds batch norms where the options say so, and binds it.

        Args:
            graph: Any graph.
            operations: The backend's ops.
            options: How the program runs; batch norms are folded in forward programs only.
            channels_last: Whether images are held channels-last inside.
            gradient: Whether the program differentiates.

        Raises:
            SpecError: Folding is asked of a training pass; a weight to be trained is none.
            UnavailableError: Ops are missing, or a node falls into a declared gap.
        """
        fold = options.fold_batch_norm and not gradient
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
        program = bind_program(bound, operations, training=options.training, channels_last=channels_last)
        weights = _held_weights(program, operations)
        trainable = _trained(weights, options.trained, graph.name)
        last = [False] * len(program.mask_names)
        for step in program.steps:
            for position in step.masks:
                last[position] = step.call.channels_last
        return BoundGraph(source, program, fold, weights, trainable, tuple(last))

    def native(self, weights: HostArrays, state: HostArrays) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """Weights in native layout and state, in the program's order; folding is computed in float64.

        Raises DataError where an array is missing, unknown, of another shape or not of real numbers.
        """
        import numpy as np

        where, given = self.source.name, {**weights, **state}
        specs = [ArraySpec("weight", spec.name, spec.shape) for spec in self.source.named_weights()]
        specs += [ArraySpec("running statistic", spec.name, spec.shape) for spec in self.source.named_state()]
        refuse_unknown(given, {spec.name for spec in specs}, "weight or running statistic", where)
        arrays = {spec.name: spec.take(given, where) for spec in specs}
        if self.folded:
            arrays = fold_arrays(self.source, {name: np.asarray(array, np.float64) for name, array in arrays.items()})
        names = self.program.weight_names
        native = [held.to_native(arrays[name]) for held, name in zip(self.weights, names, strict=True)]
        return native, [arrays[name] for name in self.program.state_names]

    def native_slots(self, optimizer: Optimizer, slots: HostSlots | None) -> dict[str, list[NDArray[Any]]]:
        """For each of the optimiser's slots one native array a trained weight; at its start where ``slots`` is None.

        A counter is an integer array without dimensions.

        Raises DataError where a slot is missing, unknown, of another shape or not of real numbers.
        """
        import numpy as np

        where = self.source.name
        held = [self.weights[position] for position in self.trainable]
        specs = {slot: [_slot_spec(one, slot, optimizer) for one in held] for slot in optimizer.slots}
        every = [spec for of_slot in specs.values() for spec in of_slot]
        starts = {spec.name: (slot, spec) for slot, of_slot in specs.items() for spec in of_slot}
        started = {n: np.full(spec.shape, optimizer.start(slot), spec.dtype) for n, (slot, spec) in starts.items()}
        given: HostArrays = started if slots is None else dict(slots.items())
        refuse_unknown(given, {spec.name for spec in every}, "slot", where)
        taken = {slot: [spec.take(given, where) for spec in of_slot] for slot, of_slot in specs.items()}
        return {
            slot: arrays
            if slot in optimizer.counters
            else [one.to_native(array) for one, array in zip(held, arrays, strict=True)]
            for slot, arrays in taken.items()
        }

    def decaying(self, optimizer: Optimizer) -> tuple[bool, ...]:
        """For each trained weight in the order of ``trainable``, whether the optimiser's weight decay applies."""
        flags = decays(self.program.graph, optimizer.decay)
        return tuple(flags[self.weights[position].spec.name] for position in self.trainable)

    def require_loaded(self, weights: Sequence[Any]) -> None:
        """Raises SpecError where these are not the weights of the program: nothing was loaded yet."""
        if len(weights) != len(self.weights):
            raise SpecError("the program has no weights yet", where=self.source.name, remedy="load before run")

    @property
    def float_inputs(self) -> tuple[int, ...]:
        """The positions of the graph inputs that have a gradient."""
        return tuple(i for i, item in enumerate(self.source.inputs) if item.dtype == "float")

    def host_result(self, outputs: Arrays, state: Arrays) -> HostResult:
        """Names host copies of a forward pass' outputs and state."""
        names = [name for name, _ in self.program.graph.outputs]
        return HostResult(dict(zip(names, outputs, strict=True)), self._named_state(state))

    def host_gradients(self, loss: float | None, weights: Arrays, inputs: Arrays, state: Arrays) -> HostGradients:
        """Names host copies of a gradient pass, and makes them canonical.

        Args:
            loss: The loss, where there is one.
            weights: One native gradient a trained weight, in the order of ``trainable``.
            inputs: One gradient a float input, in the order of ``float_inputs``.
            state: The state after the pass.
        """
        names = [self.source.inputs[i].name for i in self.float_inputs]
        return HostGradients(
            float("nan") if loss is None else loss,
            self._named(self.trainable, weights),
            dict(zip(names, inputs, strict=True)),
            self._named_state(state),
        )

    def host_arrays(self, weights: Arrays, state: Arrays) -> dict[str, NDArray[Any]]:
        """Host copies of all native weights and of the state, by name and canonical."""
        return {**self._named(range(len(self.weights)), weights), **self._named_state(state)}

    def host_training(self, weights: Arrays, state: Arrays, slots: Mapping[str, Arrays]) -> HostTraining:
        """Names host copies of a training state, and makes them canonical.

        Args:
            weights: Native, in the program's order.
            state: In the program's order.
            slots: By slot one native array a trained weight, as ``native_slots`` gives them.
        """
        named_slots = {
            SlotName(one.spec.name, slot): array if array.dtype.kind == "i" else one.to_canonical(array)  # a counter
            for slot, arrays in slots.items()
            for one, array in zip([self.weights[i] for i in self.trainable], arrays, strict=True)
        }
        return HostTraining(self._named(range(len(self.weights)), weights), self._named_state(state), named_slots)

    def _named(self, positions: Iterable[int], arrays: Arrays) -> dict[str, NDArray[Any]]:
        held = [self.weights[position] for position in positions]
        return {one.spec.name: one.to_canonical(array) for one, array in zip(held, arrays, strict=True)}

    def _named_state(self, state: Arrays) -> dict[str, NDArray[Any]]:
        return dict(zip(self.program.state_names, state, strict=True))


def _trained(weights: Sequence[HeldWeight], names: tuple[str, ...] | None, where: str) -> tuple[int, ...]:
    """The positions of the trained weights. Raises SpecError for a name that is no trainable weight."""
    found = {held.spec.name: i for i, held in enumerate(weights) if held.spec.trainable}
    if names is None:
        return tuple(found.values())
    for name in names:
        if name not in found:
            raise SpecError(
                f"there is no trainable weight {name!r} to train", where=where, remedy=did_you_mean(name, found)
            )
    return tuple(sorted({found[name] for name in names}))


def _slot_spec(held: HeldWeight, slot: str, optimizer: Optimizer) -> ArraySpec:
    name, counts = SlotName(held.spec.name, slot), slot in optimizer.counters
    return ArraySpec("slot", name, () if counts else held.spec.shape, "int" if counts else "float")


def _held_weights(program: Program, operations: Operations) -> tuple[HeldWeight, ...]:
    specs = program.graph.named_weights()
    held: list[Any] = [None] * len(specs)
    for step in program.steps:
        layout = operations[step.layer.kind].weight_layout
        for position in step.weights:
            name = weight_parts(specs[position].name)[1]
            held[position] = HeldWeight(specs[position], step.layer, name, layout, step.call.channels_last)
    return tuple(held)
