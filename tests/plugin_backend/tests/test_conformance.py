"""Everything that cnnbench asks of a backend."""

from cnnbench.conformance import conformance_tests

globals().update(conformance_tests("indexed"))
