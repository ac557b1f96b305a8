"""A network as data: ``Graph``, its nodes and inputs, and the ``Builder`` that makes and validates one."""

from cnnbench.spec.graph.builder import Builder, Value
from cnnbench.spec.graph.model import Graph, Input, Node
from cnnbench.spec.graph.names import is_within, producer, value_names, weight_parts

__all__ = ["Builder", "Graph", "Input", "Node", "Value", "is_within", "producer", "value_names", "weight_parts"]
