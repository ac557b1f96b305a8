"""Pages that are made from runs and from the code hold every entry that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from framework_defects import defects

from cnnbench.execution.backends import load_backend
from cnnbench.numerics.budgets import budget_form
from cnnbench.numerics.faults import faults
from cnnbench.numerics.replay import replay
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.kinds import layer_kinds
from cnnbench.views.shipped import SHIPPED

DOCS = Path(__file__).parents[2] / "docs"
PUBLISHED = DOCS.parent / "reports" / "published"
FILES = sorted((DOCS / "reproducers").glob("*.safetensors"))


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def test_the_page_of_faults_lists_every_fault_and_no_survivor():
    rows = dict(re.findall(r"^\| `([\w.]+)` (\|.*)$", page("faults"), re.MULTILINE))
    assert set(rows) == set(faults()), "write the page again: make faults"
    assert [name for name, cells in rows.items() if "**" in cells or "elsewhere" in cells] == []


def test_the_page_of_faults_counts_what_it_lists():
    counts = re.findall(
        r"^\| \w+ \w+ \| [\w.+]+ \| (\d+) / (\d+) \| (\d+) / (\d+) \| (\d+) / (\d+) \|$", page("faults"), re.M
    )
    assert len(counts) >= 2
    for killed, injected, located, of_killed, alarms, clean in counts:
        assert killed == injected == of_killed == located == clean
        assert alarms == "0"


def test_the_page_of_budgets_lists_every_primitive_kind_with_its_form():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", page("budgets"), re.MULTILINE))
    kinds = {kind for kind, cls in layer_kinds().items() if cls.__module__.startswith("cnnbench.spec.")}
    forms = {kind: budget_form(kind) for kind in kinds}
    assert rows == {k: form for k, form in forms.items() if form != "of its parts"}, (
        "write the page again: make budgets"
    )


def test_the_page_of_defects_lists_every_defect_with_its_reproducer():
    text = page("framework-defects")
    assert set(re.findall(r"^### `(\w+)`$", text, re.MULTILINE)) == set(defects()), "make defects"
    assert "check: mended" not in text
    assert set(re.findall(r"\(reproducers/(\w+)\.safetensors\)", text)) == {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_reproducer_passes_on_the_reference(path):
    """The node alone with its exact values and budgets: what any right implementation gives."""
    backend = load_backend("numpy")
    if "float16" in path.stem:
        pytest.skip("NumPy computes in neither bfloat16 nor float16")
    outcome = replay(path, InProcessSubject(backend), mode="reference")
    assert outcome.status == "passed", outcome.message


def test_the_gallery_has_every_view_with_a_command_a_picture_and_a_time_and_compares_them_on_four_backends():
    text = (PUBLISHED / "views.md").read_text(encoding="utf-8")
    whole, _, compared = text.partition("## The same on four backends\n")
    parts = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", whole, re.MULTILINE | re.DOTALL))
    assert list(parts) == [view.name for view in SHIPPED], "write the page again: python docs/write_gallery.py"
    for name, part in parts.items():
        assert re.search(rf"^\$ cnnbench view .* --what {name} -b torch", part, re.MULTILINE), name
        assert re.search(r"^\d+\.\d s of processor time", part, re.MULTILINE), name
        assert (PUBLISHED / re.search(r"\]\((.*\.png)\)", part)[1]).is_file(), name
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", compared, re.MULTILINE)
    assert len(rows) >= 10
    assert "saliency" in dict(rows)
    assert all(float(share) <= 1 for _, shares in rows for share in shares.split(" | "))
    assert all(len(shares.split(" | ")) == 5 for _, shares in rows)  # four backends, and how wide the budget is
    assert "DIFFERS" in compared
