"""What a shared case is: one layer on its own, with inputs on which a wrong convention shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cnnbench.spec.draws import draw as draw_array
from cnnbench.spec.examples import example_graph, example_layer
from cnnbench.spec.graph import Builder, Graph, Value, weight_parts
from cnnbench.spec.layers import Layer, Shape
from cnnbench.spec.streams import stream

if TYPE_CHECKING:
    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.numerics.case import Case

Draw = Callable[[Any, Shape], Any]
"""(NumPy generator, full shape) -> the values of an input."""


# Shapes (C, *spatial) that many cases share: odd and even sizes, height and width apart.
SQUARE: tuple[Shape, ...] = ((3, 9, 9),)
EVEN: tuple[Shape, ...] = ((4, 8, 10),)
ROW: tuple[Shape, ...] = ((10,),)


@dataclass(frozen=True)
class LayerCase:
    """One layer on its own.

    Args:
        layer: The layer.
        images: The shape (C, *spatial) of each input.
        batch: Images.
        shift, scale: Mean and standard deviation of the inputs; a large mean tests normalisation's conditioning.
        draws: How inputs are drawn, one an input, where normal values would not do (boxes, indices, probabilities):
            functions of a generator and a full shape. Integers make the input one of indices.
        batched: Whether the batch axis stands before each of ``images``; one flag an input, () for all.
        positive: Whether inputs, weights and cotangents are positive: sums do not cancel, and an accumulator that is
            too narrow shows.
        differences: Whether central differences hold: not where a part of the gradient is stopped by definition.
    """

    layer: Layer
    images: tuple[Shape, ...]
    batch: int = 2
    shift: float = 0.0
    scale: float = 1.0
    draws: tuple[Draw | None, ...] = ()
    batched: tuple[bool, ...] = ()
    differences: bool = True
    positive: bool = False

    @classmethod
    def of_example(cls, kind: type[Layer]) -> LayerCase:
        """The case that a kind's declared example makes: two images where it has one, integers 0 and 1.

        Raises:
            SpecError: The kind does not take its example.
        """
        example_graph(kind)  # says what is wrong with it
        shapes = kind.example.inputs
        batched = tuple(shape[:1] == (1,) for shape in shapes)
        return cls(
            example_layer(kind),
            tuple(shape[1:] if has else shape for shape, has in zip(shapes, batched, strict=True)),
            draws=tuple(_zero_or_one if i in kind.int_inputs else None for i in range(len(shapes))),
            batched=batched,
            differences=not kind.no_gradient_to,
        )

    def graph(self) -> Graph:
        """A graph of the layer as node ``layer``, with every output."""
        builder = Builder(self.layer.kind)
        inputs = [
            builder.input(
                f"input{i}",
                image,
                dtype="int" if self._is_int(i) else "float",
                batched=not self.batched or self.batched[i],
            )
            for i, image in enumerate(self.images)
        ]
        outputs = builder.add_all("layer", self.layer, *inputs)
        return builder.build(outputs[0] if len(outputs) == 1 else outputs)

    def _draw(self, position: int) -> Draw | None:
        return self.draws[position] if self.draws else None

    def _is_int(self, position: int) -> bool:
        import numpy as np

        draw = self._draw(position)
        image = self.images[position]
        return draw is not None and draw(np.random.default_rng(0), (self.batch, *image)).dtype.kind in "iu"

    def _values(self, position: int, name: str, shape: Shape, seed: int) -> Any:
        import numpy as np

        generator = stream(seed, "conformance inputs", name)
        draw = self._draw(position)
        if draw is None:
            drawn = np.asarray(self.shift + self.scale * generator.normal(size=shape)).astype(np.float32)
            return np.abs(drawn) if self.positive else drawn
        values = np.asarray(draw(generator, shape))
        return values if values.dtype.kind in "iu" else values.astype(np.float32)

    def case(self, options: ProgramOptions, seed: int = 0) -> Case:
        """Seeded arrays and inputs: running statistics away from their start, no weight at 0 or 1."""
        import numpy as np

        from cnnbench.numerics.case import Case

        graph = self.graph()
        arrays = {}
        for spec in (*graph.named_weights(), *graph.named_state()):
            draw = stream(seed, "conformance weights", spec.name)
            own = weight_parts(spec.name)[1]
            if own == "running_var":
                array = draw.uniform(0.5, 1.5, spec.shape) * self.scale**2
            elif own == "running_mean":
                array = self.shift + self.scale * draw.normal(size=spec.shape)
            elif not spec.trainable:
                array = draw_array(replace(spec, initializer=spec.general_initializer), seed)
            else:
                array = np.abs(draw.normal(size=spec.shape)) if self.positive else draw.normal(size=spec.shape)
            arrays[spec.name] = np.asarray(array).astype(np.float32)
        batch = {
            item.name: self._values(i, item.name, item.full_shape(self.batch), seed)
            for i, item in enumerate(graph.inputs)
        }
        return Case(graph, arrays, batch, options, seed=seed, positive=self.positive)


def _zero_or_one(generator: Any, shape: Shape) -> Any:
    return generator.integers(0, 2, shape)


def side_by_side(cases: Sequence[LayerCase], options: ProgramOptions) -> Case:
    """The cases in one graph, as nodes ``layer0``, ``layer1`` ...; they have as many images and are as positive."""
    from cnnbench.numerics.case import Case

    builder = Builder("side by side")
    arrays: dict[str, Any] = {}
    batch: dict[str, Any] = {}
    outputs: list[Value] = []
    for i, item in enumerate(cases):
        alone = item.case(options, seed=i)
        names = {}
        for given in alone.graph.inputs:
            name = f"layer{i}_{given.name}"
            names[given.name] = builder.input(name, given.shape, dtype=given.dtype, batched=given.batched)
            batch[name] = alone.batch[given.name]
        outputs += builder.add_all(f"layer{i}", item.layer, *names.values())
        arrays |= {f"layer{i}{name.removeprefix('layer')}": array for name, array in alone.arrays.items()}
    return Case(builder.build(outputs), arrays, batch, options, seed=0, positive=any(c.positive for c in cases))
