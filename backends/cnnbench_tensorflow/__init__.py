"""The tensorflow backend of cnnbench."""
