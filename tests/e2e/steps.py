"""What several flows do with a page, and what axe finds on it."""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from playwright.sync_api import Page, expect

from tests.e2e.browser import worker_of
from tests.waiting import until

expect.set_options(timeout=60_000)  # a loaded machine is slow, not wrong
LONG = 500_000  # milliseconds for what runs a model on two slow cores: 300 s were too few where twenty processes shared them
AXE = (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8")

# Findings in markup that is Gradio's own, by rule; none may be added. Each part's page is the address of its template.
GRADIO_OWN: dict[str, str] = {}


def status(page: Page, words: str, where: str = "#stat") -> None:
    expect(page.locator(where)).to_contain_text(words, timeout=LONG)


def run(page: Page, button: str, words: str, where: str = "#stat") -> None:
    """Press a button and wait for a status that was written after it."""
    page.eval_on_selector_all(f"{where} [role=status]", "all => all.forEach((e) => { e.dataset.old = 1; })")
    page.click(button)
    expect(page.locator(f"{where} [role=status]:not([data-old])")).to_contain_text(words, timeout=LONG)


def settings(page: Page) -> None:
    page.click("#c_fold button.label-wrap")
    page.wait_for_selector("#f_steps input")


def menu(page: Page, name: str, item: str) -> None:
    """Choose from a menu of what can be done with the large picture."""
    page.click(f"#c_acts summary:has-text('{name}')")
    page.click(f"#c_acts {item}")


def picture(page: Page) -> bytes:
    body: bytes = page.request.get(page.evaluate("document.querySelector('#pic img').src")).body()
    return body


def to_video(page: Page) -> None:
    page.click("#room button[role=tab]:has-text('Video')")
    page.wait_for_selector("#anim")
    page.wait_for_selector("#v_film .strip")


def long_film(page: Page, address: str, **fields: Any) -> str:
    """Ask for a film that no machine finishes while a test goes on (1,200 UNet calls), and return its job's id."""
    wish = {"kind": "video", "prompt": "a red circle moving from left to right", "keyframes": 5, "transition_steps": 150}
    answer = page.request.post(f"{address}/api/v1/jobs", data={**wish, **fields})
    assert answer.status == 201, answer.text()
    return str(answer.json()["id"])


@contextmanager
def held(page: Page, address: str, *, after: str = "") -> Iterator[None]:
    """Hold the worker still, once it has told of a step of the page's job, until the block ends.

    So what the block does meets a job that is at work, however fast the machine is.

    Args:
        after: the page's address while it still shows an earlier job.
    """
    job_of = "before => location.href === before ? '' : new URL(location.href).searchParams.get('job')"
    job = page.wait_for_function(job_of, arg=after, timeout=LONG).json_value()
    until(lambda: _progress(page, address, job)["step"] > 0)
    worker = worker_of(address)
    worker.suspend()
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):  # silent for too long, it was started anew
            worker.resume()


def wait_until_stopping(page: Page, address: str) -> None:
    """Wait until the ledger knows that the page's job is to stop."""
    job = page.url.rpartition("=")[2]
    until(lambda: _progress(page, address, job)["note"] == "is being stopped")


def findings(page: Page) -> list[str]:
    """Return what axe calls serious or critical, as "rule: markup"; what is Gradio's own and known is left out."""
    page.evaluate(AXE)
    told = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{rule['id']}: {node['html'][:160]}"
        for rule in told["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
        if not re.search(GRADIO_OWN.get(rule["id"], "(?!)"), json.dumps(node["target"]) + node["html"])
    ]


def _progress(page: Page, address: str, job: str) -> dict[str, Any]:
    told = page.request.get(f"{address}/api/v1/jobs/{job}").json()
    assert told["progress"], f"the job has ended: {told}"
    found: dict[str, Any] = told["progress"]
    return found
