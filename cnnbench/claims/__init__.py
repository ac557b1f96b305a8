"""Statements about convolutional networks, each tried: an experiment, its figures, and the verdict that these allow."""
