"""A network as data: ``Graph``, its nodes and inputs, and the ``Builder`` that makes and validates one."""

from cnnbench.spec.graph.builder import Builder, Value
from cnnbench.spec.graph.model import Graph, Input, Node, producer, value_names

__all__ = ["Builder", "Graph", "Input", "Node", "Value", "producer", "value_names"]
