"""Who does it: worker processes, how they are started, what they are asked and what they answer."""
