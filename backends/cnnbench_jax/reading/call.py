"""One operation of a jaxpr with its operands, and the table of what reads each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from cnnbench_jax.reading.draft import Draft, Drafted, FixedArray, Operand

Handler: TypeAlias = "Callable[[JaxCall], Operand]"
HANDLERS: dict[str, Handler] = {}


def reads(*primitives: str) -> Callable[[Handler], Handler]:
    """Registers what reads some operations.

    Args:
        primitives: Their names in a jaxpr.
    """

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(primitives, handler))
        return handler

    return register


@dataclass(frozen=True)
class JaxCall:
    """One operation.

    Args:
        primitive: Its name.
        operands: What it reads.
        parameters: Of the primitive.
        sources: The operands' shapes with a batch of ``BATCH``.
        shape: Of its result, likewise.
        draft: The network so far.
    """

    primitive: str
    operands: tuple[Operand, ...]
    parameters: dict[str, Any]
    sources: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]
    draft: Draft

    def __getitem__(self, name: str) -> Any:
        return self.parameters[name]

    def value(self, position: int = 0) -> Drafted:
        """An operand as a value of the network."""
        return self.draft.value(self.operands[position])

    def fixed(self, position: int) -> FixedArray | None:
        """An operand that depends on no input, else None."""
        found = self.operands[position]
        return found if isinstance(found, FixedArray) else None

    def number(self, position: int) -> float | None:
        """An operand that is one constant number, else None."""
        found = self.fixed(position)
        return None if found is None else found.number()

    def add(self, layer: Any, *inputs: Drafted, **arrays: FixedArray | None) -> Drafted:
        """As ``Draft.add``."""
        return self.draft.add(layer, *inputs, **arrays)
