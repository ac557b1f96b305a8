"""The datasets that the sources of a training program read, at the shapes in which they read them."""

from __future__ import annotations

from collections.abc import Mapping

from cnnbench.errors import SpecError
from cnnbench.spec.layers import Shape
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest, Dataset
from cnnbench.training.programs.program import TrainingProgram
from cnnbench.training.programs.runner import RoundSettings
from cnnbench.training.programs.sources import FromData

IMAGES = "images"


def image_shapes(program: TrainingProgram) -> dict[str, Shape]:
    """(C, *spatial) of the images of each dataset that a program reads, by the program's name of it.

    Raises:
        SpecError: One dataset is read in two shapes, or without its images.
    """
    items = {item.name: item for phase in program.phases for item in phase.graph.inputs}
    found: dict[str, Shape | None] = {}
    for name, source in program.sources.items():
        if isinstance(source, FromData):
            shape = found.setdefault(source.dataset, None)
            if source.what != IMAGES:
                continue
            if shape not in (None, items[name].shape):
                raise SpecError(
                    f"{program.name} reads the images of {source.dataset!r} in two shapes",
                    received=(shape, items[name].shape),
                )
            found[source.dataset] = items[name].shape
    lacking = next((name for name, shape in found.items() if shape is None), None)
    if lacking is not None:
        raise SpecError(f"{program.name} reads no images of {lacking!r}, so that their size is not known")
    return {name: shape for name, shape in found.items() if shape is not None}


def load_data(program: TrainingProgram, settings: RoundSettings) -> Mapping[str, Dataset]:
    """The images on which a program trains, by the names that its sources use.

    Args:
        program: That reads them.
        settings: Which they are, and how many images.

    Raises:
        SpecError: A dataset is not named, or as ``image_shapes``.
        DataError, UnavailableError: As ``load_dataset``.
    """
    named, found = dict(settings.data), {}
    for name, shape in image_shapes(program).items():
        if name not in named:
            raise SpecError(
                f"{program.name} reads a dataset {name!r}, and none is named for it", received=sorted(named)
            )
        found[name] = load_dataset(named[name], DataRequest("train", shape, settings.train_images, settings.seed))
    return found
