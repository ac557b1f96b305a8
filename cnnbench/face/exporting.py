"""``export``: a network as an ONNX file, read back and compared before anyone relies on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from cnnbench.errors import DataError, SpecError, did_you_mean
from cnnbench.face.keywords import ExportKeywords, takes
from cnnbench.face.networks import Model, Network, load

PRECISIONS = ("float32", "float64")
APART = 1e-5  # of the largest value: constants are held in float32, and products of theirs


@dataclass(frozen=True)
class Exported:
    """An ONNX file that was written.

    Args:
        path: Where it is.
        network: What it holds.
        nodes: How many nodes of each operator.
        apart: The largest difference between the outputs of the network and of the file, read back, in float64 on one
            drawn image, as a share of the largest output; None where that was not asked for.
    """

    path: Path
    network: str
    nodes: Mapping[str, int]
    apart: float | None


@takes(ExportKeywords)
def export(network: Network, path: Path | str, *, check: bool = True, **how: Unpack[ExportKeywords]) -> Exported:
    """Writes a network with its weights as an ONNX file (opset 21), which ONNX's checker has looked at.

    Args:
        network: A registered name, the path of a YAML or ONNX file, a graph or a model.
        path: The file; weights of more than 1.9 GB lie beside it.
        check: Whether the file is read back, and both networks run on one drawn image in float64 by NumPy.
        how: The keywords below.

    Raises:
        SpecError: An unknown network, or a layer that ONNX cannot say.
        DataError: Weights that do not fit; a file that does not compute the same.
        StorageError: The file cannot be written.
        UnavailableError: onnx is not installed.
    """
    from cnnbench.spec.interchange.to_onnx.model import write_onnx

    precision = how.get("precision", "float32")
    if precision not in PRECISIONS:
        raise SpecError(
            "ONNX files are written in other precisions",
            received=repr(precision),
            expected=" or ".join(PRECISIONS),
            remedy=did_you_mean(precision, PRECISIONS),
        )
    model = load(
        network, how.get("weights"), seed=how.get("seed", 0), image=how.get("image"), num_classes=how.get("num_classes")
    )
    target = Path(path)
    counted = write_onnx(model.graph, model.arrays, target, precision)
    apart = _apart(model, target) if check else None
    if apart is not None and not apart <= APART:
        for file in (target, target.with_name(f"{target.name}.data")):
            file.unlink(missing_ok=True)
        raise DataError(
            "the file did not compute the same as the network, and was removed",
            where=str(target),
            received=f"outputs {apart:.3g} of the largest value apart",
            expected=f"at most {APART:.0e}",
        )
    return Exported(target, model.graph.name, dict(Counter(counted).most_common()), apart)


def _apart(model: Model, path: Path) -> float:
    """How far outputs on one drawn image lie apart, in float64 by NumPy."""
    import numpy as np

    from cnnbench.face.prediction import predict
    from cnnbench.spec.draws import draw_inputs
    from cnnbench.spec.interchange.onnx_import import import_file

    graph = model.graph
    batch = draw_inputs(graph, 0, 1, "export")
    ours = predict(model, batch, backend="numpy", precision="float64").outputs
    back = import_file(path)
    if back.graph is None:
        return 0.0
    again = Model(back.graph, back.arrays)
    known = {name: batch[theirs] for name, theirs in back.inputs.items()}
    theirs = back.results(predict(again, known, backend="numpy", precision="float64").outputs)
    worst = 0.0
    for (name, _), other in zip(graph.outputs, theirs, strict=True):
        one = ours[name]
        if one.shape != other.shape:
            raise DataError("an output came back in another shape", received=other.shape, expected=one.shape)
        scale = float(np.abs(one).max(initial=0.0)) or 1.0
        worst = max(worst, float(np.abs(one - other).max(initial=0.0)) / scale)
    return worst
