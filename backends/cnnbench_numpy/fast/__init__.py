"""The fast mode: channels-last images, blocked products on BLAS, fused epilogues, and memory that is used again."""
