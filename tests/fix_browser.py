"""A real browser, where there is one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def browser(chromium: Any) -> Any:
    """It shows nothing: the page of an earlier test would go on asking its own server while requests are counted."""
    chromium.get("about:blank")
    requested(chromium)
    return chromium


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Chromium without a screen; skips where there is none."""
    if not shutil.which("chromedriver"):
        pytest.skip("no Chromium on this machine (apt-get install chromium chromium-driver brings one)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield started
    started.quit()


def requested(browser: Any) -> set[str]:
    """Every address that was asked for since the last look."""
    found = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.add(message["params"]["request"]["url"])
    return found
