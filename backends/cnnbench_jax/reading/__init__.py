"""JAX functions as graphs: what ``jax.make_jaxpr`` gives, operation by operation."""
