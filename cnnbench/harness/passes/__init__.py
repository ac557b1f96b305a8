"""What is found out of each cell: checks, training, timing and memory, one pass each."""
