"""Which program of a user a worker runs as it is."""

from __future__ import annotations

from dataclasses import dataclass

from cnnbench.spec.interchange.model_readers import ModelReference


@dataclass(frozen=True)
class OwnProgram:
    """A user's own model, to be run by its framework and not by a backend's ops.

    Args:
        place, function: Of its ``ModelReference``; the place is an absolute path, or a module's name.
        mode: How its framework runs it: ``eager``, ``compile``, ``jit``, ``graph``, ``xla``, ``optimized``, ``plain``.
        image: (C, *spatial) of its input as it was asked for; () for its own.
        graph: The digest of the graph that was read of it: it stands for this graph and for no other.
        arrays: The digest of that graph's arrays, rounded to the precision's storage type.
        weights: The digest of its weights as its framework holds them.
        inputs_last, outputs_last: Whether each input and output of the model itself has its channels last.
        batch: The only batch that it takes; None where it takes any.
    """

    place: str
    function: str | None
    mode: str
    image: tuple[int, ...]
    graph: str
    arrays: str
    weights: str
    inputs_last: tuple[bool, ...]
    outputs_last: tuple[bool, ...]
    batch: int | None = None

    @property
    def reference(self) -> ModelReference:
        """What names it."""
        return ModelReference(self.place, self.function)
