"""Makes a user's own model: calls the function that a reference names, or loads its file.

The user's code runs in the process that calls this: one that only reads or runs that model.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any, NamedTuple

from cnnbench.errors import CnnbenchError, DataError, SpecError, UnavailableError, did_you_mean
from cnnbench.registry import model_readers
from cnnbench.spec.interchange.model_readers import GivenInputs, ModelReader, ModelReference, reader_of


class OwnModel(NamedTuple):
    """A user's model with its reader, and what is known of its inputs."""

    reader: ModelReader
    model: Any
    inputs: GivenInputs


def make_model(reference: ModelReference, image: tuple[int, ...] = ()) -> OwnModel:
    """The model that a reference names.

    Args:
        reference: Of the user's code or file.
        image: (C, *spatial) of its input as it is asked for; () where it is not.

    Raises:
        CnnbenchError: There is no such file, module or function; the user's code raises; it gives no model.
    """
    readers = model_readers()
    if reference.function is None:
        path = Path(reference.place)
        if not path.exists():
            raise DataError("the model's file does not exist", where=str(path))
        of_file = next(item for item in readers if path.name.lower().endswith(item.suffixes))
        return OwnModel(of_file, of_file.code().load(path), GivenInputs(image=image))
    made = _called(reference)
    for count in (0, 1):  # alone, or followed by what goes into it
        model, rest = (made, None) if count == 0 else _parted(made)
        reader = reader_of(model, readers)
        if reader is not None:
            return OwnModel(reader, model, _inputs(rest, image, str(reference)))
    raise SpecError(
        "the function gives no model that is read",
        where=str(reference),
        received=f"{type(made).__module__}.{type(made).__qualname__}",
        expected=", ".join(f"a model of {item.name}" for item in readers) + "; or (model, its inputs' shapes)",
    )


def _parted(made: Any) -> tuple[Any, Any]:
    if not isinstance(made, tuple) or len(made) < 2:
        return None, None
    return (made[0], made[1]) if len(made) == 2 else (made[:-1], made[-1])


def _inputs(given: Any, image: tuple[int, ...], where: str) -> GivenInputs:
    if given is None:
        return GivenInputs(image=image)
    if _is_shape(given):
        return GivenInputs((tuple(given),), image=image)
    each = list(given) if isinstance(given, list | tuple) else [given]
    if each and all(_is_shape(item) for item in each):
        return GivenInputs(tuple(tuple(item) for item in each), image=image)
    if not each or not all(hasattr(item, "shape") and hasattr(item, "dtype") for item in each):
        raise SpecError(
            "what stands behind the model is not its inputs",
            where=where,
            received=repr(given)[:100],
            expected="a shape without the batch such as (3, 224, 224), or arrays with the batch first",
        )
    shapes = tuple(tuple(int(size) for size in item.shape[1:]) for item in each)
    return GivenInputs(shapes, tuple("int" in str(item.dtype) for item in each), image)


def _is_shape(given: Any) -> bool:
    return isinstance(given, list | tuple) and bool(given) and all(isinstance(size, int) for size in given)


def _called(reference: ModelReference) -> Any:
    module = _module(reference)
    functions = [name for name in vars(module) if callable(getattr(module, name)) and not name.startswith("_")]
    function = getattr(module, str(reference.function), None)
    if not callable(function):
        raise SpecError(
            f"there is no function {reference.function!r}",
            where=reference.place,
            received=", ".join(functions[:12]) or "no functions",
            remedy=did_you_mean(str(reference.function), functions) if functions else None,
        )
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise _raised(error, reference, "the function") from error


def _module(reference: ModelReference) -> Any:
    path = reference.path
    try:
        if path is None:
            sys.path.insert(0, str(Path.cwd()))
            return importlib.import_module(reference.place)
        if not path.is_file():
            raise DataError("the file does not exist", where=str(path))
        sys.path.insert(0, str(path.resolve().parent))
        specification = importlib.util.spec_from_file_location(path.stem, path)
        if specification is None or specification.loader is None:
            raise DataError("the file is no module of Python", where=str(path))
        module = importlib.util.module_from_spec(specification)
        sys.modules[path.stem] = module
        specification.loader.exec_module(module)
        return module
    except CnnbenchError:
        raise
    except ModuleNotFoundError as error:
        if path is None and error.name and reference.place.startswith(error.name):
            raise UnavailableError(
                f"there is no module {error.name!r}",
                where=str(reference),
                remedy=f"it is looked for in {Path.cwd()} and on PYTHONPATH",
            ) from error
        raise _raised(error, reference, "the module") from error
    except (Exception, SystemExit) as error:
        raise _raised(error, reference, "the module") from error


def _raised(error: BaseException, reference: ModelReference, what: str) -> SpecError:
    """The error of the user's code with the last line of it that is the user's."""
    traceback.print_exception(error)
    own = traceback.extract_tb(error.__traceback__)
    lines = [item for item in own if Path(item.filename).name == Path(reference.place).name]
    place = f" (line {lines[-1].lineno}: {lines[-1].line})" if lines else ""
    text = " ".join(str(error).split())[:500]
    return SpecError(f"{what} raises {type(error).__name__}{place}", where=str(reference), received=text)
