"""What this backend offers: plans are made from it."""

MODES = ("plain",)
PRECISIONS = ("float32", "float64")
LAYOUTS = ("channels_first",)
