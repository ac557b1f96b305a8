"""Readers of users' own models: a framework's module, model or function as a graph with arrays, and run as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import Shape

if TYPE_CHECKING:
    from cnnbench.spec.weights import Array


@dataclass(frozen=True)
class ModelReference:
    """Where a model of a user comes from.

    Args:
        place: A file of Python or of a framework, or a module's dotted name.
        function: The function of it that makes the model; None for a file that holds one.
    """

    place: str
    function: str | None

    @property
    def path(self) -> Path | None:
        """The file, None for a module."""
        return Path(self.place) if self.function is None or self.place.endswith(".py") else None

    @property
    def name(self) -> str:
        """What the network is called."""
        return self.function or Path(self.place).stem

    def __str__(self) -> str:
        return self.place if self.function is None else f"{self.place}:{self.function}"


@dataclass(frozen=True)
class ReadModel:
    """A user's model as a network.

    Args:
        graph: The network, with channels first.
        arrays: Its weights and running statistics by full name, in canonical layouts.
        notes: What the graph does not show.
        inputs_last, outputs_last: Whether each input and output of the model itself has its channels last.
        batch: The only batch that the model takes; None where it takes any.
        noises: What acts in training only and the graph has no layer for, in the order of the model: where, and what
            with its rate.
    """

    graph: Graph
    arrays: Mapping[str, Array]
    notes: tuple[str, ...] = ()
    inputs_last: tuple[bool, ...] = ()
    outputs_last: tuple[bool, ...] = ()
    batch: int | None = None
    noises: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class GivenInputs:
    """What is known of a model's inputs before it is read.

    Args:
        shapes: Of each without the batch axis, in the model's own layout; () where nothing is known.
        integers: Whether each holds integers; () for floats.
        image: (C, *spatial) of the first input as the user asks for it, with channels first; () where it is not.
    """

    shapes: tuple[Shape, ...] = ()
    integers: tuple[bool, ...] = ()
    image: Shape = ()

    def require(self, what: str) -> tuple[Shape, ...]:
        """The shapes, which the model does not tell. Raises SpecError where nobody does.

        Args:
            what: The model, for the message.
        """
        found = self.shapes or ((self.image,) if self.image else ())
        if not found:
            raise SpecError(
                f"{what} does not tell the shape of its input",
                expected="the shape of one image",
                remedy="--image 3x224x224, or let the function return (model, (3, 224, 224))",
            )
        return found


class ModelGradients(NamedTuple):
    """Gradients of a user's model at inference, in float64.

    Args:
        inputs: One for each input in the model's own layout; None for an input of integers.
        weights: One for each weight that a framework could train, in the order that ``with_weights`` takes; 0 where
            nothing flows back, or where the model does not train the weight.
    """

    inputs: tuple[Array | None, ...]
    weights: tuple[Array, ...]


class TrainingPass(NamedTuple):
    """One forward pass of a user's model in training mode, in float64 and with nothing dropped.

    Args:
        outputs: In the model's own order and layout, each on the host.
        model: A copy of the model with its running statistics after the pass.
    """

    outputs: tuple[Array, ...]
    model: Any


class ModelRunner(Protocol):
    """A user's model as its framework runs it, in one mode and precision on one device."""

    def place(self, array: Array) -> Any:
        """A host array in the model's own layout as an operand, in memory of its own."""

    def run(self, operands: Sequence[Any]) -> Any:
        """One forward pass at inference; it may return before the device is done."""

    def read(self, results: Any) -> list[Array]:
        """The outputs of a pass on the host, in order: float64 as it is, narrower types as float32, or int64."""


class ModelCode(Protocol):
    """What a backend does with models of its framework: a module with these functions. It may import the framework."""

    def load(self, path: Path, /) -> Any:
        """The model that a file holds."""

    def read(self, model: Any, inputs: GivenInputs, /) -> ReadModel:
        """The model as a network. Raises SpecError that names the part that is not read."""

    def digest(self, model: Any, /) -> str:
        """A digest of the model's weights as the framework holds them."""

    def runner(self, model: Any, mode: str, policy: str, device: str, /) -> ModelRunner:
        """What runs the model. Raises UnavailableError where it cannot.

        Args:
            model: The model.
            mode: ``eager`` is the program as Python runs it; others are the backend's own.
            policy: The name of the precision policy.
            device: ``cpu``, ``cuda``, ``cuda:1``.
        """

    def gradients(self, model: Any, inputs: Sequence[Array], cotangents: Sequence[Array], /) -> ModelGradients | None:
        """Gradients of sum <cotangent, output> at inference by the framework's own differentiation.

        None for a model that cannot be differentiated.

        Args:
            model: The model.
            inputs: In the model's own layout.
            cotangents: In the model's own layout, one for each output.
        """

    def training_pass(self, model: Any, inputs: Sequence[Array], seed: int, /) -> TrainingPass | None:
        """A forward pass in training mode, in which dropouts pass everything on.

        None for a model that has no training mode.

        Args:
            model: The model, which is left as it is.
            inputs: In the model's own layout.
            seed: Of what else the model draws.
        """

    def weights(self, model: Any, /) -> list[Array]:
        """The model's weights in the order of ``ModelGradients``, then what else it keeps as floats."""

    def with_weights(self, model: Any, arrays: Sequence[Array], /) -> Any:
        """A copy of the model with other arrays, in the order of ``weights``; what is left out stays."""


@dataclass(frozen=True)
class ModelReader:
    """A framework whose models are read and run. None of its code is called in the process that plans and judges.

    Args:
        name: The framework, for messages and ``doctor``.
        backend: The backend in whose process the model is read and run.
        suffixes: The endings of files that hold such a model, in lower case and with their dot.
        recognises: (object) -> whether it is such a model. Imports no framework.
        code: Imports what reads and runs it.
    """

    name: str
    backend: str
    suffixes: tuple[str, ...]
    recognises: Callable[[Any], bool]
    code: Callable[[], ModelCode]


@dataclass
class Unread:
    """The parts of a model that are not read, gathered so that one message names all of them.

    Args:
        framework: Whose model it is.
        parts: (path of the module, what it does there) of each.
    """

    framework: str
    parts: list[tuple[str, str]] = field(default_factory=list)

    def error(self, help_: str) -> SpecError:
        """The error that names them.

        Args:
            help_: What the user can do.
        """
        shown = [f"{path or 'the model itself'}: {what}" for path, what in self.parts[:12]]
        rest = len(self.parts) - len(shown)
        return SpecError(
            f"parts of the {self.framework} model are not read",
            received="; ".join(shown) + (f"; and {rest} more" if rest else ""),
            remedy=help_,
        )


def reader_of(model: Any, readers: Sequence[ModelReader]) -> ModelReader | None:
    """The reader that recognises an object, None where none does."""
    return next((reader for reader in readers if reader.recognises(model)), None)
