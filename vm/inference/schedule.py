"""Run a graph's nodes in order and keep no value longer than it is read, whatever computes them.

A node reads one value, so the values held at once are at most as many as the graph has inputs and outputs, and
one being made; a model of a thousand nodes takes no more memory than its widest ones.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from vm.inference.graph import Graph, Node

Value = TypeVar("Value")


def run_nodes(
    graph: Graph, inputs: Iterable[Value], compute: Callable[[int, Node, Value], Value]
) -> list[Value]:
    """Return the outputs; `compute` gives the result of the node at a position for the value that it reads."""
    last_use = last_uses(graph)
    values = dict(enumerate(inputs))
    first = len(values)
    for position, node in enumerate(graph.nodes):
        values[first + position] = compute(position, node, values[node.source])
        if last_use[node.source] == position:
            del values[node.source]
    return [values[index] for index in graph.outputs]


def last_uses(graph: Graph) -> dict[int, int]:
    """Return, per value, the position of the last node that reads it; outputs are never done with."""
    uses = {node.source: position for position, node in enumerate(graph.nodes)}
    return uses | dict.fromkeys(graph.outputs, len(graph.nodes))
