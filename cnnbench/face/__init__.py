"""What ``import cnnbench`` offers: a function for each thing that the command line does; values as answers."""
