"""Turns options into values: image shapes, shards, a planned suite, a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cnnbench.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from cnnbench.harness.suite.plan import Plan
    from cnnbench.spec.graph import Graph


@dataclass(frozen=True)
class SuiteOptions:
    """The options that every command over a suite takes, as they were given."""

    backends: Sequence[str] = ()
    expression: str | None = None
    overrides: Sequence[str] = ()
    seed: int | None = None
    threads: int | None = None
    precision: str | None = None
    quick: bool = False
    timeout_s: float | None = None
    shard: str | None = field(default=None)


def planned(path: Path, options: SuiteOptions, unavailable: Mapping[str, str | None] | None = None) -> Plan:
    """The plan of a suite file under the command line's options. Raises SuiteError.

    Args:
        path: The suite's.
        options: As given.
        unavailable: Why a backend cannot be used, by name, where other interpreters will run it.
    """
    from cnnbench.harness.suite.file import Adjustments, adjusted, load_suite
    from cnnbench.harness.suite.plan import Filters, plan

    adjustments = Adjustments(
        quick=options.quick,
        seed=options.seed,
        threads=options.threads,
        precision=options.precision,
        timeout_s=options.timeout_s,
    )
    suite = adjusted(load_suite(path, options.overrides), adjustments)
    filters = Filters(backends=tuple(options.backends), expression=options.expression, shard=parse_shard(options.shard))
    return plan(suite, filters, unavailable)


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """``2/3`` as (2, 3). Raises SuiteError."""
    if text is None:
        return None
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise SuiteError("the shard is not valid", where="--shard", received=text, expected="I/N with 1 <= I <= N")
    return int(part), int(parts)


def parse_image(text: str | None, architecture: str) -> tuple[int, ...]:
    """``3x224x224``, or ``224`` with the architecture's channels; () where absent. Raises SuiteError."""
    if text is None:
        return ()
    parts = text.lower().split("x")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise SuiteError("the image shape is not valid", where="--image", received=text, expected="CxHxW, or a side")
    shape = tuple(map(int, parts))
    if len(shape) > 1:
        return shape
    from cnnbench.harness.suite.networks import default_image

    own = default_image(architecture)
    return (own[0], *shape * (len(own) - 1))


def network_name(text: str) -> str:
    """The name under which the harness knows a network: a path to a YAML or ONNX file becomes ``file:PATH``."""
    if text.startswith("file:") or not text.lower().endswith((".yaml", ".yml", ".onnx")):
        return text
    return f"file:{text}"


def asked_network(text: str, image: str | None = None, num_classes: int | None = None) -> Graph:
    """The graph of a network that a command names. Raises SpecError, SuiteError."""
    from cnnbench.harness.suite.networks import network

    name = network_name(text)
    return network(name, parse_image(image, name), num_classes)


def asked_arrays(
    text: str, graph: Graph, weights: Path | None, seed: int, image: tuple[int, ...] = ()
) -> Mapping[str, NDArray[Any]]:
    """A network's weights and running statistics: of a weights file, else of the network's own file, else of the seed.

    Raises DataError where the weights file does not fit.
    """
    if weights is None:
        from cnnbench.harness.suite.networks import starting_arrays

        return starting_arrays(network_name(text), graph, seed, image)
    from cnnbench.spec.weights import check_fits, load

    arrays = load(weights)
    check_fits(graph, arrays, where=str(weights))
    return arrays
