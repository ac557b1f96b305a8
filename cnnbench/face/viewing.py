"""``view``: ways to look into a network, made on one backend or on several, which are then compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from cnnbench.errors import DataError, SuiteError
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision as find_precision
from cnnbench.face.backends import ChosenBackend, chosen_backend
from cnnbench.face.keywords import ViewKeywords, takes
from cnnbench.face.networks import Model, Network, load

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnbench.training.preprocessing_faults import PreprocessingVerdict
    from cnnbench.views.agreement import ViewTruth
    from cnnbench.views.faults import ViewFault
    from cnnbench.views.finding import ViewFinding
    from cnnbench.views.network import ViewedNetwork
    from cnnbench.views.view import NetworkView, ViewRequest


@dataclass(frozen=True)
class ViewFindings:
    """Views into one network.

    Args:
        network: Its name.
        classes: The class that each image was looked at for; () where no view needs one.
        findings: By view, and for each by backend.
        files: What was written, the page last; () where no folder was named.
        compared_input: Whether another program's input is the network's; None where none was given.
    """

    network: str
    classes: tuple[int, ...]
    findings: tuple[ViewFinding, ...]
    files: tuple[Path, ...] = ()
    compared_input: PreprocessingVerdict | None = None

    @property
    def exit_code(self) -> int:
        """4 where a backend's view lies beyond its budget, or the compared input is wrong, else 0."""
        wrong = self.compared_input is not None and not self.compared_input.right
        return 4 if wrong or any(found.status == "differs" for found in self.findings) else 0

    def to_json(self) -> dict[str, Any]:
        """What ``cnnbench view --json`` prints."""
        return {
            "network": self.network,
            "classes": list(self.classes),
            "views": [found.to_json() for found in self.findings],
            "files": [str(path) for path in self.files],
            "compared_input": None if self.compared_input is None else asdict(self.compared_input),
        }


@takes(ViewKeywords)
def view(
    network: Network,
    image: Path | str | NDArray[Any] | None = None,
    what: Sequence[str] | str = ("saliency",),
    *,
    backends: Sequence[str] = ("numpy",),
    precision: str = "float32",
    **how: Unpack[ViewKeywords],
) -> ViewFindings:
    """Looks into a network. With several backends each view is compared with the float64 reference.

    Args:
        network: A registered name, the path of a YAML or ONNX file, a graph or a model.
        image: A picture's file, a ``.npy`` file, or images (N, C, H, W) as the network takes them.
        what: Names of views, as ``cnnbench list views`` has them.
        backends: ``NAME`` or ``NAME:MODE`` each.
        precision: The policy.
        how: The keywords below.

    Raises:
        SuiteError: An unknown view, node, class or setting, or something that a view needs and was not given.
        DataError: Images or weights that do not fit.
        SpecError, UnavailableError: As ``predict``.
    """
    from cnnbench.views.faults import find_view_fault
    from cnnbench.views.network import BackendRunner, ViewedNetwork
    from cnnbench.views.view import find_view, require_box

    chosen_views = [find_view(name) for name in ([what] if isinstance(what, str) else what)]
    fault = None if (name := how.get("fault")) is None else find_view_fault(name)
    if not chosen_views or not backends:
        raise SuiteError("there is nothing to look at", received="no view or no backend", expected="one at least")
    chosen = [chosen_backend(text, precision) for text in backends]
    model = _model(network, how)
    settings = ProcessSettings(how.get("threads"))
    options = [ProgramOptions(item.mode, find_precision(precision)) for item in chosen]
    networks = [
        ViewedNetwork(model.graph, model.arrays, BackendRunner(item.load(settings), each))
        for item, each in zip(chosen, options, strict=True)
    ]
    verdict = _compared_input(networks[0], image, how)
    request = _request(networks[0], image, chosen_views, how)
    box = None if (given := how.get("box")) is None else require_box(given, networks[0].image)
    check = how.get("check")
    compared = len(chosen) > 1 or fault is not None if check is None else check
    findings = []
    for each in chosen_views:
        truth = _truth(each, networks[0], request, options[0]) if compared else None
        found = _findings(each, list(zip(chosen, networks, strict=True)), request, truth, fault)
        findings += [replace(item, box=box) for item in found]
    files: tuple[Path, ...] = ()
    if (folder := how.get("folder")) is not None:
        from cnnbench.output.view_folder import write_views

        files = tuple(write_views(Path(folder), model.graph.name, findings))
        if (uri := how.get("tracking_uri")) is not None:
            from cnnbench.output.recorders.mlflow_view_folder import log_views

            log_views(uri, model.graph.name, files, findings)
    return ViewFindings(model.graph.name, request.classes, tuple(findings), files, verdict)


