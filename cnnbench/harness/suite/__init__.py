"""What is asked: the suite's file, its model and matrix, and the plan of cells that it expands into."""
