"""Headless Chromium for tests and pictures of pages."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def missing() -> str | None:
    """Why there can be no browser here, or None."""
    from importlib.util import find_spec

    absent = [name for name, there in (("Chromium", CHROMIUM), ("chromedriver", DRIVER)) if not there]
    absent += [] if find_spec("selenium") else ["selenium"]
    return f"{', '.join(absent)} is not installed" if absent else None


@contextmanager
def chrome(width: int = 1600, height: int = 1000) -> Iterator[Any]:
    """A driver with a fresh profile."""
    from selenium import webdriver

    with tempfile.TemporaryDirectory(prefix="cnnbench-chromium-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for option in (*OPTIONS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(option)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        try:
            yield driver
        finally:
            driver.quit()


def until(driver: Any, found: Callable[[Any], Any], seconds: float = 60) -> Any:
    """What ``found`` returns as soon as it is true."""
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(driver, seconds).until(found)


def bars(driver: Any) -> list[list[str]]:
    """The fill colours of each bar chart on the page, ``#rrggbb``, from the top."""
    script = """
        return [...document.querySelectorAll('.js-plotly-plot')].map(plot =>
            [...plot.querySelectorAll('g.bars g.point path, g.barlayer g.point path')]
                .sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)
                .map(path => getComputedStyle(path).fill)).filter(list => list.length)
    """
    return [[_hex(fill) for fill in fills] for fills in driver.execute_script(script)]


def _hex(rgb: str) -> str:
    numbers = rgb[rgb.index("(") + 1 : rgb.index(")")].split(",")[:3]
    return "#" + "".join(f"{round(float(number)):02x}" for number in numbers)


def tidy(driver: Any) -> None:
    """Closes what MLflow shows beside the page: its assistant and the notice that a view is shared."""
    for label in ("Close", "Hide banner"):
        for button in driver.find_elements("css selector", f"button[aria-label='{label}']"):
            if button.is_displayed():
                button.click()


def picture(driver: Any, path: Path) -> None:
    """Saves what the window shows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    driver.save_screenshot(str(path))
