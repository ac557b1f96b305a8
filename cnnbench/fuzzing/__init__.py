"""Fuzzing: random valid networks of all layer kinds, checked on every backend, and reduced where they fail."""
