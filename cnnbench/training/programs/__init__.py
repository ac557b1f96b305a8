"""Training programs: several networks that are trained in turn, as data, and what runs them on a backend."""
