"""How a suite trains: the settings of its training, and the recipes in which they vary."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from cnnbench.harness.suite.matrix import Flag, Names, Number, PositiveFloat, PositiveInt, Whole, listed
from cnnbench.spec.content import content_digest
from cnnbench.spec.frozen import Frozen

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
MOST_RECIPES = 200
NOT_OF_A_TRAINING = {"architectures", "envelope_runs", "recipes"}  # whatever they are, a training runs alike
LATER_KEYS = ("initializer", "target")  # which suites did not have at first; without one, the keys of cells stay
LATER_AUGMENTATION = ("jitter", "rotation", "scale")
WORDS = {"crop_padding": "crop"}  # of augmentations, where a shorter one does


def _kind(value: Any) -> Any:
    """A loss, an optimiser or a schedule may be written as its bare kind."""
    return {"kind": value} if isinstance(value, str) else value


def _not_finite(fields: dict[str, Any]) -> str | None:
    """The name of a field that holds an infinite number or none, at any depth."""

    def holds(value: Any) -> bool:
        if isinstance(value, dict):
            return any(map(holds, value.values()))
        if isinstance(value, list | tuple):
            return any(map(holds, value))
        return isinstance(value, float) and not math.isfinite(value)

    return next((name for name, value in fields.items() if holds(value)), None)


class Component(Frozen, extra="allow"):
    """A loss, an optimiser or a schedule: its kind and its fields, or the bare kind."""

    kind: str

    @model_validator(mode="after")
    def _finite(self) -> Component:
        if (name := _not_finite(self.fields)) is not None:
            raise ValueError(f"a finite number for {name}")
        return self

    @property
    def fields(self) -> dict[str, Any]:
        """Everything but the kind."""
        return dict(self.__pydantic_extra__ or {})


Part = Annotated[Component, BeforeValidator(_kind, json_schema_input_type=str | Component)]


class AugmentationSettings(Frozen):
    """How training images vary.

    Args:
        flip, crop_padding, cutout, mixup, jitter, rotation, scale: As ``Augmentation`` has them.
    """

    flip: Flag = False
    crop_padding: Whole = Field(default=0, ge=0)
    cutout: Whole = Field(default=0, ge=0)
    mixup: Number = Field(default=0.0, ge=0)
    jitter: Number = Field(default=0.0, ge=0, le=1)
    rotation: Number = Field(default=0.0, ge=0, le=180)
    scale: Number = Field(default=0.0, ge=0, le=0.9)


Parts = Annotated[
    tuple[Part, ...], BeforeValidator(listed, json_schema_input_type=Part | list[Part]), Field(min_length=1)
]
Rates = Annotated[
    tuple[PositiveFloat, ...],
    BeforeValidator(listed, json_schema_input_type=PositiveFloat | list[PositiveFloat]),
    Field(min_length=1),
]
Augmentations = Annotated[
    tuple[AugmentationSettings, ...],
    BeforeValidator(listed, json_schema_input_type=AugmentationSettings | list[AugmentationSettings]),
    Field(min_length=1),
]
AXES = ("optimizer", "learning_rate", "schedule", "augmentation")  # which may be lists, in the order of names


class Recipe(Frozen):
    """A way to train, or the product of its lists; what is absent is that of the training to which it belongs.

    Args:
        name: How its cells are called; absent: by the optimiser's kind. Values of its lists are appended.
        optimizer, learning_rate, schedule, augmentation: One, or a list.
        loss, initializer, epochs, batch: As a training has them.
    """

    name: str | None = Field(default=None, pattern=NAME, max_length=40)
    optimizer: Parts | None = None
    learning_rate: Rates | None = None
    schedule: Parts | None = None
    augmentation: Augmentations | None = None
    loss: Part | None = None
    initializer: str | None = None
    epochs: PositiveInt | None = None
    batch: PositiveInt | None = None

    @property
    def count(self) -> int:
        """How many ways to train it is."""
        return math.prod(len(values) for axis in AXES if (values := getattr(self, axis)) is not None)


Recipes = Annotated[tuple[Recipe, ...], BeforeValidator(listed, json_schema_input_type=Recipe | list[Recipe])]


class NamedTraining(NamedTuple):
    """One way to train.

    Args:
        name: For people; None where the suite trains in one way.
        settings: All of them; no recipes.
        place: The recipe's number; None where there is none.
    """

    name: str | None
    settings: Train
    place: int | None = None

    @property
    def asked(self) -> dict[str, Any]:
        """What it asks, as plain data, for keys."""
        unasked = {name for name in LATER_KEYS if getattr(self.settings, name) is None}
        found = self.settings.model_dump(mode="json", exclude=NOT_OF_A_TRAINING | unasked)
        varied = found["augmentation"]
        return found | {"augmentation": {k: v for k, v in varied.items() if v or k not in LATER_AUGMENTATION}}

    @property
    def digest(self) -> str | None:
        """Of what it asks; None where the suite trains in one way."""
        return None if self.name is None else content_digest(self.asked)[:16]


class Train(Frozen):
    """Training runs: the same seeds, batches and initial weights on every backend.

    Args:
        architectures: Which of the matrix train: once for each backend, mode, precision, device and threads.
        data: The dataset, brought to the cell's image shape. batch: images a step.
        learning_rate: The base rate. schedule: how it changes: ``constant``, ``step``, ``cosine`` ..., with fields.
        initializer: By which named rule weights start; null for what the layers say.
        train_images, test_images: At most so many, chosen by the seed; null for all.
        target: It ends after the first epoch that is as good in the main metric, accuracy of a classifier.
        envelope_runs: Perturbed runs of NumPy from which the envelope of the curves is made.
        recipes: Several ways to train, each in cells of its own; none for the one that the other settings are.
    """

    architectures: Names
    data: str = "digits"
    epochs: PositiveInt = 3
    batch: PositiveInt = 64
    optimizer: Part = Component(kind="sgd")
    loss: Part = Component(kind="cross_entropy")
    learning_rate: PositiveFloat = 0.05
    schedule: Part = Component(kind="constant")
    augmentation: AugmentationSettings = AugmentationSettings()
    initializer: str | None = None
    train_images: PositiveInt | None = None
    test_images: PositiveInt | None = None
    target: Number | None = None
    envelope_runs: PositiveInt = 3
    recipes: Recipes = ()

    @model_validator(mode="after")
    def _few_enough(self) -> Train:
        if self.count > MOST_RECIPES:
            raise ValueError(f"at most {MOST_RECIPES:,} recipes, not {self.count:,}")
        return self

    @property
    def count(self) -> int:
        """How many ways to train there are, without making one."""
        return sum(recipe.count for recipe in self.recipes) if self.recipes else 1

    def trainings(self) -> tuple[NamedTraining, ...]:
        """The ways to train, each with a name of its own where there are recipes."""
        if not self.recipes:
            return (NamedTraining(None, self),)
        found: dict[str, NamedTraining] = {}
        for place, recipe in enumerate(self.recipes):
            for name, settings in self._ways(recipe):
                found.setdefault(_free(name, found), NamedTraining(name, settings, place))
        return tuple(training._replace(name=name) for name, training in found.items())

    def _ways(self, recipe: Recipe) -> Iterator[tuple[str, Train]]:
        """(name, settings) of each way of a recipe."""
        given = recipe.model_dump(include={"initializer", "epochs", "batch"}, exclude_none=True)
        given |= {} if recipe.loss is None else {"loss": recipe.loss}
        lists = {axis: getattr(recipe, axis) or (getattr(self, axis),) for axis in AXES}
        for values in product(*lists.values()):
            chosen = dict(zip(AXES, values, strict=True))
            settings = self.model_copy(update={**given, **chosen, "recipes": ()})
            said = {axis: _word(value) for axis, value in chosen.items() if len(lists[axis]) > 1}
            first = recipe.name or said.pop("optimizer", _word(chosen["optimizer"]))
            yield "-".join([first, *said.values()]), settings


def _word(value: Component | AugmentationSettings | float) -> str:
    """How a value of a list is called in the names of recipes."""
    if isinstance(value, Component):
        return value.kind
    if isinstance(value, AugmentationSettings):
        used = (WORDS.get(name, name) for name, amount in value.model_dump().items() if amount)
        return "_".join(used) or "plain"
    return f"{value:g}"


def _free(name: str, taken: dict[str, NamedTraining]) -> str:
    """The name, with a number where it is taken; folders may be called by it, where capitals may not count."""
    names, number, found = {other.lower() for other in taken}, 1, name
    while found.lower() in names:
        number += 1
        found = f"{name}-{number}"
    return found
