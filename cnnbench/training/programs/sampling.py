"""How pictures are made by the networks that a program trained: from latents, from noise, or of other pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SpecError
from cnnbench.execution.compiled import ForwardProgram
from cnnbench.spec.graph import Graph
from cnnbench.spec.serialization import graph_from_json
from cnnbench.training.decoders.generation import Diffusion, latents
from cnnbench.training.evaluation import outputs_of

Array = NDArray[Any]
AT_ONCE = 50  # pictures


@dataclass(frozen=True, eq=False)
class Sampling:
    """How a program's networks make pictures.

    Args:
        way: ``latents``: the graph makes a picture of a standard normal draw; ``diffusion``: it finds the noise in a
            picture at a time, and a sampler takes it out in ``steps`` steps (``Diffusion.sample_fast``, clipped).
            ``translation``: the graph makes one of each test image of a dataset.
        network: The prefix of the network in the program.
        graph: That network, or a part of it by the same names.
        values: The smallest and the largest value that a picture can have.
        steps: Of a diffusion.
        source: Of a translation: the program's name of the dataset that is translated.
    """

    way: Literal["latents", "diffusion", "translation"]
    network: str
    graph: Graph
    values: tuple[float, float] = (-1.0, 1.0)
    steps: int = 50
    source: str = ""

    def __post_init__(self) -> None:
        if self.way not in ("latents", "diffusion", "translation"):
            raise SpecError("way is not valid", received=self.way, expected="'latents', 'diffusion' or 'translation'")
        if (self.way == "translation") != bool(self.source):
            raise SpecError("a translation, and nothing else, has a source", received=f"{self.way}, {self.source!r}")
        if self.values[0] >= self.values[1]:
            raise SpecError("values are not valid", received=self.values, expected="smallest < largest")

    def arrays(self, held: Mapping[str, Array]) -> dict[str, Array]:
        """The graph's arrays under its own names. Args: held: of the program, by full name."""
        specs = (*self.graph.named_weights(), *self.graph.named_state())
        return {spec.name: np.asarray(held[f"{self.network}.{spec.name}"], np.float32) for spec in specs}

    def pictures(
        self, program: ForwardProgram, count: int, seed: int, given: Array | None = None
    ) -> NDArray[np.float32]:
        """Pictures, each value between those of ``values``.

        Args:
            program: Of the graph, loaded.
            count: How many; of a translation at most as many as are given.
            seed: Of the latent vectors, or of the noise to begin with. The first pictures are the same, however many
                there are.
            given: The images of a translation.

        Shapes: -> (N, C, H, W).
        """
        first = self.graph.inputs[0]
        if self.way != "diffusion":
            drawn = latents(count, first.shape, seed) if given is None else given[:count]
            found = outputs_of(program, first.name, drawn, AT_ONCE)[self.graph.outputs[0][0]]
        else:
            shape = (count, *first.shape)
            found = Diffusion().sample_fast(self._predict(program), shape, seed, self.steps, self.values)
        return np.asarray(np.clip(found, *self.values), np.float32)

    def _predict(self, program: ForwardProgram) -> Any:
        picture, time = (item.name for item in self.graph.inputs)
        output = self.graph.outputs[0][0]

        def predict(pictures: Array, times: Array) -> Array:
            fed = program.upload({picture: pictures, time: times})
            return np.asarray(program.download(program.run(fed)).outputs[output])

        return predict


def sampling_to_json(sampling: Sampling) -> dict[str, Any]:
    """Plain data that ``sampling_from_json`` reads."""
    plain = {name: getattr(sampling, name) for name in ("way", "network", "steps")}
    source = {"source": sampling.source} if sampling.source else {}
    return {**plain, **source, "values": list(sampling.values), "graph": sampling.graph.to_json()}


def sampling_from_json(data: Mapping[str, Any]) -> Sampling:
    """The value of plain data. Raises SpecError, LookupError or TypeError where it is none."""
    low, high = data["values"]
    graph = graph_from_json(data["graph"])
    return Sampling(data["way"], data["network"], graph, (low, high), data["steps"], data.get("source", ""))
