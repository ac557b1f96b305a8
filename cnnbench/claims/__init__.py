"""Statements about convolutional networks, each with an experiment, its measured figures and a verdict."""
