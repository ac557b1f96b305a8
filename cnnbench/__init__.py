"""cnnbench: the same convolutional network on every framework, proven equal first, then timed."""

__version__ = "0.1.0"
