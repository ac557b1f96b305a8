"""Opens MLflow's store: which one, with short patience, without telemetry; whatever fails is one clear error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from cnnbench.errors import UnavailableError

if TYPE_CHECKING:
    from mlflow import MlflowClient

VARIABLE = "MLFLOW_TRACKING_URI"
DEFAULT_DATABASE = "mlflow.db"
SQLITE = "sqlite:///"
PROBE_S = 5.0
PATIENCE = {  # MLflow's defaults wait four minutes for a server that is down
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}


def tracking_uri(given: str | None = None) -> str:
    """The store: as given, or ``$MLFLOW_TRACKING_URI``, or SQLite at ``mlflow.db`` in the working directory."""
    return given or os.environ.get(VARIABLE) or f"{SQLITE}{Path.cwd() / DEFAULT_DATABASE}"


def prepare(given: str | None = None) -> None:
    """Opens the store once, which creates it where there is none.

    Raises:
        UnavailableError: It does not answer.
    """
    with connected(given):
        pass


@contextmanager
def connected(given: str | None) -> Iterator[MlflowClient]:
    """A client with short patience and without telemetry; whatever fails becomes an UnavailableError."""
    uri = tracking_uri(given)
    _probe(uri)
    before = {name: os.environ.get(name) for name in (*PATIENCE, *QUIET)}
    for name, value in {**PATIENCE, **QUIET}.items():
        os.environ.setdefault(name, value)
    try:
        import logging

        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        if uri.startswith(SQLITE):
            Path(uri.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
        try:
            with _alone(uri):
                client = MlflowClient(tracking_uri=uri)
                client.search_experiments(max_results=1)
            yield client
        except (MlflowException, OSError) as error:
            raise _unavailable(uri, error) from error
    finally:
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Holds the folder of a database: two processes that create its tables at once would fail."""
    if not uri.startswith(SQLITE):
        yield
        return
    import fcntl

    descriptor = os.open(Path(uri.removeprefix(SQLITE)).parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _probe(uri: str) -> None:
    """Finds out within seconds that a server is down; any answer at all counts as being up."""
    import urllib.error
    import urllib.request

    if not uri.startswith("http"):
        return
    address = without_credentials(uri).rstrip("/") + "/health"
    try:
        with urllib.request.urlopen(address, timeout=PROBE_S):  # noqa: S310 - http, as the user gave it
            pass
    except urllib.error.HTTPError:
        pass
    except OSError as error:
        raise _unavailable(uri, error) from error


def _unavailable(uri: str, error: Exception) -> UnavailableError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
    return UnavailableError(
        f"MLflow does not take the run: {reason}",
        where=without_credentials(uri),
        remedy="the records are kept; send them later: cnnbench report RUN --log",
    )


def without_credentials(uri: str) -> str:
    """An address as it may be shown and stored."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
