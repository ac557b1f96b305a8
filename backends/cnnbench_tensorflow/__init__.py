"""The TensorFlow backend of cnnbench."""
