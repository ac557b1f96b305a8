"""L-BFGS by ``torch.optim.LBFGS``, which keeps vectors of all weights: cut into slots of each weight, and joined."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from cnnbench.errors import UnavailableError
from cnnbench.spec.optimizers import Optimizer
from cnnbench.spec.quasi_newton import LimitedMemoryBFGS
from cnnbench_torch.optimizers import OPTIMIZERS

Slots = Mapping[str, Sequence[Tensor]]


@OPTIMIZERS.register("lbfgs")
def lbfgs(optimizer: LimitedMemoryBFGS, parameters: Sequence[Tensor], decays: Sequence[bool]) -> torch.optim.Optimizer:
    """``torch.optim.LBFGS`` that takes one iteration a step and never ends early.

    Args:
        optimizer: The rule's own fields.
        parameters: All that are trained.
        decays: Unused: the rule has no weight decay.
    """
    if parameters[0].dtype not in (torch.float32, torch.float64):
        raise UnavailableError("torch.optim.LBFGS keeps its vectors in the weights' type, which is too narrow for them")
    never = {"tolerance_grad": -1.0, "tolerance_change": -math.inf}
    return torch.optim.LBFGS(parameters, lr=0.0, max_iter=1, history_size=optimizer.history, **never)


def read_pairs(
    optimizer: Optimizer, rule: torch.optim.Optimizer | None, parameters: Sequence[Tensor]
) -> dict[str, list[Tensor]]:
    """The slots of all weights, by the specification's names.

    Args:
        optimizer: The rule of the specification.
        rule: PyTorch's; None where nothing is trained.
        parameters: All that are trained.
    """
    held = rule.state[parameters[0]] if rule is not None and parameters else {}
    vectors: dict[str, Tensor] = {}
    if held.get("prev_flat_grad") is not None:
        vectors = {"gradient": held["prev_flat_grad"], "change": held["d"].mul(held["t"])}
        pairs = zip(held["old_stps"], held["old_dirs"], strict=True)
        for rank, (change, moved) in enumerate(reversed(list(pairs)), 1):
            vectors |= {f"change_{rank}": change, f"moved_{rank}": moved}
    counts = {"step": held.get("n_iter", 0), "pairs": len(held.get("old_dirs") or ())}
    found: dict[str, list[Tensor]] = {}
    for slot in optimizer.slots:
        if slot in counts:
            found[slot] = [torch.tensor(counts[slot]) for _ in parameters]
        elif slot in vectors:
            parts = vectors[slot].split_with_sizes([parameter.numel() for parameter in parameters])
            found[slot] = [part.view_as(parameter) for part, parameter in zip(parts, parameters, strict=True)]
        else:
            found[slot] = [torch.zeros_like(parameter, requires_grad=False) for parameter in parameters]
    return found


def write_pairs(rule: torch.optim.Optimizer, parameters: Sequence[Tensor], slots: Slots) -> None:
    """Goes on from given slots.

    Args:
        rule: PyTorch's.
        parameters: All that are trained.
        slots: By the specification's names, one tensor a weight.
    """
    step, count = int(slots["step"][0]), int(slots["pairs"][0])
    if not step:
        return

    def vector(name: str) -> Tensor:
        return torch.cat([part.reshape(-1) for part in slots[name]])

    ranks = range(count, 0, -1)  # the oldest first
    changes, moved = ([vector(f"{name}_{rank}") for rank in ranks] for name in ("change", "moved"))
    products = [y.dot(s) for s, y in zip(changes, moved, strict=True)]
    rule.state[parameters[0]] = {
        "func_evals": step,
        "n_iter": step,
        "d": vector("change"),
        "t": 1.0,
        "old_dirs": moved,
        "old_stps": changes,
        "ro": [1.0 / product for product in products],
        "H_diag": products[-1] / moved[-1].dot(moved[-1]) if count else 1,
        "prev_flat_grad": vector("gradient"),
        "prev_loss": 0.0,  # read by a line search only
    }