def _compared_input(
    network: ViewedNetwork, image: Path | str | NDArray[Any] | None, how: ViewKeywords
) -> PreprocessingVerdict | None:
    from cnnbench.views.images import compare_input

    if (given := how.get("compare_input")) is None:
        return None
    if not isinstance(image, str | Path):
        raise SuiteError(
            "the input has no picture to be compared with", where="--compare-input", expected="--image FILE"
        )
    return compare_input(image, given, network.image, how.get("pixels", "imagenet"))


def _model(network: Network, how: ViewKeywords) -> Model:
    """The network with its weights; ``package:MODULE/PATH`` names a file of an installed package, as in suites."""
    from cnnbench.harness.suite.networks import PackageFile, weights_file

    weights = how.get("weights")
    if isinstance(weights, str | Path) and PackageFile.read(str(weights)) is not None:
        found = weights_file(str(weights))
        if found is None:
            raise DataError("the file of weights is not here", where=str(weights))
        weights = found
    size, num_classes = how.get("size"), how.get("num_classes")
    return load(network, weights, seed=how.get("seed", 0), image=size, num_classes=num_classes)


def _request(
    network: ViewedNetwork, image: Path | str | NDArray[Any] | None, views: Sequence[NetworkView], how: ViewKeywords
) -> ViewRequest:
    """Everything that was given, read once for all views and backends."""
    import numpy as np

    from cnnbench.views.images import read_images
    from cnnbench.views.view import ViewRequest, require_settings

    pixels, seed = how.get("pixels", "imagenet"), how.get("seed", 0)
    data = labels = None
    if (name := how.get("data")) is not None:
        from cnnbench.training.data import dataset, load_dataset
        from cnnbench.training.dataset import DataRequest

        asked = DataRequest(dataset(name).splits[-1], network.image, how.get("limit", 256), seed)
        found = load_dataset(name, asked)
        data, labels = found.images, found.labels
    images: NDArray[Any] = np.zeros((0, *network.image), np.float32)
    if isinstance(image, str | Path):
        images = read_images(image, network.image, pixels)
    elif image is not None:
        images = np.asarray(image, np.float32)
        images = images[None] if images.ndim == 3 else images
        if images.shape[1:] != network.image:
            raise DataError("the images do not fit the network", received=images.shape, expected=network.image)
    elif data is not None:
        images = data[:1]
    style = how.get("style")
    request = ViewRequest(
        images=images,
        nodes=tuple(how.get("nodes", ())),
        data=data,
        labels=labels,
        style=None if style is None else read_images(style, network.image, pixels)[:1],
        settings=require_settings(how.get("settings", {}), views),
        seed=seed,
    )
    return replace(request, classes=_classes(network, request, views, how.get("class_number")))


def _classes(
    network: ViewedNetwork, request: ViewRequest, views: Sequence[NetworkView], number: int | None
) -> tuple[int, ...]:
    """The class for each image: the one that was named, else the one of the largest score."""
    if not any("class" in item.needs for item in views):
        return ()
    count = max(1, len(request.images))
    if number is not None:
        network.one_hot([number])
        return (number,) * count
    if not len(request.images):
        return ()
    scores = network.values(request.images, [network.scores])[network.scores]
    return tuple(int(row.argmax()) for row in scores)


def _truth(
    view: NetworkView, network: ViewedNetwork, request: ViewRequest, options: ProgramOptions
) -> ViewTruth | None:
    import numpy as np

    from cnnbench.numerics.case import Case
    from cnnbench.views.agreement import view_truth

    images = request.images if len(request.images) else np.zeros((1, *network.image), np.float32)
    case = Case(network.graph, network.arrays, {network.input: images[:1]}, options, seed=request.seed)
    return view_truth(view, network, request, case)


def _findings(
    view: NetworkView,
    made: Sequence[tuple[ChosenBackend, ViewedNetwork]],
    request: ViewRequest,
    truth: ViewTruth | None,
    fault: ViewFault | None,
) -> list[ViewFinding]:
    from cnnbench.views.finding import ViewFinding

    taken = view if fault is None else fault.injected(view)
    return [ViewFinding(view, item.series, taken(network, request), truth) for item, network in made]
