"""Arrays on the host by name: what programs give back, and the check of what they are given."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnbench.errors import DataError, did_you_mean
from cnnbench.spec.layers import Dtype, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

HostArrays = Mapping[str, "NDArray[Any]"]


def cotangent_name(output: str) -> str:
    """The input of a gradient program without a loss that takes the gradient of an output."""
    return f"gradient.{output}"


class HostResult(NamedTuple):
    """A forward pass on the host: outputs by output name in canonical layout, and the state after it."""

    outputs: dict[str, NDArray[Any]]
    state: dict[str, NDArray[Any]]


class HostGradients(NamedTuple):
    """A gradient pass on the host: the loss, gradients by weight and input name in canonical layout, and the state."""

    loss: float
    weights: dict[str, NDArray[Any]]
    inputs: dict[str, NDArray[Any]]
    state: dict[str, NDArray[Any]]


class SlotName(str):
    """Names an array that an optimiser keeps beside a weight; files hold its text, ``<weight>/<slot>``.

    Args:
        weight: The weight's full name.
        slot: As the update rule calls it, such as ``momentum``.
        phase: The phase of a training program whose optimiser it is, which the text then begins with.
    """

    __slots__ = ("phase", "slot", "weight")
    weight: str
    slot: str
    phase: str

    def __new__(cls, weight: str, slot: str, phase: str = "") -> SlotName:
        name = super().__new__(cls, "/".join(filter(None, (phase, weight, slot))))
        name.weight, name.slot, name.phase = weight, slot, phase
        return name

    def __reduce__(self) -> tuple[type[SlotName], tuple[str, str, str]]:
        return SlotName, (self.weight, self.slot, self.phase)

    @staticmethod
    def read(text: str) -> SlotName:
        """The name whose text a file holds, of a network's own slots."""
        weight, _, slot = text.rpartition("/")
        return SlotName(weight, slot)


HostSlots = Mapping[SlotName, "NDArray[Any]"]


class HostTraining(NamedTuple):
    """A training state on the host: weights, running statistics, and slots by their ``SlotName``."""

    weights: dict[str, NDArray[Any]]
    state: dict[str, NDArray[Any]]
    slots: dict[SlotName, NDArray[Any]]

    @staticmethod
    def read(arrays: HostArrays) -> HostTraining:
        """The state whose arrays a file holds, as ``joined`` names them."""
        groups = grouped(arrays)
        slots = {SlotName.read(name): array for name, array in groups.get("slots", {}).items()}
        return HostTraining(groups.get("weights", {}), groups.get("state", {}), slots)


def joined(groups: Mapping[str, HostArrays]) -> dict[str, NDArray[Any]]:
    """Groups of arrays as a file holds them, each array by ``<group>/<name>``."""
    return {f"{group}/{name}": array for group, arrays in groups.items() for name, array in arrays.items()}


def grouped(arrays: HostArrays) -> dict[str, dict[str, NDArray[Any]]]:
    """The groups of ``joined`` again; names within them may hold slashes of their own."""
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    for full, array in arrays.items():
        group, _, name = full.partition("/")
        groups.setdefault(group, {})[name] = array
    return groups


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One host array that a program needs.

    Args:
        role: What it is, in words: ``input``, ``dropout mask``, ``weight`` ...
        name: Under which it is given.
        shape: Its canonical shape.
        dtype: ``float`` takes every real number, ``int`` integers only.
    """

    role: str
    name: str
    shape: Shape
    dtype: Dtype = "float"

    def take(self, arrays: HostArrays, where: str) -> NDArray[Any]:
        """The array of this name: integers as int64, real numbers in the floating type that they have, else float64.

        In this machine's byte order; a long double, which no framework has, as float64.

        Raises DataError where it is missing, or has another shape or a dtype of another kind.
        """
        import numpy as np

        if self.name not in arrays:
            wanted = "integers" if self.dtype == "int" else "real numbers"
            raise DataError(
                f"the {self.role} {self.name!r} is missing",
                where=where,
                expected=f"{wanted} of shape {self.shape}",
                remedy=did_you_mean(self.name, arrays) if arrays else None,
            )
        array = np.asarray(arrays[self.name])
        kind = array.dtype.kind
        if self.dtype == "int":
            if kind not in "iu":
                raise self._wrong("dtype", array.dtype, "integers", where)
            array = array.astype(np.int64, copy=False)
        elif kind in "iub" or (kind == "f" and array.dtype.itemsize > np.dtype(np.float64).itemsize):
            array = array.astype(np.float64)
        elif kind == "f":
            array = array.astype(array.dtype.newbyteorder("="), copy=False)
        elif array.dtype.name != "bfloat16":  # bfloat16 as NumPy's extension type
            raise self._wrong("dtype", array.dtype, "real numbers", where)
        if array.shape != self.shape:
            raise self._wrong("shape", array.shape, self.shape, where)
        return array

    def _wrong(self, what: str, received: object, expected: object, where: str) -> DataError:
        return DataError(
            f"the {self.role} {self.name!r} has the wrong {what}", where=where, received=received, expected=expected
        )


def refuse_unknown(arrays: HostArrays, known: Collection[str], role: str, where: str) -> None:
    """Raises DataError for the first array whose name is not known.

    Args:
        arrays: What was given.
        known: The names that are right.
        role: What such an array is, in words.
        where: What messages call the place.
    """
    for name in arrays:
        if name not in known:
            remedy = did_you_mean(name, known) if known else "leave it out"
            raise DataError(f"there is no {role} {name!r}", where=where, remedy=remedy)
