"""Opens MLflow's store: which one, with short patience, without telemetry; whatever fails is one clear error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cnnbench.addresses import TRACKING, shown_address, without_secrets
from cnnbench.errors import UnavailableError
from cnnbench.harness.run.files import check_writable

if TYPE_CHECKING:
    from mlflow import MlflowClient

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
    uri = given or os.environ.get(TRACKING) or f"{SQLITE}{DEFAULT_DATABASE}"
    if not uri.startswith(SQLITE):
        return uri
    path, question, settings = uri.removeprefix(SQLITE).partition("?")
    return f"{SQLITE}{Path.cwd() / path}{question}{settings}"


def database(uri: str) -> Path | None:
    """The file of a store in SQLite; None for another store."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0]) if uri.startswith(SQLITE) else None


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
        try:
            with _alone(uri):
                client = MlflowClient(tracking_uri=uri)
                client.search_experiments(max_results=1)
        except Exception as error:  # a database's driver may be missing, or raise what it likes
            raise _unavailable(uri, error) from error
        try:
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
    file = database(uri)
    if file is None:
        yield
        return
    import fcntl

    if not file.is_file():
        check_writable(file)  # MLflow would try for minutes
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _probe(uri: str) -> None:
    """Finds out within seconds that a server is down; any answer at all counts as being up."""
    import http.client
    import urllib.error
    import urllib.request

    if not uri.startswith("http"):
        return
    address = shown_address(uri).rstrip("/") + "/health"
    try:
        with urllib.request.urlopen(address, timeout=PROBE_S):  # noqa: S310 - http, as the user gave it
            pass
    except urllib.error.HTTPError:
        pass
    except (OSError, ValueError, http.client.HTTPException) as error:  # the last two: it is no address
        raise _unavailable(uri, error) from error


def _unavailable(uri: str, error: Exception) -> UnavailableError:
    reason = without_secrets((str(error).splitlines() or [type(error).__name__])[0], uri)[:300]
    return UnavailableError(
        f"MLflow does not take the run: {reason}",
        where=shown_address(uri),
        remedy="the records are kept; send them later: cnnbench report RUN --log",
    )
