"""Whose code an exception comes from: the plugin, the place in its file, and the node that was computed."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from cnnbench import registry
from cnnbench.execution.program import BoundStep
from cnnbench.execution.sources import module_of
from cnnbench.spec.graph import Node

OWN = frozenset(("cnnbench", *(f"cnnbench_{name}" for name in ("numpy", "torch", "jax", "tensorflow", "onnxruntime"))))


def culprit(error: BaseException) -> str | None:
    """What went wrong in a plugin's code, in one line; None where none of it was running.

    For example: "node act (isru): ValueError: shapes do not match, from the plugin 'my_layers' (.../my_layers.py,
    line 33, in numpy_isru)".
    """
    found: tuple[str, str] | None = None
    inside, node = False, ""
    plugins = _plugin_modules()
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        inside = inside or module in OWN
        working = _node(frame.f_locals)
        if working is not None and (working.name != "node" or not node):  # the oracle calls one that is alone so
            node = f"node {working.name} ({working.layer.kind}): "
        if isinstance(working, BoundStep) and (giver := module_of(working.forward)) in plugins:
            found = plugins[giver], f"its op {getattr(working.forward, '__name__', working.forward)}"  # or its result
        if inside and module in plugins:
            found = plugins[module], f"{frame.f_code.co_filename}, line {line}, in {frame.f_code.co_name}"
    found = found or _traced(error, plugins)
    if found is None:
        return None
    plugin, place = found
    text = " ".join(str(error).split())[:500]
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{node}{said}, from the plugin {plugin!r} ({place})"


def _traced(error: BaseException, plugins: dict[str, str]) -> tuple[str, str] | None:
    """The same of an error of PyTorch's Dynamo, which runs no code but says where it was when it read it."""
    found = None
    for frame in getattr(error, "real_stack", ()):
        for name, module in tuple(sys.modules.items()):
            if getattr(module, "__file__", None) == frame.filename and (top := name.partition(".")[0]) in plugins:
                found = plugins[top], f"{frame.filename}, line {frame.lineno}, in {frame.name}"
    return found


def _plugin_modules() -> dict[str, str]:
    """The plugin of each top-level module that is not shipped; of a kind's module that is no plugin's, the module."""
    found = {module: module for module in map(module_of, registry.layer_kinds().values())}
    named = registry.plugin_manager().list_name_plugin()
    found |= {module_of(plugin): name for name, plugin in named if plugin is not None}
    return {module: name for module, name in found.items() if module not in OWN}


def _node(values: dict[str, Any]) -> BoundStep | Node | None:
    """The node that a frame works on, by its local names."""
    known = (values.get(name) for name in ("step", "node", "item"))
    return next((value for value in known if isinstance(value, BoundStep | Node)), None)
