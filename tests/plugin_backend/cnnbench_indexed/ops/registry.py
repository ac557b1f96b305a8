"""The table in which the ops of this backend register."""

from cnnbench.execution.operations import Operations

OPERATIONS = Operations("indexed")
