"""Who runs a network: the contract that every backend fulfils, and the one graph walk."""
