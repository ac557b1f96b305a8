"""Keywords that several functions of the face share, declared once; an editor and a type checker know each of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

from cnnbench.errors import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnbench.face.networks import Image
    from cnnbench.harness.run.events import Listener
    from cnnbench.harness.run.extensions import Recorder


class SuiteKeywords(TypedDict, total=False):
    """Which cells of a suite are wanted, and what is changed in it.

    Args:
        backends: Only these, each ``NAME`` or ``NAME:MODE``.
        expression: Only cells whose id fits: ``"resnet50 and not b8"``.
        overrides: Changes of the suite, each ``PATH=VALUE``: ``"measure.latency.rounds=3"``.
        seed, threads, precision: Instead of the suite's.
        quick: Smallest batches, few rounds, one epoch: a trial, not a measurement.
        thorough: Whether each check also does what costs much, such as gradients at full size.
        timeout_s: When a worker's answer is overdue.
        shard: (I, N): the I-th of N parts of the suite, counted from 1.
    """

    backends: Sequence[str]
    expression: str | None
    overrides: Sequence[str]
    seed: int | None
    threads: int | None
    precision: str | None
    quick: bool
    thorough: bool
    timeout_s: float | None
    shard: tuple[int, int] | None


class ExportKeywords(TypedDict, total=False):
    """Which weights an exported network has, and its size.

    Args:
        weights: A file of any format that ``cnnbench weights import`` reads, or arrays by canonical name; drawn from
            the seed unless given.
        seed: Of drawn weights.
        image: (C, *spatial) of one image, or its side; the network's own unless given.
        num_classes: The network's own unless given.
        precision: Of floats in the file: float32 or float64.
    """

    weights: Path | str | Mapping[str, NDArray[Any]] | None
    seed: int
    image: Image
    num_classes: int | None
    precision: str


class OutputKeywords(TypedDict, total=False):
    """Where a run goes, and who hears of it.

    Args:
        output: Where runs' folders are made; ``reports/runs`` unless given.
        recorders: Who hears of records beside the run's folder: names (``["mlflow"]``), or recorders by name; () for
            nobody. Everyone that is registered unless given, as ``cnnbench run`` has it.
        listeners: Called with each event while the run goes on.
    """

    output: Path | str
    recorders: Sequence[str] | Mapping[str, Recorder] | None
    listeners: Sequence[Listener]


class RunKeywords(SuiteKeywords, OutputKeywords, total=False):
    """How a suite is run: the keywords of ``SuiteKeywords`` and of ``OutputKeywords``."""


class VerifyKeywords(TypedDict, total=False):
    """What is checked, and how.

    Args:
        seed: Of weights, inputs, masks and targets; 0 unless given.
        weights: As ``load`` takes them. image, num_classes: as ``build`` takes them.
        batch: Images in a check; 2 unless given.
        fold_batch_norm: Whether the end-to-end program has its batch norms folded.
        threads: Computing threads.
        thorough: Whether each check also does what costs much, such as gradients at full size.
        folder: Where files that reproduce failures go; nowhere unless given.
        on_backend: Called with each backend's name and mode as its checks begin.
    """

    seed: int
    weights: Path | str | Mapping[str, NDArray[Any]] | None
    image: Image
    num_classes: int | None
    batch: int
    fold_batch_norm: bool
    threads: int | None
    thorough: bool
    folder: Path | str | None
    on_backend: Callable[[str], None] | None


class ReduceKeywords(TypedDict, total=False):
    """What fails, and how it is run.

    Args:
        check: Which check fails; ``end_to_end`` unless given.
        precision: The policy; float32 unless given.
        fault: A fault that is injected first; the backend then runs in this process.
        fold_batch_norm: Whether the end-to-end program has its batch norms folded.
        seed: Of weights, inputs, masks and targets; 0 unless given. batch: images in the check; 2 unless given.
        weights: As ``load`` takes them. image: as ``build`` takes it.
        threads: Computing threads.
        folder: Where the reproducer and the text go; nowhere unless given.
    """

    check: str
    precision: str
    fault: str | None
    fold_batch_norm: bool
    seed: int
    batch: int
    weights: Path | str | Mapping[str, NDArray[Any]] | None
    image: Image
    threads: int | None
    folder: Path | str | None


class PredictKeywords(TypedDict, total=False):
    """How a program is made and run.

    Args:
        weights: As ``load`` takes them. seed: of drawn weights. num_classes: as ``build`` takes it.
        layout: ``auto``, ``channels_first`` or ``channels_last``.
        fold_batch_norm: Whether batch norms are folded into the convolutions before them.
        device: ``cpu``, ``cuda``, ``cuda:1``. threads: computing threads.
    """

    weights: Path | str | Mapping[str, NDArray[Any]] | None
    seed: int
    num_classes: int | None
    layout: str
    fold_batch_norm: bool
    device: str
    threads: int | None


class ProfileKeywords(TypedDict, total=False):
    """What is profiled, and how.

    Args:
        image, num_classes: As ``build`` takes them. seed: of drawn weights and inputs; 0 unless given.
        batch: Images; 1 unless given.
        rounds: In each of which every node is timed once; 10 unless given.
        fold_batch_norm: Whether batch norms are folded into the convolutions before them.
        threads: Computing threads.
    """

    image: Image
    num_classes: int | None
    seed: int
    batch: int
    rounds: int
    fold_batch_norm: bool
    threads: int | None


class ViewKeywords(TypedDict, total=False):
    """What is looked at, and where the pictures go.

    Args:
        weights: As ``load`` takes them, or ``package:MODULE/PATH`` in an installed package. seed: of drawn weights.
        size, num_classes: As ``build`` takes ``image`` and ``num_classes``.
        class_number: The class; that of the largest score unless given.
        nodes: Whose values are looked at; each view says what it takes unless given.
        data: A dataset, for views of many images; without an image its first one is looked at. limit: images of it.
        style: A picture's file, for the transfer of its style.
        pixels: How a picture becomes numbers: ``imagenet``, ``efficientnet_lite`` or ``unit``.
        compare_input: A ``.npy`` file that another program made of the image: is it the network's input?
        settings: Numbers of views by name: ``{"steps": 64}``.
        box: (top, bottom, left, right) in pixels: the share of each map that lies inside is given.
        check: Whether views are compared with the reference; where several backends are named, unless given.
        fault: A defect that is put into the view on every backend, as ``cnnbench list views`` names it.
        folder: Where pictures, arrays and a page go; nowhere unless given.
        tracking_uri: MLflow's store or server, to which the folder and the figures go, too; nowhere unless given.
        threads: Computing threads.
    """

    weights: Path | str | Mapping[str, NDArray[Any]] | None
    seed: int
    size: Image
    num_classes: int | None
    class_number: int | None
    nodes: Sequence[str]
    data: str | None
    limit: int
    style: Path | str | None
    pixels: str
    compare_input: Path | str | None
    settings: Mapping[str, float]
    box: Sequence[int] | None
    check: bool | None
    fault: str | None
    folder: Path | str | None
    tracking_uri: str | None
    threads: int | None


_Function = TypeVar("_Function", bound=Callable[..., Any])


def takes(*keywords: type[Any]) -> Callable[[_Function], _Function]:
    """Refuses a keyword that ``keywords`` has not, with the nearest that it has; ``help()`` shows all of them.

    Args:
        keywords: The TypedDicts that the function unpacks.
    """
    known = {name: annotation for item in keywords for name, annotation in item.__annotations__.items()}

    def decorated(function: _Function) -> _Function:
        signature = inspect.signature(function)
        own = [item for item in signature.parameters.values() if item.kind is not inspect.Parameter.VAR_KEYWORD]
        more = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=..., annotation=annotation.__forward_arg__)
            for name, annotation in known.items()
        ]

        @functools.wraps(function)
        def checked(*args: Any, **given: Any) -> Any:
            for name in given.keys() - known.keys() - {item.name for item in own}:
                near = nearest(name, [*known, *(item.name for item in own)])
                remedy = f"did you mean {near!r}?" if near else f"it has {', '.join(known)}"
                raise TypeError(f"{function.__name__}() has no keyword {name!r}: {remedy}")
            return function(*args, **given)

        checked.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
        checked.__doc__ = "\n\n".join([inspect.cleandoc(function.__doc__ or ""), *map(_documented, keywords)])
        return cast(_Function, checked)

    return decorated


def _documented(keywords: type[Any]) -> str:
    return (inspect.getdoc(keywords) or "").replace("Args:", "Keywords:")
