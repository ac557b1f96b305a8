"""Is it the same: the oracle, derived error budgets, the checks, the faults that prove them, the divergence report."""
