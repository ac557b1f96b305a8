"""Layers that rearrange channels and positions: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import LayerCase
from cnnbench.spec.layers.rearrange import ChannelShuffle, DepthToSpace, SpaceToDepth

CASES = {
    "channel_shuffle/three_groups": LayerCase(ChannelShuffle(groups=3), ((12, 3, 5),)),
    "channel_shuffle/table": LayerCase(ChannelShuffle(groups=2), ((6,),)),
    "channel_shuffle/volume": LayerCase(ChannelShuffle(groups=2), ((10, 2, 3, 4),)),
    **{
        f"depth_to_space/{order}": LayerCase(DepthToSpace(block=2, order=order), ((12, 3, 5),))
        for order in ("DCR", "CRD")
    },
    **{
        f"depth_to_space/{order}_oblong": LayerCase(DepthToSpace(block=(2, 3), order=order), ((12, 3, 5),))
        for order in ("DCR", "CRD")
    },
    **{
        f"depth_to_space/{order}_row": LayerCase(DepthToSpace(block=3, order=order), ((6, 5),))
        for order in ("DCR", "CRD")
    },
    **{
        f"depth_to_space/{order}_volume": LayerCase(
            DepthToSpace(block=(1, 2, 3), order=order), ((12, 2, 3, 2),), batch=1
        )
        for order in ("DCR", "CRD")
    },
    **{
        f"space_to_depth/{order}": LayerCase(SpaceToDepth(block=2, order=order), ((3, 4, 6),))
        for order in ("DCR", "CRD")
    },
    **{
        f"space_to_depth/{order}_oblong": LayerCase(SpaceToDepth(block=(2, 3), order=order), ((3, 4, 6),))
        for order in ("DCR", "CRD")
    },
    **{
        f"space_to_depth/{order}_row": LayerCase(SpaceToDepth(block=3, order=order), ((2, 9),))
        for order in ("DCR", "CRD")
    },
    **{
        f"space_to_depth/{order}_volume": LayerCase(
            SpaceToDepth(block=(1, 2, 3), order=order), ((2, 2, 4, 3),), batch=1
        )
        for order in ("DCR", "CRD")
    },
}
