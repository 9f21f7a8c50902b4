"""A browser that listens: one Chromium for all tests that look at pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
PATIENCE = 20_000


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium at {CHROMIUM}: install Debian's chromium package")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


class Eyes:
    """Opens pages and remembers every complaint and every host that was asked."""

    def __init__(self, browser) -> None:
        self.browser, self.contexts = browser, []
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.size = {"width": 1400, "height": 900}

    def open(self, url: str, wait: str = "graph", **options):
        context = self.browser.new_context(viewport=self.size, **options)
        context.set_default_timeout(PATIENCE)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", self.hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        page.goto(url)
        if wait:  # the graph is there after the map
            ready = "html[data-ready]" if wait == "map" else f"html[data-ready={wait}]"
            page.wait_for_selector(ready)
        return page

    def hear(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} ({message.location})")


@pytest.fixture
def eyes(chromium) -> Iterator[Eyes]:
    """Fails the test on any console error, script error, dialog or request elsewhere."""
    eyes = Eyes(chromium)
    yield eyes
    for context in eyes.contexts:
        context.close()
    assert eyes.complaints == []
    foreign = {host for host in eyes.hosts if host and host.split(":")[0] != "127.0.0.1"}
    assert foreign == set()


def netron_frame(page):
    """Netron's own page, of the model that is shown."""
    return page.frame_locator(".graph.current iframe")
