"""The jax backend of cnnbench."""
