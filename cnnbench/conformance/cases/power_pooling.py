"""Pooling by p-norms: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, LayerCase
from cnnbench.spec.layers import Shape
from cnnbench.spec.layers.power_pooling import LpPool


def _case(images: tuple[Shape, ...] = EVEN, shift: float = 0.0, batch: int = 2, **fields: object) -> LayerCase:
    layer = LpPool(**{"kernel_size": 3, **fields})  # type: ignore[arg-type]
    return LayerCase(layer, images, shift=shift, batch=batch)


CASES = {
    "lp_pool/l2": _case(kernel_size=2),
    "lp_pool/l1": _case(p=1.0, stride=2),
    "lp_pool/cube": _case(p=3.0, stride=(2, 1), padding=((0, 1), (1, 0))),
    "lp_pool/fraction": _case(p=1.5, kernel_size=(2, 3)),
    "lp_pool/plain_powers": _case(p=3.0, absolute=False, shift=2.0),
    "lp_pool/plain_powers_even": _case(p=4.0, absolute=False, kernel_size=2),
    "lp_pool/ceil_mode": _case(stride=2, ceil_mode=True),
    "lp_pool/rescaled": _case(stride=2, ceil_mode=True, rescale_partial=True),
    "lp_pool/dilated": _case(kernel_size=2, dilation=(2, 3), stride=1),
    "lp_pool/1d": _case(((3, 11),), stride=2, padding=1),
    "lp_pool/3d": _case(((2, 4, 5, 3),), kernel_size=(2, 3, 2), stride=(1, 2, 1)),
    "lp_pool/no_images": _case(batch=0),
}
