"""Is yours the same: model references, alignment of two graphs, their differences, and the report of a port."""
