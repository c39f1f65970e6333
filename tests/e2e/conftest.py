"""An app and a browser for all browser tests of a process, and pages that may log no error and ask no other host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.browser import open_browser, open_page, running_app


@pytest.fixture(scope="package")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_app(tmp_path_factory.mktemp("app")) as address:
        yield address


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser that is closed before other tests of the process begin: an event loop runs as long as it is open."""
    with sync_playwright() as playwright:
        browser = open_browser(playwright)
        yield browser
        browser.close()


@pytest.fixture
def open_(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Open pages of the app at `address`, which may be the test file's own; at the end they are watched for faults."""
    pages: list[Page] = []

    def open_one(**options: Any) -> Page:
        pages.append(open_page(browser, address, **options))
        return pages[-1]

    yield open_one
    faults = [fault for page in pages for fault in page.watch.faults]  # type: ignore[attr-defined]
    asked = [url for page in pages for url in page.watch.requests]  # type: ignore[attr-defined]
    for page in pages:
        page.context.close()
    assert faults == []
    assert asked, "the watch saw no request: it cannot have seen a foreign one"
