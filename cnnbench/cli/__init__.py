"""The command line: thin commands over the other rooms; nothing heavy is imported until a command needs it."""

from cnnbench.cli.entry import main

__all__ = ["main"]
