"""The check of special values: NaN, infinities, denormals and zeros come out of the program as the reference says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.gaps import Gap
from cnnbench.numerics.budgets import Budget, budget_form
from cnnbench.numerics.cache_entry import CacheEntry
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks.located import poisoned_program, with_node
from cnnbench.numerics.checks.verdict import describe
from cnnbench.numerics.comparison import Comparison, Place, compare, examine
from cnnbench.numerics.divergence import ReproducerSource, Reproduction, render, write_reproducer
from cnnbench.numerics.envelope import forward_envelope
from cnnbench.numerics.memoizing import MemoizingSubject, special_gaps
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.rounding import to_storage
from cnnbench.numerics.special_truth import SpecialTruth
from cnnbench.numerics.special_values import Chain, chains, classes, is_free, poisoned_batch, wide_chains
from cnnbench.numerics.subject import Subject
from cnnbench.spec.graph import Graph, weight_parts

Array = NDArray[Any]
NAME = "special"
FINITE = Budget(np.asarray(3e38), np.asarray(3e38))  # of a reproducer: only which values are finite is compared
SAME = Budget(np.asarray(0.5), np.asarray(0.5))  # of values that are the exact ones unless they are of another class


def check_special(subject: Subject, oracle: Oracle) -> CheckOutcome:
    """Short chains of the network's nodes on NaN, infinities, denormals and zeros; then its program on one NaN.

    Each chain runs as part of a program with the options of the timed one, and an activation runs alone on values of
    every size. Then the timed program runs on its batch with one NaN in the first image, which must come out where the
    reference has it, and leave the other images as they are. What a backend declares of a kind is named, not failed.
    """
    case = oracle.case
    plain = subject.subject if isinstance(subject, MemoizingSubject) else subject
    declared = _declared(subject, oracle)
    truth = SpecialTruth(oracle, _asked(oracle, declared))
    met: dict[str, str] = {}
    for i, comparison in _compared(plain, truth):
        if _is_wrong(comparison):
            known = _excuses(truth.chains[i], declared)
            if not known:
                return _failed(plain, oracle, truth.chains[i], comparison)
            met |= known
    leaked, swallowed = _program(subject, oracle)
    details: dict[str, Any] = {"chains": len(truth.chains), "batch": case.size}
    if leaked or (swallowed and not declared):
        details["problem"] = "nan"
        text = leaked or f"{swallowed}; the chains of its nodes are right"
        outcome = CheckOutcome(name=NAME, status="failed", budget_used=np.inf, message=text, details=details)
        batch = poisoned_batch(case)
        return outcome if batch is None else with_node(outcome, plain, oracle, lambda: [poisoned_program(oracle)])
    if swallowed:
        met = {kind: gap.reason for kind, gap in declared.items()}
    if met:
        details["declared"] = met
    return CheckOutcome(name=NAME, status="passed", message=_said(len(truth.chains), met, swallowed), details=details)


def _said(count: int, met: dict[str, str], swallowed: str) -> str:
    if not met:
        what = f"NaN, infinities and denormals come out of {count} chains and" if count else "NaN comes out"
        return f"{what} of the program as in the reference"
    kinds = "; ".join(f"{kind}: {reason}" for kind, reason in sorted(met.items()))
    end = f"; {swallowed}" if swallowed else ""
    return f"NaN, infinities or denormals come out otherwise than in the reference, as declared, at {kinds}{end}"


def prefetch_special(oracle: Oracle) -> None:
    """Has the oracle compute what is right for the chains of a backend that declares nothing."""
    truth = SpecialTruth(oracle, _asked(oracle, {}))
    if truth.chains:
        truth.exact(0)


def _declared(subject: Subject, oracle: Oracle) -> dict[str, Gap]:
    """What the subject declares of special values, by those kinds that the network has."""
    case = oracle.case
    return {
        node.layer.kind: gap
        for node in case.lowered.nodes
        for gap in special_gaps(subject)
        if gap.alters(node.layer, case.policy.name, case.options.mode)
    }


def _excuses(chain: Chain, declared: Mapping[str, Gap]) -> dict[str, str]:
    """What is declared of a chain: nothing of one on finite values, nor of a node alone that is wrong only fused."""
    found = {kind: declared[kind] for kind in chain.kinds if kind in declared and not chain.wide}
    return {k: gap.reason for k, gap in found.items() if gap.special_values == "always" or len(chain.nodes) > 1}


def _asked(oracle: Oracle, declared: Mapping[str, Gap]) -> list[Chain]:
    """The chains, none of a user's own program; beside one of which something is declared, the parts without."""
    graph = oracle.case.lowered
    if oracle.case.options.own is not None:
        return []
    found = dict.fromkeys(chains(graph))
    for chain in [chain for chain in found if _excuses(chain, declared)]:
        parts = [part for part in chain.parts() if not _excuses(part, declared)]
        for part in parts:
            if not any(set(part.nodes) < set(other.nodes) for other in parts):
                found[part] = None
    known: dict[tuple[str, ...], Chain] = {}
    for chain in found:
        known.setdefault(chain.kinds, chain)
    return [*known.values(), *wide_chains(graph)]


