"""Modes, precisions, devices and layouts of this backend, for plans, without importing ONNX Runtime."""

MODES = ("optimized", "plain")
PRECISIONS = ("float32",)  # in float64 ONNX Runtime has no convolution for the host
DEVICES = ("cpu",)
LAYOUTS = ("channels_first",)
INFERENCE_ONLY = "ONNX Runtime runs inference only"
NATIVE_MODES = {"native-optimized": "optimized", "native-plain": "plain"}  # of a user's own model, run as it is
PROVIDER = "CPUExecutionProvider"
