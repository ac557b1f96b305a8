"""Bug reports for a framework's own tracker: the symptom, the smallest network, and a reproducer."""

from __future__ import annotations

import math

from cnnbench.fuzzing.findings import Finding
from cnnbench.numerics.case import Case

SHOWN = 64  # numbers of an array that are written out


def upstream_report(finding: Finding, small: Case, whole: Case) -> str:
    """Markdown that stands alone; the reproducer is the file to attach.

    Args:
        finding: The failure, reduced.
        small: The reduced question.
        whole: The one in which it was seen.
    """
    name = finding.signature
    kinds = ", ".join(node.layer.kind for node in small.graph.nodes)
    versions = [f"* {package} {version}" for package, version in finding.versions.items() if version]
    lines = [
        f"# {name.backend}, {name.mode}: wrong values of {kinds}",
        "",
        f"{_said(finding)} Each value is compared with the same network in float64; the error that "
        f"{finding.precision} admits is derived from the operations.",
        "",
        "```",
        finding.message,
        "```",
        "",
        f"The network was reduced from {len(whole.graph.nodes)} to {len(small.graph.nodes)} "
        f"{'operation' if len(small.graph.nodes) == 1 else 'operations'}; without any of them the values are right.",
        "",
        "## Versions",
        "",
        *versions,
        "",
        "## Network",
        "",
        "```yaml",
        finding.network,
        "```",
        "",
        *_arrays(small),
    ]
    if finding.file is not None:
        lines += [
            "## Reproduce",
            "",
            f"The attached file `{finding.file}` holds the network, its weights and its inputs (safetensors:",
            "`array.<weight>`, `batch.<input>`, layouts (N, C, H, W) and (O, I, H, W)).",
            "",
            "```console",
            f"$ cnnbench replay {finding.file} -b {name.backend}:{name.mode}",
            "```",
            "",
        ]
    return "\n".join(lines)


def _said(finding: Finding) -> str:
    if finding.share is None:
        return "The network below gives values that cannot be compared."
    return f"The network below errs by {finding.share:.3g} times what rounding explains."


def _arrays(small: Case) -> list[str]:
    """The arrays that are small enough to be read."""
    given = {**{f"input {name}": array for name, array in small.inputs.items()}, **dict(small.stored)}
    lines = [
        f"{name} {tuple(array.shape)} = {array.tolist()}"
        for name, array in given.items()
        if math.prod(array.shape) <= SHOWN
    ]
    return ["## Values", "", "```", *lines, "```", ""] if lines else []
