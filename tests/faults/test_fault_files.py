"""A fault lies in the file of its layer's family, so that whoever reads one finds the other."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

import cnnbench.numerics.faults as package
from cnnbench.spec.kinds import layer_kinds

FOLDER = Path(package.__file__).parent
# What a network is trained by, how nodes use weights, and what happens to whole programs.
TERMS = {
    "loss": "losses",
    "optimizer": "optimizers",
    "step": "step_gradients",
    "sharing": "sharing",
    "load": "loads",
    "folding": "folding",
    "process": "between_programs",
    "program": "programs",
    "trained": "trained",
}
STEMS = sorted(module.name for module in iter_modules([str(FOLDER)]) if not module.ispkg)


def family(fault) -> str:
    """The family of the layer that a fault is named after; that of a part's composite, where it changes a part."""
    name = fault.name.partition(".")[0]
    kind = layer_kinds().get(name)
    return TERMS.get(fault.kind) or (kind.family if kind else name)


@pytest.mark.parametrize("stem", STEMS)
def test_a_file_of_faults_has_the_stem_of_a_family_and_its_faults_only(stem):
    assert stem in {layer.family for layer in layer_kinds().values()} | set(TERMS.values())
    assert {family(fault) for fault in import_module(f"{package.__name__}.{stem}").FAULTS} == {stem}
