"""Whether two networks compute the same, node by node, whatever layout each of them keeps its values in."""
