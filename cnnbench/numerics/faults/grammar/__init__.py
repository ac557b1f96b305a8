"""Faults that nobody thought of: drawn from a seed, of a place, a moment and a change."""
