"""The run as a whole: its state, its records, its folder, and what continues, merges and bundles it."""
