"""Negative log-likelihood, and the identity that stops gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.arrays import Shape
from cnnbench.spec.layers.base import Example, Layer, Shapes, require_one_of, require_rank


@dataclass(frozen=True, kw_only=True)
class StopGradient(Layer, kind="stop_gradient"):
    """The value itself, through which no gradient goes. Shapes: any -> the same."""

    no_gradient_to = (0,)


@dataclass(frozen=True, kw_only=True)
class NLLLoss(Layer, kind="nll_loss"):
    """The negative of the target class' value: l_n = -w_t x_{n,t}.

    Args:
        reduction: ``none``, ``sum``, or ``mean``: sum_n l_n / sum_n w_t, over targets that are not ignored.
        ignore_index: A target that counts as nothing: its element is 0 and it is in no mean. None: all count.
        label_smoothing: e: l_n becomes (1 - e) l_n - e / K sum_k w_k x_{n,k} (arXiv:1512.00567, section 7); the mean's
            divisor stays as it is.

    Shapes:
        log-probabilities (N, K, *spatial), targets (N, *spatial) integers from 0 to K - 1 [, class weights (K,)] ->
        (N, *spatial) for ``none``, else (). No gradient goes to the class weights.
        Source: PyTorch's NLLLoss and CrossEntropyLoss; ONNX's NegativeLogLikelihoodLoss.
    """

    reduction: Literal["none", "mean", "sum"] = "mean"
    ignore_index: int | None = -100
    label_smoothing: float = 0.0

    example = Example((1, 6), (1,))
    num_inputs = (2, 3)
    int_inputs = (1,)
    no_gradient_to = (2,)
    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        check_classes(inputs, self.kind, self.reduction, self.label_smoothing)
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        return (inputs[1] if self.reduction == "none" else (),)


def check_classes(inputs: Shapes, kind: str, reduction: str, label_smoothing: float) -> None:
    """Raises SpecError where predictions, targets and class weights do not fit.

    Args:
        inputs: The shapes of scores (N, K, *spatial), targets (N, *spatial) and, where there are three, class weights
            (K,).
        kind: The layer's, for errors.
        reduction: ``none``, ``mean`` or ``sum``.
        label_smoothing: The share of the target that is spread over all classes, from 0 to below 1.
    """
    scores, target = inputs[:2]
    require_rank(scores, kind, least=2)
    require_one_of(reduction, "reduction", ("none", "mean", "sum"))
    expected: Shape = (scores[0], *scores[2:])
    if target != expected:
        raise SpecError("the targets have the wrong shape", received=target, expected=expected)
    if len(inputs) == 3 and inputs[2] != scores[1:2]:
        raise SpecError("the class weights have the wrong shape", received=inputs[2], expected=scores[1:2])
    if not 0 <= label_smoothing < 1:
        raise FieldError("label_smoothing", received=label_smoothing, expected="0 to below 1")
