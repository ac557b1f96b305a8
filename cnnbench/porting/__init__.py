"""Comparison of a port with its original: model references, alignment of two graphs, differences, report."""