def _compared(subject: Subject, truth: SpecialTruth) -> Iterator[tuple[int, Comparison]]:
    if not truth.chains:
        return
    graph, arrays, batch = truth.built
    case = truth.oracle.case
    got = subject.forward(graph, arrays, batch, replace(case.options, training=False)).outputs
    for i, chain in enumerate(truth.chains):
        yield i, _compare(truth, i, chain, got.get(f"output{i}"))


def _compare(truth: SpecialTruth, i: int, chain: Chain, got: Array | None) -> Comparison:
    """Which values are finite, element for element; of an activation on values of every size the values themselves."""
    case, exact = truth.oracle.case, truth.exact(i)
    last = case.lowered.node(chain.nodes[-1])
    form = budget_form(last.layer.kind, whole=True) if chain.wide else NAME
    place = Place(last.name, last.layer.kind, Quantity.output(0), form)
    if examine(got, exact.shape, case.policy, exact)[0] in ("wrong_shape", "wrong_dtype") or got is None:
        return compare(place, got, exact, SAME, case.policy)
    chooses = exact.dtype.kind in "iu" or last.layer.kind == "hardmax"
    seen = (lambda x: np.asarray(x, np.int64)) if chooses else classes
    same = seen(got) == seen(exact)
    admitted = same
    for other in truth.also_right if not np.all(same) else ():
        with np.errstate(over="ignore"):
            admitted = admitted | (seen(got) == seen(to_storage(other[f"output{i}"], case.policy)))
    if chooses and not np.all(admitted):  # a near tie of ordinary values may go either way
        admitted = admitted | (truth.of_ordinary_values[f"output{i}"] == exact)
        admitted = admitted | (truth.also_right[1][f"output{i}"] != exact)  # denormals decide
    if chain.wide:
        return compare(place, np.where(admitted & ~same, exact, got), exact, truth.budget(i), case.policy)
    return compare(place, np.where(admitted, exact, got).astype(got.dtype), exact, SAME, case.policy)


def _is_wrong(comparison: Comparison) -> bool:
    return comparison.problem is not None or not comparison.use.sharp_used <= 1


