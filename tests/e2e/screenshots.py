"""Take the pictures of the page for the documents: `python -m tests.e2e.screenshots [FOLDER]`, by default docs/screenshots.

Every page, with the pocket models, at desk and phone width, light and dark.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.browser import ROOT, open_browser, open_page, running_app

MAX_BYTES = 300_000
LONG = 300_000  # milliseconds
PROMPT, SEED = "a yellow star on a purple background", "7"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, running_app(Path(home)) as address, sync_playwright() as playwright:
        browser = open_browser(playwright)
        for width, dark in ((1280, False), (1280, True), (390, False), (390, True)):
            page = open_page(browser, address, width=width, dark=dark, device_scale_factor=1 if width > 600 else 2)
            name = f"{width}-{'dark' if dark else 'light'}.png"
            _create(page)
            _save(page, folder / f"create-{name}", tall=width < 600)
            _video(page)
            _save(page, folder / f"video-{name}", tall=True)
            _library(page)
            _save(page, folder / f"library-{name}", tall=False)
            _models(page)
            _save(page, folder / f"models-{name}", tall=False)
            page.context.close()
        browser.close()


def _create(page: Page) -> None:
    page.fill("#f_prompt textarea", PROMPT)
    page.click("#c_fold button.label-wrap")
    page.fill("#f_seed input", SEED)
    expect(page.locator("#c_fresh input")).not_to_be_checked()
    page.click("#c_fold button.label-wrap")
    page.click("#f_count label:has-text('4')")
    page.click("#gen")
    expect(page.locator("#stat")).to_contain_text("Done", timeout=LONG)
    page.mouse.move(0, 0)


def _video(page: Page) -> None:
    page.click("#room button[role=tab]:has-text('Video')")
    page.click("role=button[name='Four options for stage 2']")
    expect(page.locator("#v_stat")).to_contain_text("Keyframes ready", timeout=LONG)
    page.click("#anim")
    page.wait_for_selector("#v_mon video", timeout=LONG)
    expect(page.locator("#v_stat")).to_contain_text("Done")
    page.wait_for_function("document.querySelector('#v_mon video').readyState >= 2")
    page.mouse.move(0, 0)


def _library(page: Page) -> None:
    page.click("#room button[role=tab]:has-text('Library')")
    page.wait_for_selector("#lib .it img")
    seen = "image.getBoundingClientRect().top > innerHeight || image.complete"  # those below are not asked for yet
    page.wait_for_function(f"[...document.querySelectorAll('#lib .it img')].every((image) => {seen})")
    page.mouse.move(0, 0)


def _models(page: Page) -> None:
    page.click("#room button[role=tab]:has-text('Models')")
    page.wait_for_selector(".model")


def _save(page: Page, path: Path, *, tall: bool) -> None:
    """Write the page as it fits into the window, or as a whole with the start button at its lower edge."""
    page.evaluate("document.activeElement.blur()")
    before = page.viewport_size or {"width": 1280, "height": 860}
    if tall:
        height = page.evaluate("Math.ceil(document.querySelector('.gradio-container').getBoundingClientRect().height)")
        page.set_viewport_size({"width": before["width"], "height": height})
    page.wait_for_timeout(700)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for colours in (0, 256, 128, 64):
        stored = io.BytesIO()
        (picture.quantize(colours) if colours else picture).save(stored, "PNG", optimize=True)
        if stored.tell() <= MAX_BYTES:
            break
    path.write_bytes(stored.getvalue())
    page.set_viewport_size(before)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "screenshots")
