"""What this backend offers, stated without its framework: plans are made from it."""

MODES = ("fast", "reference")
PRECISIONS = {"fast": ("float32", "float64", "float32-winograd"), "reference": ("float32", "float64")}
DEVICES = ("cpu",)
LAYOUTS = ("channels_first", "channels_last")
