"""A backend for cnnbench in which every sliding window is a gather by an index."""
