"""Views into a network: what it sees in an image, what its units look for, made by any backend and compared."""
