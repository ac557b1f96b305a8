"""Networks and weights that come from files: a user's network in YAML, weights of several formats, read strictly."""
