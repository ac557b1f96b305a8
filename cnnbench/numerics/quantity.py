"""What a check compares of a node: a value that programs compare and keep, and from which text is made for people."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cnnbench.spec.frozen import Figures

Role = Literal["output", "state", "input_gradient", "weight_gradient", "loss_gradient", "loss_value"]
NAMED = ("state", "weight_gradient")


class Quantity(Figures):
    """What of a node is compared, such as ``Quantity.weight_gradient("weight")``, which reads "gradient of weight".

    Args:
        role: An output, a running statistic after a training pass (``state``), the gradient of an input or of a weight,
            the loss's gradient with respect to the network's main output, or the loss itself.
        index: Which output or input; 0 for the others.
        name: The weight's or the running statistic's within its node; empty for the others.
        training: Whether an output is one of a training pass.
    """

    role: Role
    index: int = Field(default=0, ge=0)
    name: str = ""
    training: bool = False

    @model_validator(mode="after")
    def _has_what_its_role_needs(self) -> Quantity:
        if (self.role in NAMED) != bool(self.name):
            raise ValueError(f"a quantity has a name where it is one of {', '.join(NAMED)}, and only there")
        if self.index and self.role not in ("output", "input_gradient"):
            raise ValueError("only outputs and input gradients are counted")
        if self.training and self.role != "output":
            raise ValueError("only an output is of a training pass or not")
        return self

    @staticmethod
    def output(index: int = 0, *, training: bool = False) -> Quantity:
        """A node's output."""
        return Quantity(role="output", index=index, training=training)

    @staticmethod
    def state(name: str) -> Quantity:
        """A node's running statistic after a training pass."""
        return Quantity(role="state", name=name)

    @staticmethod
    def input_gradient(index: int) -> Quantity:
        """The gradient with respect to a node's input."""
        return Quantity(role="input_gradient", index=index)

    @staticmethod
    def weight_gradient(name: str) -> Quantity:
        """The gradient with respect to a node's weight."""
        return Quantity(role="weight_gradient", name=name)

    @staticmethod
    def loss_gradient() -> Quantity:
        """The loss's gradient with respect to the network's main output."""
        return Quantity(role="loss_gradient")

    @staticmethod
    def loss_value() -> Quantity:
        """The loss itself."""
        return Quantity(role="loss_value")

    @property
    def is_gradient(self) -> bool:
        """Whether a gradient pass gives it."""
        return self.role in ("input_gradient", "weight_gradient", "loss_gradient", "loss_value")

    @property
    def in_training(self) -> bool:
        """Whether a forward pass gives it in training only."""
        return self.training or self.role == "state"

    @property
    def text(self) -> str:
        """For people; no program reads it."""
        if self.role == "output":
            return ("output" if not self.index else f"output {self.index}") + (" in training" if self.training else "")
        texts = {
            "state": self.name,
            "input_gradient": f"input gradient {self.index}",
            "weight_gradient": f"gradient of {self.name}",
            "loss_gradient": "gradient of the output",
            "loss_value": "value",
        }
        return texts[self.role]

    def __str__(self) -> str:
        return self.text
