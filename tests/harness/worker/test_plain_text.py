"""Text of others is made fit for UTF-8 and for terminals, and is otherwise left alone."""

from __future__ import annotations

from cnnbench.harness.passes.findings import Failure
from cnnbench.harness.worker.plain_text import plain_text


def test_half_characters_and_control_characters_are_replaced():
    assert plain_text("a\ud800b\x00c\x1b[2Jd") == "a\ufffdb\ufffdc\ufffd[2Jd"
    kept = "tab\tline\r\n Ελληνικά 😀"
    assert plain_text(kept) == kept


def test_every_reason_can_be_written():
    assert Failure(status="error", reason="\ud800").model_dump_json()
