"""Takes the pictures of the README from a run: ``python docs/images/take.py RUN_FOLDER`` (``make screenshots``)."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "tests" / "support"))

from browser import bars, chrome, picture, tidy, until  # noqa: E402

from cnnbench.output.mlflow_ui import MlflowServer  # noqa: E402
from cnnbench.output.recorders.mlflow import log_run  # noqa: E402


def main(folder: Path) -> None:
    """Logs a copy of the run to a store of its own, and photographs the comparison and the report."""
    with tempfile.TemporaryDirectory(prefix="cnnbench-pictures-") as temporary:
        copy = Path(temporary) / folder.parent.name / folder.name
        shutil.copytree(folder, copy)
        store = f"sqlite:///{temporary}/mlflow.db"
        logged = log_run(copy, store)
        with MlflowServer(store, 5600) as server, chrome(1720, 1060) as driver:
            driver.get(logged.comparison(server.url))
            until(driver, bars)
            tidy(driver)
            time.sleep(3)  # the charts take their new width
            picture(driver, HERE / "mlflow-comparison.png")
            driver.get((copy / "report.html").as_uri())
            driver.set_window_size(1400, 1500)
            picture(driver, HERE / "report.png")


if __name__ == "__main__":
    from cnnbench.harness.run.lookup import find_run

    main(find_run(sys.argv[1] if len(sys.argv) > 1 else "latest").resolve())
