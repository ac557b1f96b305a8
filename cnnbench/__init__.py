"""cnnbench: the same convolutional network on every framework, proven equal first, then timed."""

from cnnbench.version import __version__ as __version__
