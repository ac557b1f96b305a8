"""What this backend offers, stated without its framework: plans are made from it."""

MODES = ("jit",)
PRECISIONS = ("float32", "float64", "bfloat16", "float16")
DEVICES = ("cpu", "cuda")
LAYOUTS = ("channels_first", "channels_last")
NATIVE_MODES = {"native-jit": "jit"}  # of a user's own model, run as it is
