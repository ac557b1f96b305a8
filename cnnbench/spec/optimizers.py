"""Optimisers as data: update rules, their slots, and which weights decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from cnnbench.errors import FieldError, SpecError, did_you_mean
from cnnbench.spec.clipping import clipping_from_fields
from cnnbench.spec.fields import construct
from cnnbench.spec.graph import Graph
from cnnbench.spec.quasi_newton import LimitedMemoryBFGS as LimitedMemoryBFGS
from cnnbench.spec.update_rule import OPTIMIZERS, DecayGroup
from cnnbench.spec.update_rule import Optimizer as Optimizer


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer, kind="sgd"):
    """Stochastic gradient descent with momentum and coupled L2 decay.

    g <- gradient + weight_decay * w (where w decays); m <- momentum * m + (1 - dampening) * g;
    w <- w - rate * (g + momentum * m if nesterov else m). Slot ``momentum`` holds m (PyTorch's convention: the
    rate is outside of m); without momentum there is none. Undamped at first, m begins as g, and ``started`` becomes 1.

    Args:
        momentum: 0 for plain gradient descent.
        nesterov: Look ahead (Sutskever et al. 2013, in PyTorch's form).
        weight_decay: The L2 coefficient.
        dampening: How much of a new gradient is left out of m.
        damp_first: Whether that holds for the first step, too. In PyTorch it does not.
    """

    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    dampening: float = 0.0
    damp_first: bool = False

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum", *self.counters) if self.momentum else ()

    @property
    def counters(self) -> tuple[str, ...]:
        return ("started",) if self.dampening and not self.damp_first else ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_shares(momentum=self.momentum, weight_decay=self.weight_decay, dampening=self.dampening)
        if self.dampening and (self.nesterov or not self.momentum):
            raise SpecError("dampening needs plain momentum", received=self, expected="momentum, nesterov false")


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer, kind="adam"):
    """Adam (Kingma, Ba 2014, algorithm 1) with coupled L2 decay.

    t <- t + 1; g <- gradient + weight_decay * w (where w decays);
    m <- beta1 * m + (1 - beta1) * g; v <- beta2 * v + (1 - beta2) * g^2;
    w <- w - rate * (m / c1) / (sqrt(v / c2) + epsilon), where c1 = 1 - beta1^t and c2 = 1 - beta2^t.

    Slots ``mean`` (m), ``square`` (v) and ``step`` (t, an integer for each weight). They are never narrower than
    float32: beta2 = 0.999 is 1 in bfloat16.

    Args:
        beta1, beta2: How much of each running mean stays.
        epsilon: Keeps the quotient finite.
        epsilon_place: ``"outside"`` of the root as above (the paper, PyTorch, optax' ``eps``); ``"inside"``:
            sqrt(v / c2 + epsilon) (optax' ``eps_root``); ``"uncorrected"``: sqrt(v / c2) + epsilon / sqrt(c2), so that
            it stands beside the root of v itself (Keras, TensorFlow, the paper's section 2).
        bias_correction: False: c1 = c2 = 1.
        weight_decay: The L2 coefficient.
    """

    wide_slots: ClassVar[bool] = True

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    epsilon_place: Literal["outside", "inside", "uncorrected"] = "outside"
    bias_correction: bool = True
    weight_decay: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        return ("mean", "square", "step")

    @property
    def counters(self) -> tuple[str, ...]:
        return ("step",)

    @property
    def decoupled(self) -> bool:
        """Whether decay moves the weight itself, and not its gradient."""
        return False

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_shares(beta1=self.beta1, beta2=self.beta2, weight_decay=self.weight_decay)
        _require_epsilon(self.epsilon, self.epsilon_place, ("outside", "inside", "uncorrected"))


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam, kind="adamw"):
    """Adam whose weight decay is decoupled from the gradient (Loshchilov, Hutter 2017).

    As ``Adam`` with g = gradient, and w <- w - rate * weight_decay * w (where w decays) beside its step. The rate
    multiplies the decay, as in PyTorch, optax and Keras; in the paper only the schedule does.
    """

    weight_decay: float = 0.01

    @property
    def decoupled(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class RMSprop(Optimizer, kind="rmsprop"):
    """RMSprop (Hinton 2012; centred: Graves 2013) with coupled L2 decay and momentum of the normalised gradient.

    g <- gradient + weight_decay * w (where w decays); v <- smoothing * v + (1 - smoothing) * g^2;
    a <- smoothing * a + (1 - smoothing) * g where centered, else 0; u <- g / (sqrt(v - a^2) + epsilon);
    m <- momentum * m + u; w <- w - rate * m.

    Slots ``square`` (v), with ``centered`` ``mean`` (a), with momentum ``momentum`` (m, without the rate: in
    Keras and optax it is within). Never narrower than float32.

    Args:
        smoothing: How much of the running means stays (0.99 in PyTorch, 0.9 in Keras and optax).
        epsilon: Keeps the quotient finite.
        epsilon_place: ``"outside"`` of the root (PyTorch), or ``"inside"``: sqrt(v - a^2 + epsilon) (Keras, optax).
        centered: Divide by an estimate of the deviation.
        momentum: 0 for none.
        weight_decay: The L2 coefficient.
    """

    wide_slots: ClassVar[bool] = True

    smoothing: float = 0.99
    epsilon: float = 1e-8
    epsilon_place: Literal["outside", "inside"] = "outside"
    centered: bool = False
    momentum: float = 0.0
    weight_decay: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        return ("square", *["mean"] * self.centered, *["momentum"] * (self.momentum > 0))

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_shares(smoothing=self.smoothing, momentum=self.momentum, weight_decay=self.weight_decay)
        _require_epsilon(self.epsilon, self.epsilon_place, ("outside", "inside"))


@dataclass(frozen=True, kw_only=True)
class Adagrad(Optimizer, kind="adagrad"):
    """Adagrad (Duchi, Hazan, Singer 2011) with coupled L2 decay.

    g <- gradient + weight_decay * w (where w decays); s <- s + g^2; w <- w - rate * g / (sqrt(s) + epsilon).

    Slot ``sum`` (s), never narrower than float32.

    Args:
        epsilon: Keeps the quotient finite.
        epsilon_place: ``"outside"`` of the root (PyTorch), or ``"inside"``: sqrt(s + epsilon) (Keras, optax).
        initial: s before the first step (0 in PyTorch, 0.1 in Keras and optax).
        weight_decay: The L2 coefficient.
    """

    wide_slots: ClassVar[bool] = True

    epsilon: float = 1e-10
    epsilon_place: Literal["outside", "inside"] = "outside"
    initial: float = 0.0
    weight_decay: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        return ("sum",)

    def start(self, slot: str) -> float:
        return self.initial

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_shares(initial=self.initial, weight_decay=self.weight_decay)
        _require_epsilon(self.epsilon, self.epsilon_place, ("outside", "inside"))


def _require_shares(**values: float) -> None:
    for field, value in values.items():
        if not 0 <= value < 1:
            raise FieldError(field, received=value, expected="a number from 0 to below 1")


def _require_epsilon(epsilon: float, place: str, places: tuple[str, ...]) -> None:
    if not 0 < epsilon < 1:
        raise FieldError("epsilon", received=epsilon, expected="a number above 0 and below 1")
    if place not in places:
        raise FieldError("epsilon_place", received=place, expected=" or ".join(map(repr, places)))


def decays(graph: Graph, group: DecayGroup) -> dict[str, bool]:
    """For each trainable weight by full name, whether weight decay applies to it."""
    return {spec.name: group == "all" or spec.decay for spec in graph.named_weights() if spec.trainable}


def optimizer_from_fields(kind: str, fields: dict[str, Any]) -> Optimizer:
    """An optimiser from plain data. Raises SpecError for an unknown kind or field, or a value of the wrong type."""
    if kind not in OPTIMIZERS:
        raise SpecError(f"unknown optimizer {kind!r}", remedy=did_you_mean(kind, OPTIMIZERS))
    if "clipping" in fields:
        fields = {**fields, "clipping": clipping_from_fields(fields["clipping"])}
    return construct(OPTIMIZERS[kind], kind, fields)
