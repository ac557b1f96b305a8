"""A failure that fuzzing found: its signature, by which it is reported once, and its report."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from cnnbench.numerics.case import Case
from cnnbench.numerics.outcome import QUANTITY, RAISED, CheckOutcome
from cnnbench.spec.frozen import Frozen
from cnnbench.spec.graph import Graph

NETWORK = "network"  # the kind of a failure that no single node has
ANSWERED = 60  # characters of an error's text that tell it from others


class Signature(Frozen):
    """The identity of a finding: failures of equal signature are one.

    Args:
        backend, mode: Whose program failed.
        check: Which check, or ``worker`` where the process ended.
        kind: Of the layer that introduces the error; ``network`` where no node alone does.
        quantity: What of the layer is wrong, or how the call ended.
        ended: Whether it says how the call ended.
        kinds: Of the smallest network, where no node alone introduces the error.
    """

    backend: str
    mode: str
    check: str
    kind: str
    quantity: str
    ended: bool = False
    kinds: tuple[str, ...] = ()

    def __str__(self) -> str:
        kind = f"{self.kind} of {' > '.join(self.kinds)}" if self.kinds else self.kind
        return f"{self.backend} {self.mode}, {self.check}: {kind}, {self.quantity}"


class Finding(Frozen):
    """A failure, reduced.

    Args:
        signature: What it is called.
        number: Of the network in which it was first seen.
        precision: The policy.
        nodes: Of the smallest network. before: of the whole one.
        share: Largest share of the sharp budget used; None where nothing could be compared.
        message: What the check says of the smallest network.
        network: The smallest network, in YAML.
        file: The reproducer's name in the folder; None where none could be made.
        versions: Of the packages that were asked.
        code: Digest of the reference's code.
        seen: In how many networks.
        known: The heading of the known framework defect that it is.
    """

    signature: Signature
    number: int
    precision: str
    nodes: int
    before: int
    share: float | None
    message: str
    network: str
    file: str | None
    versions: Mapping[str, str]
    code: str
    seen: int = 1
    known: str | None = None

    def text(self) -> str:
        """A short report."""
        used = "nothing could be compared" if self.share is None else f"{self.share:.3g} times the sharp budget"
        return "\n".join(
            (
                str(self.signature),
                f"  {self.precision}, network {self.number}, {self.before} nodes reduced to {self.nodes}; {used}",
                f"  {self.message}",
                f"  versions: {', '.join(f'{name} {number}' for name, number in self.versions.items())}",
                *(f"  {line}" for line in self.network.splitlines()),
            )
        )


def signature_of(outcome: CheckOutcome, case: Case) -> Signature:
    """The signature of a failed outcome.

    Args:
        outcome: The failed check.
        case: That it was run on; its mode is part of the name, and the backend is set by the caller.
    """
    known = {node.name: node.layer.kind for graph in (case.lowered, case.graph) for node in graph.nodes}
    kind = known.get(outcome.node or "", NETWORK if outcome.node not in ("loss", "optimizer") else str(outcome.node))
    name = Signature(backend="", mode=case.options.mode, check=outcome.name, kind=kind, quantity="value")
    if outcome.details.get("problem") == RAISED:
        return name.model_copy(update={"quantity": f"raised: {without_numbers(outcome.message)}", "ended": True})
    use = next((u for u in outcome.nodes if u.node == outcome.node and not u.sharp_used <= 1), None)
    named = outcome.details.get(QUANTITY, outcome.details.get("problem", "value"))
    return name.model_copy(update={"quantity": str(named if use is None else use.quantity)})


def without_numbers(text: str) -> str:
    """The beginning of an error's text, in which names of nodes and numbers do not count."""
    return re.sub(r"\bn\d+\b|\d+", "#", text)[:ANSWERED]


def as_yaml(graph: Graph) -> str:
    """A network in YAML, a node a line, as ``cnnbench verify`` reads it where its inputs are images."""
    data = graph.to_json()
    lines = [f"name: {data['name']}", "inputs:"]
    lines += [f"  - {json.dumps(item)}" for item in data["inputs"]]
    lines += ["nodes:", *(f"  - {json.dumps(item)}" for item in data["nodes"])]
    return "\n".join([*lines, f"outputs: {json.dumps(dict(data['outputs']))}"])