def _failed(subject: Subject, oracle: Oracle, chain: Chain, whole: Comparison) -> CheckOutcome:
    """The shortest part of a chain that is wrong: one node, or the nodes that are wrong only together."""
    case = oracle.case
    truth = SpecialTruth(oracle, [chain] if chain.wide else list(chain.parts()))
    found = ((truth.chains[i], c) for i, c in _compared(subject, truth) if _is_wrong(c))
    part, failure = next(found, (chain, whole))
    position = list(truth.chains).index(part)
    graph, arrays, batch = truth.built

    def reproduction(name: str, quantity: Quantity) -> Reproduction:
        own = {f"chain{position}.{j}": node for j, node in enumerate(part.nodes)}
        nodes = tuple(
            replace(graph.node(key), name=node, inputs=tuple(own.get(value, value) for value in graph.node(key).inputs))
            for key, node in own.items()
        )
        read = {value for node in nodes for value in node.inputs}
        inputs = tuple(item for item in graph.inputs if item.name in read)
        held = ((*weight_parts(key), array) for key, array in arrays.items())
        return Reproduction(
            graph=Graph("special values", inputs, nodes, (("output0", part.nodes[-1]),)),
            arrays={f"{own[node]}.{weight}": array for node, weight, array in held if node in own},
            batch={item.name: batch[item.name] for item in inputs},
            options=replace(case.options, training=False),
            gradient=False,
            result="output0",
            exact=truth.exact(position),
            budget=truth.budget(position) if part.wide else FINITE,
        )

    source = ReproducerSource(NAME, case.lowered, case.size, reproduction, case.folder)
    file = write_reproducer(failure, source)
    together = "" if len(part.nodes) == 1 else f"; only in {' + '.join(part.nodes)} together, each node alone is right"
    details = {"chain": list(part.nodes), "report": render(failure, source)}
    if failure.problem is not None:
        details["problem"] = failure.problem
    return CheckOutcome(
        name=NAME,
        status="failed",
        budget_used=failure.use.sharp_used,
        node=failure.use.node,
        message=describe(failure) + together,
        reproducer=str(file) if file else None,
        details=details,
    )


def _program(subject: Subject, oracle: Oracle) -> tuple[str, str]:
    """What the timed program does wrong with a NaN in its first image: to the other images, and to that one."""
    case = oracle.case
    batch = poisoned_batch(case)
    if batch is None:
        return "", ""
    options = replace(case.options, training=False)
    program = (case.graph, case.stored, case.inputs, options)
    kept = subject.latest(*program) if isinstance(subject, MemoizingSubject) else None
    plain = subject.subject if isinstance(subject, MemoizingSubject) else subject
    clean = (kept or plain.forward(*program)).outputs
    got = plain.forward(case.graph, case.stored, batch, options).outputs

    def fill(entry: CacheEntry) -> None:
        with np.errstate(all="ignore"):
            exact = reference().subject.forward(case.lowered, case.stored, batch, reference_options()).outputs
        for i, (name, _) in enumerate(case.lowered.outputs):
            entry.write(f"value.{i}", classes(exact[name]))

    entry = oracle.cache.entry(case.key("special image"), fill)
    free = any(is_free(node.layer) for node in case.lowered.nodes)
    leaked, swallowed, gap = "", "", {}
    for i, (name, _) in enumerate(case.lowered.outputs):
        value, expected = got[name], np.asarray(entry.read(f"value.{i}"))
        if value.dtype.kind in "iu" or value.shape != expected.shape or not _holds_images(case, i):
            continue
        value, expected, before = (_by_image(array, case.size) for array in (value, expected, clean[name]))
        others = (expected[1:] == 0) & np.isfinite(before[1:])  # a value that overflows is no leak
        gap[name] = float(np.abs(value[1:] - before[1:])[others].max(initial=0.0))
        bad = int((~np.isfinite(value[1:]) & others).sum())
        if bad:
            leaked = f"output {name}: a NaN in the first image makes {bad} values of other images NaN"
        differ = classes(value[0]) != expected[0]
        lost = int((differ & np.isfinite(value[0]).all() if free else differ).sum())
        if lost:
            swallowed = (
                f"output {name}: {lost} of the first image's {expected[0].size} values are not as in the reference"
            )
    if not leaked and any(gap.values()):
        shares = forward_envelope(oracle)[1].used(gap)
        worst = max(shares, key=lambda name: shares[name])
        if not shares[worst] <= 1:
            leaked = f"output {worst}: a NaN in the first image changes other images by up to {gap[worst]:.3g}"
    return leaked, swallowed


def _holds_images(case: Case, output: int) -> bool:
    """Whether the first axis of an output has the images, or the same number of rows of each."""
    value = case.lowered.outputs[output][1]
    one, all_of_them = case.lowered.shapes(1)[value], case.lowered.shapes(case.size)[value]
    return bool(one) and all_of_them == (one[0] * case.size, *one[1:])


def _by_image(array: Array, images: int) -> Array:
    """The array with images as its first axis: regions lie image after image."""
    return array.reshape(images, -1, *array.shape[1:])
