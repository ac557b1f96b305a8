"""Passwords and tokens of addresses are in no text that is shown or kept."""

from __future__ import annotations

import pytest

from cnnbench.addresses import shown_address, without_secrets
from cnnbench.errors import CnnbenchError
from cnnbench.harness.worker.plain_text import plain_text
from cnnbench.registry import guarded


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:s3cret@127.0.0.1:5731", "http://127.0.0.1:5731"),
        ("at http://u:p@ss@host/x, see https://arxiv.org/abs/1512.03385", "at http://host/x, see https://arxiv.org/abs/1512.03385"),
        ("postgresql+psycopg2://u:pa/ss@h/db", "postgresql+psycopg2://h/db"),
        ("http://u:pa#ss@h/db", "http://h/db"),
        ("http://h:80/p?access_token=abc&x=1&X-Amz-Signature=9", "http://h:80/p?access_token=***&x=1&X-Amz-Signature=***"),
        ("http://h/#/e?viewStateShareKey=9", "http://h/#/e?viewStateShareKey=9"),
        ("http://h/#access_token=abc", "http://h/#access_token=***"),
        ("http://a:b@h,http://c:d@g", "http://h,http://g"),
        ('{"a": "http://u:p@h", "b": "x@y"}', '{"a": "http://h", "b": "x@y"}'),
        ("git+https://ghp_1234@github.com/o/r.git@main", "git+https://github.com/o/r.git@main"),
        ("sqlite:////home/me@x/mlflow.db", "sqlite:////home/me@x/mlflow.db"),
        ("http://[::1]:5000/a@b and a@b", "http://[::1]:5000/a@b and a@b"),
        ("no address: me@example.org", "no address: me@example.org"),
    ],
)  # fmt: skip
def test_what_is_left_of_addresses(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
    assert without_secrets(shown) == shown


def test_an_address_that_is_shown_alone_keeps_neither_query_nor_fragment() -> None:
    assert shown_address("http://u:p@h:5000/p?anything=secret#x") == "http://h:5000/p"
    assert shown_address("mlruns") == "mlruns"


def test_secrets_that_the_process_was_given_stand_in_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:s%40cret@host?api_key=k3y9")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct horse")
    monkeypatch.setenv("SOME_TOKEN", "short")
    monkeypatch.setenv("TOKEN_FILE", "/run/secrets/token")
    text = "s%40cret s@cret k3y9 correct horse short /run/secrets/token"
    assert without_secrets(text) == "*** *** *** *** short /run/secrets/token"


def test_errors_reasons_and_logs_are_cleaned() -> None:
    address = "http://user:s3cret@host"
    error = CnnbenchError(f"no answer from {address}", where=address, received=address, remedy=address)
    assert "s3cret" not in f"{error} {error!r} {error.at(address)}"
    reasons: list[str] = []
    with guarded(reasons.append):
        raise ValueError(f"cannot read {address}")
    assert reasons == ["ValueError: cannot read http://host"]
    assert plain_text(f"GET {address}") == "GET http://host"
