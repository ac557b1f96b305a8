"""What this backend offers, stated without its framework: plans are made from it."""

MODES = ("graph", "xla")
PRECISIONS = ("float32", "float64", "bfloat16")
DEVICES = ("cpu", "cuda")
LAYOUTS = ("channels_last",)
NATIVE_MODES = {
    "native-eager": "eager",
    "native-graph": "graph",
    "native-xla": "xla",
}  # of a user's own model, run as it is
