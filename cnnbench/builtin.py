"""The core's own plugin: what it ships for each hook, registered like any other."""
