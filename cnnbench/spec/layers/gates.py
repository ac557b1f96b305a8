"""What recurrent layers share: the order of their gates, the functions in them, their weights and start states."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple, Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.arrays import SHIFTS, Initializer, WeightSpec, kernels
from cnnbench.spec.layers.base import Layer, Shapes, require_one_of, require_rank

GateFunction = Literal[
    "sigmoid",
    "tanh",
    "relu",
    "softsign",
    "softplus",
    "hard_sigmoid",
    "elu",
    "leaky_relu",
    "thresholded_relu",
    "affine",
    "scaled_tanh",
]
GateOrder = Literal["ifgo", "iofg"]
Biases = Literal["two", "one", "none"]

# The functions that may stand in a gate, with ONNX's alpha and beta where a function takes them; None: no default.
GATE_FUNCTIONS: dict[str, tuple[float | None, ...]] = {
    "sigmoid": (),
    "tanh": (),
    "relu": (),
    "softsign": (),
    "softplus": (),
    "hard_sigmoid": (0.2, 0.5),
    "elu": (1.0,),
    "leaky_relu": (0.01,),
    "thresholded_relu": (1.0,),
    "affine": (None, None),
    "scaled_tanh": (None, None),
}


class Gate(NamedTuple):
    """A function in a gate.

    Args:
        function: Its name in ``GATE_FUNCTIONS``: 1 / (1 + e^-x), tanh x, max(x, 0), x / (1 + |x|), log(1 + e^x),
            max(0, min(1, alpha x + beta)), x or alpha (e^x - 1), x or alpha x, x where x > alpha, alpha x + beta,
            alpha tanh(beta x).
        alpha, beta: Its numbers; 0 where it takes none.
    """

    function: str
    alpha: float = 0.0
    beta: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Gated(Layer):
    """What has gates: the functions in them as three fields of equal length.

    Args:
        activations: The functions, one for each of ``roles``.
        alpha, beta: Their numbers in the same order, 0 for a function that takes none; (): the functions' defaults.
    """

    activations: tuple[GateFunction, ...] = ()
    alpha: tuple[float, ...] = ()
    beta: tuple[float, ...] = ()

    roles: ClassVar[tuple[str, ...]] = ()

    def gates(self) -> tuple[Gate, ...]:
        """The functions with their numbers, of a resolved layer."""
        return tuple(map(Gate, self.activations, self.alpha, self.beta))

    def resolved_gates(self) -> Self:
        """The same layer with every number written out.

        Raises:
            SpecError: Another number of functions than roles, or numbers that do not fit them.
        """
        names, roles = self.activations, self.roles
        if len(names) != len(roles):
            wanted = f"{len(roles)}: {', '.join(roles)}"
            raise SpecError("the number of activations is wrong", received=names, expected=wanted)
        for name in names:
            require_one_of(name, "activations", tuple(GATE_FUNCTIONS))
        return replace(self, alpha=self._numbers("alpha", 0), beta=self._numbers("beta", 1))

    def _numbers(self, field: str, position: int) -> tuple[float, ...]:
        given: tuple[float, ...] = getattr(self, field)
        if given and len(given) != len(self.activations):
            raise FieldError(field, received=given, expected=f"a number for each of {', '.join(self.activations)}")
        found = []
        for i, name in enumerate(self.activations):
            default = (*GATE_FUNCTIONS[name], 0.0, 0.0)[position]
            takes = position < len(GATE_FUNCTIONS[name])
            number = given[i] if given else default
            if number is None or (not takes and number):
                expected = f"a number for {name}" if takes else f"0 for {name}, which takes none"
                raise FieldError(field, received=given or None, expected=expected)
            found.append(float(number))
        return tuple(found)


def gate_rows(order: str, native: str, hidden_size: int) -> tuple[int, ...]:
    """The rows of a weight in ``order`` as they stand in ``native`` order.

    >>> gate_rows("iofg", "ifgo", 1)
    (0, 2, 3, 1)

    Args:
        order: The gates from the first block of rows to the last, a letter each.
        native: The same letters in the order that is wanted.
        hidden_size: The rows of each gate.
    """
    starts = (order.index(gate) * hidden_size for gate in native)
    return tuple(row for start in starts for row in range(start, start + hidden_size))


def gate_weights(gates: int, hidden_size: int, in_features: int, biases: Biases) -> tuple[WeightSpec, ...]:
    """The weights of a recurrent layer.

    Args:
        gates: How many blocks of rows.
        hidden_size: The rows of each.
        in_features: The length of the input at each step.
        biases: Which biases there are.
    """
    initializer = Initializer("uniform", 1 / math.sqrt(hidden_size))
    rows = gates * hidden_size
    names = {"two": ("bias_ih", "bias_hh"), "one": ("bias",), "none": ()}[biases]
    return (
        WeightSpec("weight_ih", (rows, in_features), initializer, general=kernels(in_features)),
        WeightSpec("weight_hh", (rows, hidden_size), initializer, general=Initializer("normal", hidden_size**-0.5)),
        *(WeightSpec(name, (rows,), initializer, decay=False, general=SHIFTS) for name in names),
    )


def check_sequence(inputs: Shapes, kind: str, hidden_size: int, starts: int) -> None:
    """Raises SpecError unless the inputs are a sequence of at least one step and all of its starts, or none.

    Args:
        inputs: Their shapes.
        kind: The layer's.
        hidden_size: The length of each start state.
        starts: How many start states the layer takes.
    """
    require_rank(inputs[0], kind, least=3, most=3)
    if not inputs[0][1] or not inputs[0][2]:
        raise SpecError(
            "the sequence is empty", received=inputs[0], expected="(N, T, I) with at least one step and feature"
        )
    if len(inputs) not in (1, 1 + starts):
        raise SpecError(
            "the number of inputs is wrong",
            received=len(inputs),
            expected=f"1, or {1 + starts} with every start state",
            remedy="give the start of both h and c, or of neither",
        )
    expected = (inputs[0][0], hidden_size)
    for shape in inputs[1:]:
        if shape != expected:
            raise SpecError("a start state has the wrong shape", received=shape, expected=expected)
