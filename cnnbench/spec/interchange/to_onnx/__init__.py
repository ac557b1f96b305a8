"""A graph and its arrays as an ONNX model: one module for each family of layers says how its kinds are written."""
