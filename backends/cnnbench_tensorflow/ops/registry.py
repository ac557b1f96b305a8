"""The tables in which the ops of this backend register."""

from cnnbench.execution.operations import Operations

OPERATIONS = Operations("tensorflow")
XLA = Operations("tensorflow")  # what runs in mode xla instead
