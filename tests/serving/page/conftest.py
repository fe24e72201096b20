"""A browser, and a folder for pictures of each state: $INFILLING_SCREENSHOTS, if it is set."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.serving.conftest import Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright
    from tests.serving.page.browser import CHROMIUM

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("INFILLING_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visit(browser: "Browser") -> "Iterator[Callable[..., Page]]":
    """`visit(server)` opens the page; what goes wrong in its scripts fails the test."""
    from tests.serving.page.browser import DESK

    contexts, wrong = [], []

    def open_page(server: Running, kind: dict[str, object] | None = None, path: str = "/") -> "Page":
        context = browser.new_context(**(kind or DESK))  # type: ignore[arg-type]
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda told: wrong.append(told.text) if "Content Security" in told.text else None)
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith((server.url, "blob:", "data:")) else wrong.append(asked.url)
            ),
        )
        page.goto(server.url + path)
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong
