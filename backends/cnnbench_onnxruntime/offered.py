"""What this backend offers, stated without its framework: plans are made from it."""

MODES = ("optimized", "plain")
PRECISIONS = ("float32",)  # in float64 ONNX Runtime has no convolution for the host
DEVICES = ("cpu",)
LAYOUTS = ("channels_first",)
INFERENCE_ONLY = "ONNX Runtime runs inference only"
