"""The shipped datasets, one a module, and what brings their images to a network's input."""
