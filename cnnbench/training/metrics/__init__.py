"""How good raw results are beyond a classifier's accuracy: a value, its interval over images, a paired comparison."""
