"""The user's own program as a mode of a backend: whether a network has one, and the options that name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench.face.networks import network_name, shape_of
from cnnbench.porting.native import lacks_meaning, lacks_program, own_program

if TYPE_CHECKING:
    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.face.backends import ChosenBackend
    from cnnbench.face.networks import Model, Network


def lacks_native(chosen: ChosenBackend, network: Network, how: Mapping[str, Any]) -> str | None:
    """Why a native mode has no program of a network to run; None in other modes, and where it has one.

    Args:
        chosen: The backend in its mode.
        network: As ``verify`` takes it.
        how: Its keywords ``image``, ``weights`` and ``fold_batch_norm``.
    """
    if chosen.mode not in chosen.plugin.native_modes:
        return None
    asked = {name: how.get(name) for name in ("weights", "fold_batch_norm")}
    if (reason := lacks_meaning(chosen.mode, asked)) is not None:
        return reason
    if not isinstance(network, str | Path):
        return f"a graph is no model of your own, which {chosen.mode} runs as it is"
    return lacks_program(network_name(network), chosen.plugin, _image(network, how))


def with_own(options: ProgramOptions, chosen: ChosenBackend, model: Model, how: Mapping[str, Any]) -> ProgramOptions:
    """Options that a native mode completes with the user's own program.

    Args:
        options: In the backend's mode.
        chosen: The backend.
        model: The network and its arrays.
        how: As in ``lacks_native``, and ``network``.
    """
    plugin, network = chosen.plugin, how["network"]
    if chosen.mode not in plugin.native_modes:
        return options
    mode, held = plugin.native_modes[chosen.mode], (model.graph, model.arrays)
    own = own_program(network_name(network), mode, options.precision, held, _image(network, how))
    return replace(options, mode=plugin.base_mode(chosen.mode), own=own)


def _image(network: str | Path, how: Mapping[str, Any]) -> tuple[int, ...]:
    return shape_of(network_name(network), how.get("image"))
