"""JAX's programs compiled with little optimisation: where arithmetic is held, and slow tests hold the compiler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_compilation(backend: str) -> Iterator[None]:
    """LLVM optimises nothing of what JAX compiles within; other backends are as they are."""
    if backend != "jax":
        yield
        return
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
