"""Random valid networks over all layer kinds, run on every backend, judged by budgets, reduced where they fail."""
