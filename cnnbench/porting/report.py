"""The report of a port: as plain data, as lines for a terminal, as Markdown and as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cnnbench.porting.differences import PortDifference
from cnnbench.porting.port import PortResult
from cnnbench.porting.values_apart import Parting

MOST = 30  # differences that are shown in words; all of them are in the data


def to_json(result: PortResult) -> dict[str, Any]:
    """A result as plain data."""
    parting = None if result.parting is None else _finite(asdict(result.parting))
    gradient, trained = result.gradient_parting, result.training_parting
    return {
        "reference": result.reference,
        "candidate": result.candidate,
        "same": result.same,
        "exit_code": result.exit_code,
        "aligned_nodes": result.aligned,
        "training": result.training,
        "outputs_apart": _finite(dict(result.outputs)),
        "first_parting": parting,
        "gradients_compared": result.gradients,
        "first_gradient_parting": None if gradient is None else _finite(asdict(gradient)),
        "training_arrays_compared": result.trained,
        "first_training_parting": None if trained is None else _finite(asdict(trained)),
        "differences": [
            {**_finite(asdict(item)), "counts": item in result.counted, "text": item.text}
            for item in result.differences
        ],
        "notes": list(result.notes),
    }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers that JSON has not as text."""
    odd = (float("inf"), float("-inf"))
    return {
        key: str(value) if isinstance(value, float) and (value in odd or value != value) else value
        for key, value in values.items()
    }


def lines(result: PortResult) -> list[str]:
    """A result in words, the verdict first."""
    found = [_verdict(result), *(f"note: {note}" for note in result.notes)]
    if result.counted:
        found += ["", f"{len(result.counted)} differences, the largest first:"]
        texts = _gathered(result.counted)
        found += [f"  {text}" for text in texts[:MOST]]
        if len(texts) > MOST:
            found.append(f"  and {len(texts) - MOST} more")
    left = [item for item in result.differences if item not in result.counted]
    if left:
        found += ["", f"{len(left)} differences in training only, which --train counts:"]
        found += [f"  {text}" for text in _gathered(left)[:MOST]]
    found += ["", *(f"output {name}: {_apart(size)}" for name, size in result.outputs.items())]
    if result.parting is not None:
        found += ["", *_parting(result)]
    if result.training:
        found += ["", *_gradient_parting(result), *_training_parting(result)]
    return found


def _gathered(differences: Sequence[PortDifference]) -> list[str]:
    """A line for each difference; one that many nodes have in the same words stands once, with their number."""
    groups: dict[tuple[str, ...], list[PortDifference]] = {}
    for item in differences:
        alike = (item.what, item.name, item.reference, item.candidate) if item.what in ("field", "kind") else None
        groups.setdefault(alike or (item.what, item.node, item.name), []).append(item)
    return [
        f"{items[0].text}{_size(items[0].size)}" + (f" (and {len(items) - 1} nodes more)" if len(items) > 1 else "")
        for items in groups.values()
    ]


def _verdict(result: PortResult) -> str:
    if result.same:
        return f"{result.candidate} is the same network as {result.reference}: {result.aligned} nodes agree"
    return f"{result.candidate} is not the same network as {result.reference}"


def _size(size: float | None) -> str:
    return "" if size is None else f" [alone {size:.1e} of the largest output]"


def _apart(size: float) -> str:
    return "of another shape" if size == float("inf") else f"{size:.1e} of the largest value apart"


def _parting(result: PortResult) -> list[str]:
    item = result.parting
    if item is None:
        return []
    if not item.index and item.apart == float("inf"):
        return [f"first node where they part: {item.place}, whose outputs have different shapes"]
    budgets = "" if item.budgets is None else f", {item.budgets:.3g} float32 budgets"
    found = [
        f"first node where they part: {item.place}, {_apart(item.apart)}{budgets}",
        _worst(item),
    ]
    return [*found, f"  reproduced by {item.file}"] if item.file else found


def _worst(item: Parting) -> str:
    values = f"{item.reference:.9g} in the reference, {item.candidate:.9g} in the candidate"
    return f"  worst at {list(item.index)}: {values}"


def _gradient_parting(result: PortResult) -> list[str]:
    item = result.gradient_parting
    if item is None and not result.gradients:
        return ["gradients are not compared: the values differ already"]
    if item is None:
        return [f"{result.gradients} gradients agree"]
    what = f"{item.name} of {item.place}" if item.name else f"the input {item.place}"
    found = [
        f"{item.number} of {result.gradients} gradients differ; the first from the outputs back: {what}, "
        f"{_apart(item.apart)}, {item.budgets:.3g} float32 budgets",
        _worst(item),
    ]
    if item.without:
        cause = "a value is detached (detach, stop_gradient, no_grad) or the weight is not trained"
        found.append(f"  it is 0 throughout in the {item.without}: {cause}")
    return found


def _training_parting(result: PortResult) -> list[str]:
    item = result.training_parting
    if item is None:
        said = f"a training pass agrees: {result.trained} running statistics and outputs"
        return [said] if result.trained else ["no training pass is compared"]
    what = f"{item.name} of {item.place}" if item.name else f"the output {item.place}"
    budgets = "" if item.budgets is None else f", {item.budgets:.3g} float32 budgets"
    found = [
        f"{item.number} of {result.trained} running statistics and outputs of a training pass differ; the first: "
        f"{what}, {_apart(item.apart)}{budgets}",
        _worst(item),
    ]
    for side, rule in zip(("reference", "candidate"), item.rules, strict=True):
        found += [f"  in the {side} {rule}"] if rule else []
    return found


def to_markdown(result: PortResult) -> str:
    """A result as a page in Markdown."""
    verdict, *rest = lines(result)
    rows = [
        f"| {_cell(item.node)} | {_cell(item.name or item.what)} | {_cell(item.reference)} | {_cell(item.candidate)} "
        f"| {'' if item.size is None else f'{item.size:.1e}'} | {_cell(item.effect)} |"
        for item in result.counted
    ]
    table = ["| node | what | reference | candidate | alone | effect |", "| --- | --- | --- | --- | --- | --- |", *rows]
    return "\n".join(["# Port", "", f"{verdict}.", "", *(table if rows else []), "", "```text", *rest, "```", ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def to_html(result: PortResult) -> str:
    """A result as one file of HTML that needs nothing else; every name is text."""
    heads = "".join(f"<th>{name}</th>" for name in ("node", "what", "reference", "candidate", "alone", "effect"))
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td>{html.escape(cell)}</td>"
            for cell in (
                item.node,
                item.name or item.what,
                item.reference,
                item.candidate,
                "" if item.size is None else f"{item.size:.1e}",
                item.effect,
            )
        )
        + "</tr>"
        for item in result.counted
    )
    verdict, *rest = lines(result)
    style = "body{font:15px sans-serif;max-width:70em;margin:2em auto}td,th{text-align:left;padding:.3em .8em}"
    return (
        f"<!doctype html><meta charset=utf-8><title>Port</title><style>{style}</style>"
        f"<h1>{html.escape(verdict)}</h1><table><tr>{heads}</tr>{rows}</table>"
        f"<pre>{html.escape(chr(10).join(rest))}</pre>\n"
    )
