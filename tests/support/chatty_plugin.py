"""A plugin that prints in every way, when it is imported, in every hook and when the process ends."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys

from cnnbench import hookspecs
from cnnbench.hookspecs import hookimpl


def say(where: str) -> None:
    print(f"printed {where}")  # noqa: T201
    sys.stdout.write(f"written {where}\n")
    sys.__stdout__.write(f"written to the first stdout {where}\n")
    sys.__stdout__.flush()
    os.write(1, f"descriptor {where}\n".encode())
    subprocess.run(["echo", "process", where], check=True)


say("at import")
atexit.register(say, "at exit")


def _hook(name: str, arguments: tuple[str, ...]):
    def hook(*_):
        say(f"in {name}")
        return {} if name == "cnnbench_recorders" else []

    named = f"def {name}({', '.join(arguments)}): return hook({', '.join(arguments)})"
    scope = {"hook": hook}
    exec(named, scope)  # pluggy reads the parameters' names
    return hookimpl(scope[name])


for _name, _spec in vars(hookspecs).items():
    if _name.startswith("cnnbench_"):
        globals()[_name] = _hook(_name, _spec.__code__.co_varnames[: _spec.__code__.co_argcount])
