"""The numpy backend of cnnbench."""
