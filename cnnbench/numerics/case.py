"""What is checked: a network with its arrays, one batch, and the options of the program that runs them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.answering_code import code_digest
from cnnbench.numerics.rounding import all_to_storage, to_storage
from cnnbench.numerics.teacher_forcing import more_images, resize_images, resized
from cnnbench.spec.content import content_digest
from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import BatchNorm
from cnnbench.spec.losses import (
    CrossEntropy,
    JointLoss,
    Loss,
    MeanSquaredError,
    Objective,
    draw_loss_targets,
    objective_graph,
)
from cnnbench.spec.masks import masks_of
from cnnbench.spec.passes import lower
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import digest
from cnnbench.training.steps import TrainingSteps

Array = NDArray[Any]

# Above this many multiply-accumulates a pass, gradients and training are checked on smaller images.
LARGE_MACS = 1_500_000_000
# Above this many weights, or on smaller images, the training check takes so many steps: each keeps all of the weights.
LARGE_PARAMETERS = 50_000_000
LARGE_STEPS = 2
# Of so few values in a batch norm the gradients are lost in rounding; of so many images they are not.
FEW_VALUES, MORE_IMAGES = 4, 8


@dataclass(frozen=True)
class Case:
    """One question: does a subject compute this network?

    Args:
        graph: The network; composites are lowered here.
        arrays: Weights and running statistics by full name.
        batch: Inputs by name, canonical.
        options: Of the program as it is timed.
        targets: Classes (N,) or values of the main output's shape; drawn from the seed where None.
        seed: Of masks, cotangents, noise and drawn targets.
        training: The training check's settings.
        folder: Where files that reproduce a failure are written; None for nowhere.
        whole: The composite kinds that are examined as one node and not as their parts; None for those that the
            subject has an op of its own for.
        positive: Whether cotangents are positive, so that sums do not cancel and a narrow accumulator shows.
        thorough: Whether checks also do what costs much.
        sizes: Other batch sizes at which the timed check calls the program: each may be another compilation.
    """

    graph: Graph
    arrays: Mapping[str, Array]
    batch: Mapping[str, Array]
    options: ProgramOptions
    targets: Array | None = None
    seed: int = 0
    training: TrainingSteps = field(default_factory=TrainingSteps)
    folder: Path | None = None
    whole: frozenset[str] | None = None
    positive: bool = False
    thorough: bool = False
    sizes: tuple[int, ...] = (1, 3)

    @property
    def policy(self) -> PrecisionPolicy:
        """The program's precision."""
        return self.options.precision

    @cached_property
    def lowered(self) -> Graph:
        """The network in primitive kinds, and in the composite ones that are examined whole."""
        return lower(self.graph, native=self.whole or ())

    @cached_property
    def size(self) -> int:
        """Images in the batch."""
        sizes = (np.shape(self.batch[item.name])[0] for item in self.graph.inputs if item.batched)
        return int(next(sizes, 1))

    @cached_property
    def num_parameters(self) -> int:
        """Values of all weights, trained or not."""
        return sum(math.prod(spec.shape) for spec in self.lowered.named_weights())

    @cached_property
    def stored(self) -> dict[str, Array]:
        """The arrays rounded to the storage type: what the network is, for subject and oracle alike."""
        return all_to_storage(self.arrays, self.policy)

    @cached_property
    def inputs(self) -> dict[str, Array]:
        """The batch rounded to the storage type."""
        return all_to_storage({item.name: self.batch[item.name] for item in self.graph.inputs}, self.policy)

    @cached_property
    def loss(self) -> Loss:
        """The loss of gradient and training checks."""
        if self.training.loss is not None:
            return self.training.loss
        return CrossEntropy() if len(self._main_shape) == 2 else MeanSquaredError()

    @cached_property
    def with_objective(self) -> Case:
        """The case as it is trained: a loss of several outputs stands in the graph, its targets among the inputs.

        Targets that the batch does not hold are drawn from the seed. Any other case is itself.
        """
        loss = self.training.loss
        if not isinstance(loss, JointLoss):
            return self
        graph = objective_graph(self.graph, loss)
        drawn = draw_loss_targets(self.graph, loss, stream(self.seed, "targets"), self.size)
        kept = {spec.name for spec in (*graph.named_weights(), *graph.named_state())}
        return replace(
            self,
            graph=graph,
            arrays={name: array for name, array in self.arrays.items() if name in kept},
            batch={name: _narrowed(array) for name, array in drawn.items()} | dict(self.batch),
            targets=None,
            training=replace(self.training, loss=Objective()),
        )

    @property
    def has_loss(self) -> bool:
        """Whether a loss can be taken: of floats, and as a mean over at least one image."""
        return self.size > 0 and self.graph.dtypes[self.graph.outputs[0][1]] == "float"

    @property
    def _main_shape(self) -> tuple[int, ...]:
        return self.graph.shapes(self.size)[self.graph.outputs[0][1]]

    @cached_property
    def labels(self) -> Array:
        """The targets, given or drawn; values rounded to the storage type."""
        shape = self._main_shape
        generator = stream(self.seed, "targets")
        given = self.targets
        if given is not None and given.shape == self.loss.target_shape(shape):
            is_int = given.dtype.kind in "iu"
            if is_int == self.loss.int_targets and (not is_int or given.max(initial=0) < self.loss.num_classes(shape)):
                return to_storage(np.asarray(given), self.policy)
        drawn = np.asarray(self.loss.draw_targets(generator, shape))
        return to_storage(drawn if self.loss.int_targets else drawn.astype(np.float32), self.policy)

    def training_batch(self, step: int = 0) -> dict[str, Array]:
        """Inputs, masks and targets of a training pass."""
        masks = masks_of(self.lowered, self.size, self.seed, step)
        return {**self.inputs, **masks, **({"targets": self.labels} if self.loss.has_targets else {})}

    def key(self, question: str, **more: object) -> str:
        """The cache key of an oracle's answer to a question on this case."""
        if more:
            return content_digest({"question": question, "case": self._identity, **more})
        if question not in self._keys:  # asked for once for each array that is read
            self._keys[question] = content_digest({"question": question, "case": self._identity})
        return self._keys[question]

    @cached_property
    def _keys(self) -> dict[str, str]:
        return {}

    @cached_property
    def _identity(self) -> dict[str, object]:
        kinds = {node.layer.kind for graph in (self.graph, self.lowered) for node in graph.nodes}
        return {
            "graph": self.lowered.digest,
            "arrays": digest(self.stored),
            "inputs": digest(self.inputs),
            "precision": self.policy.name,
            "seed": self.seed,
            "code": code_digest(kinds, self.loss, self.training.optimizer),
            "positive": self.positive,
        }

    @cached_property
    def reduced(self) -> Case:
        """The case on smaller images where the network is large and takes them; with fewer steps then, too.

        A network of many weights takes fewer steps in any case. Where a batch norm would average ``FEW_VALUES`` or
        less, there are ``MORE_IMAGES``: of two values, whatever they are, it makes -1 and 1, and the gradients are what
        rounding leaves of them.
        """
        smaller, wanted = self._smaller, MORE_IMAGES * self.training.optimizer.accumulate
        if not 0 < smaller.size < wanted or smaller._fewest_averaged > FEW_VALUES:
            return smaller
        batch = more_images(smaller.batch, self.graph, wanted, stream(self.seed, "more images"))
        return replace(smaller, batch=batch, targets=None)

    @property
    def _fewest_averaged(self) -> float:
        """The fewest values that a batch norm averages over, of a micro-batch where gradients are accumulated."""
        graph, size = self.lowered, max(1, self.size // self.training.optimizer.accumulate)
        norms = (node for node in graph.nodes if isinstance(node.layer, BatchNorm))
        shapes = (graph.input_shapes(node, size)[0] for node in norms)
        return min((math.prod(shape) / shape[1] for shape in shapes), default=math.inf)

    @cached_property
    def _smaller(self) -> Case:
        macs = self.lowered.macs(self.size)
        spatial = [n for item in self.graph.inputs for n in item.shape[1:]]
        few_steps = self.training.few(LARGE_STEPS)
        if macs <= LARGE_MACS or not spatial:
            return self if self.num_parameters <= LARGE_PARAMETERS else replace(self, training=few_steps)
        wanted = max(spatial) * math.sqrt(LARGE_MACS / macs)
        for size in range(max(32, int(wanted) // 32 * 32), max(spatial), 32):
            smaller = resized(self.graph, size)
            if smaller is not None:
                batch = resize_images(self.batch, smaller)
                return replace(self, graph=smaller, batch=batch, training=few_steps)
        return self

    def cut(self, images: int) -> Case:
        """The case on the first images only."""
        batch = {
            item.name: self.batch[item.name][:images] if item.batched else self.batch[item.name]
            for item in self.graph.inputs
        }
        targets = None if self.targets is None else self.targets[:images]
        return replace(self, batch=batch, targets=targets)


def _narrowed(array: Any) -> Array:
    """Drawn values in float32, indices as they are."""
    drawn = np.asarray(array)
    return drawn if drawn.dtype.kind in "iu" else drawn.astype(np.float32)
