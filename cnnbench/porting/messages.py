"""What the process that runs a user's code is asked, and what it answers: validated at both ends."""

from __future__ import annotations

from typing import Any

from cnnbench.errors import CnnbenchError, SpecError
from cnnbench.spec.frozen import Frozen
from cnnbench.spec.interchange.model_readers import ModelReference


class ReadRequest(Frozen):
    """A request to read a user's model, and to run it if ``batch`` is above 0.

    Args:
        reference: Of the user's code or file.
        image: (C, *spatial) of its input; () for its own.
        batch: Images of a run of the model as it is; 0 for none.
        seed: Of these images.
        mode: How its framework runs it.
        training: Whether the run is differentiated, and made in training mode too.
    """

    reference: ModelReference
    image: tuple[int, ...] = ()
    batch: int = 0
    seed: int = 0
    mode: str = "eager"
    training: bool = False


class ReadReply(Frozen):
    """The model; its arrays lie beside the reply.

    Args:
        graph: The network as JSON.
        notes: What it does not show.
        framework, backend: Whose model it is, and in which backend's process it was read.
        weights: The digest of its weights as its framework holds them.
        inputs_last, outputs_last, noises: As ``ReadModel`` has them.
        only_batch: The only batch that the model takes; None where it takes any.
        moved_weights: The weights that the graph holds as the model does, whose gradients lie beside the reply; None
            where the model was not differentiated.
        trained_outputs: How many outputs the model gives in training mode; None where it was not run in it. They lie
            beside the reply where they do not depend on what the model draws, and so do its running statistics.
        untrained: Why a model that has a training mode was not run in it; "" where it was.
    """

    graph: dict[str, Any]
    notes: tuple[str, ...]
    framework: str
    backend: str
    weights: str
    inputs_last: tuple[bool, ...]
    outputs_last: tuple[bool, ...]
    only_batch: int | None
    noises: tuple[tuple[str, str], ...]
    moved_weights: tuple[str, ...] | None
    trained_outputs: int | None
    untrained: str


class ReadFailure(Frozen):
    """An error of ``cnnbench.errors`` in place of a reply, in its parts."""

    kind: str
    message: str
    where: str | None
    received: str | None
    expected: str | None
    remedy: str | None

    @staticmethod
    def of(error: CnnbenchError) -> ReadFailure:
        """The parts of an error, as text."""
        details = (error.where, error.received, error.expected, error.remedy)
        where, received, expected, remedy = (None if item is None else str(item) for item in details)
        return ReadFailure(
            kind=type(error).__name__,
            message=error.message,
            where=where,
            received=received,
            expected=expected,
            remedy=remedy,
        )

    def error(self) -> CnnbenchError:
        """The error again, of its own class where that takes nothing else."""
        kinds = {kind.__name__: kind for kind in CnnbenchError.__subclasses__()}
        details = self.model_dump(exclude={"kind", "message"})
        return kinds.get(self.kind, SpecError)(self.message, **details)


class ReadAnswer(Frozen):
    """Either of the two."""

    answer: ReadReply | ReadFailure
