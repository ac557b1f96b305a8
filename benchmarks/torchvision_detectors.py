"""Faster and Mask R-CNN beside torchvision's: same weights, same image; time, peak memory, and the same detections.

    pip install --no-deps --target /tmp/torchvision torchvision
    PYTHONPATH=/tmp/torchvision python benchmarks/torchvision_detectors.py --network mask_rcnn_resnet50_fpn

Each side runs in a process of its own, one after the other, on PyTorch eager. ``--precision float64`` leaves no
detection to rounding, so that all must have a partner, and exits with 1 if one has none. The peak is that of the
resident set, less what the process held before the network was made. Where torchvision's compiled operators do not
load into this build of PyTorch, plain PyTorch stands in for ``nms`` and ``roi_align``; the seconds spent in these are
printed apart, and must not be held against torchvision. On a machine that others use, compare the processor's seconds.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

SCALE = "roi_heads.box_predictor.cls_score.weight"


def main() -> None:
    """Reads the options; runs both sides, or one of them for itself."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="faster_rcnn_resnet50_fpn")
    parser.add_argument("--calls", type=int, default=3, help="timed ones, after one that warms up")
    parser.add_argument("--sharpness", type=float, default=0.5, help="of the seeded classifier: at 0 none is sure")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("float32", "float64"), default="float32")
    parser.add_argument("--side", choices=("cnnbench", "torchvision"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(one_side(options)))
        return
    with TemporaryDirectory() as folder:
        rows, found = [], []
        for side in ("cnnbench", "torchvision"):
            file = Path(folder) / f"{side}.npz"
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side, "--file", str(file)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append(json.loads(answer.stdout.splitlines()[-1]))
            found.append(dict(np.load(file)))
        report(options, rows, found)


def one_side(options: argparse.Namespace) -> dict[str, Any]:
    """Times one implementation; its detections go to the file."""
    import torch

    from cnnbench.registry import build
    from cnnbench.spec.weights import initialize

    torch.set_num_threads(options.threads)
    graph = build(options.network)
    arrays = dict(initialize(graph, 0))
    arrays[SCALE] = options.sharpness * arrays[SCALE]
    image = np.random.default_rng(0).normal(size=graph.inputs[0].shape).astype(options.precision)
    apart: dict[str, float] = {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    make = ours if options.side == "cnnbench" else theirs
    run = make(graph, arrays, image, apart)
    result, seconds, processor = run(), [], []
    for _ in range(options.calls):
        apart.clear()
        start, used = time.perf_counter(), time.process_time()
        result = run()
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    np.savez(options.file, **result)
    return {"seconds": seconds, "processor_s": processor, "peak_mib": peak / 1024, "stand_ins_s": sum(apart.values())}


def ours(graph: Any, arrays: Any, image: Any, apart: dict[str, float]) -> Any:
    """A call of cnnbench's program on PyTorch."""
    from cnnbench.execution.backends import load_backend
    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.execution.precision import precision
    from cnnbench.spec.weights import split_state

    program = load_backend("torch").compile_forward(graph, ProgramOptions("eager", precision(str(image.dtype))))
    program.load(*split_state(graph, arrays))
    operands = program.upload({graph.inputs[0].name: image[None]})

    def run() -> dict[str, Any]:
        found = program.download(program.run(operands)).outputs
        count = int(found["counts"][0])
        return {name: found[name][0][:count] for name in ("boxes", "scores", "classes")}

    return run


def theirs(graph: Any, arrays: Any, image: Any, apart: dict[str, float]) -> Any:
    """A call of torchvision's network."""
    import torch

    compiled = tolerant_import(torch)
    from torchvision.models import detection

    if not compiled:
        stand_in(apart)
    size = image.shape[1:]
    make = getattr(detection, graph.name.replace("mask_rcnn", "maskrcnn").replace("faster_rcnn", "fasterrcnn"))
    model = make(
        weights=None, weights_backbone=None, num_classes=graph.shapes()[dict(graph.outputs)["logits"]][2],
        min_size=min(size), max_size=max(size), image_mean=[0.0] * 3, image_std=[1.0] * 3,
    ).eval()  # fmt: skip
    from torchvision.ops import FrozenBatchNorm2d

    frozen(model, torch, FrozenBatchNorm2d)
    model.to(getattr(torch, str(image.dtype)))
    names = {spec.name for spec in graph.named_weights()}
    model.load_state_dict({name: torch.from_numpy(np.asarray(arrays[name], image.dtype)) for name in names})
    batch = [torch.from_numpy(image)]

    def run() -> dict[str, Any]:
        with torch.inference_mode():
            (found,) = model(batch)
        return {
            "boxes": found["boxes"].numpy(), "scores": found["scores"].numpy(), "classes": found["labels"].numpy() - 1
        }  # fmt: skip

    return run


def frozen(module: Any, torch: Any, kind: Any) -> None:
    """Batch norms of the backbone that are not frozen yet (torchvision freezes them for trained weights) become so."""
    for name, child in module.named_children():
        if isinstance(child, torch.nn.BatchNorm2d):
            setattr(module, name, kind(child.num_features, eps=1e-5))
        else:
            frozen(child, torch, kind)


def tolerant_import(torch: Any) -> bool:
    """Imports torchvision where its operators are not compiled, too; whether they are."""
    from plain_torchvision import tolerant

    register = torch.library.register_fake
    torch.library.register_fake = tolerant(register)
    importlib.import_module("torchvision")
    torch.library.register_fake = register
    return hasattr(torch.ops.torchvision, "nms")


def stand_in(apart: dict[str, float]) -> None:
    """Plain PyTorch in the place of ``nms`` and ``roi_align``, each timed."""
    from plain_torchvision import stand_ins

    def timed(name: str, function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            apart[name] = apart.get(name, 0.0) + time.perf_counter() - start
            return result

        return call

    for module, name, value in stand_ins(timed):
        setattr(module, name, value)


def report(options: argparse.Namespace, rows: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    """A row for each side, and how far their detections lie apart."""
    print(f"{options.network}, batch 1, {options.threads} threads, the fastest of {options.calls} calls\n")
    print("| implementation | seconds | processor seconds | seconds in stand-ins | peak memory, MiB | detections |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for side, row, result in zip(("cnnbench", "torchvision"), rows, found, strict=True):
        times = " | ".join(f"{s:.2f}" for s in (min(row["seconds"]), min(row["processor_s"]), row["stand_ins_s"]))
        print(f"| {side} | {times} | {row['peak_mib']:.0f} | {len(result['scores'])} |")
    mine, other = found
    if not len(mine["boxes"]):
        sys.exit("nothing was found, so nothing was compared: raise --sharpness")
    (alike, far), (also, other_far) = partners(mine, other), partners(other, mine)
    counts = len(mine["boxes"]), len(other["boxes"])
    print(f"\n{alike} of cnnbench's {counts[0]} and {also} of torchvision's {counts[1]} have a partner")
    print(f"of the same class within half a pixel; {max(far, other_far):.2g} px at most")
    if options.precision == "float64" and (alike, also) != counts:
        sys.exit("the detections differ by more than float64 rounds")


def partners(these: dict[str, Any], those: dict[str, Any]) -> tuple[int, float]:
    """How many boxes have a partner of the same class within half a pixel, and how far these lie apart at most."""
    alike, far = 0, 0.0
    for box, kind in zip(these["boxes"], these["classes"], strict=True):
        gaps = np.abs(those["boxes"][those["classes"] == kind] - box).max(1)
        if len(gaps) and gaps.min() < 0.5:
            alike, far = alike + 1, max(far, float(gaps.min()))
    return alike, far


if __name__ == "__main__":
    main()
