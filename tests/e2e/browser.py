"""A real browser before the real app: starts both, and watches what no page may do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, Page, Playwright

from tests.servers import free_port

ROOT = Path(__file__).parents[2]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


def open_browser(playwright: Playwright) -> Browser:
    """Return headless Chromium: the one named by FLUX_SVD_BROWSER, found on the path, or Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = os.environ.get("FLUX_SVD_BROWSER") or next(filter(None, map(shutil.which, names)), None)
    return playwright.chromium.launch(executable_path=found, args=FLAGS, headless=True)


@contextmanager
def running_app(folder: Path) -> Iterator[str]:
    """Start `python app.py` as a user does, with folders of its own; yield its address."""
    port = free_port()
    env = {**os.environ, "FLUX_SVD_HOME": str(folder / "home"), "FLUX_SVD_OUTPUT": str(folder / "outputs"), "PORT": str(port),
           "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    with (folder / "app.log").open("w") as log:
        app = subprocess.Popen([sys.executable, str(ROOT / "app.py")], cwd=ROOT, env=env, stdout=log, stderr=log)
        try:
            _wait_until_up(app, address)
            yield address
        finally:
            app.terminate()
            try:
                app.wait(60)
            except subprocess.TimeoutExpired:
                app.kill()
                app.wait(60)


def web_process(address: str) -> psutil.Process:
    """Return the process of an app started by `running_app`."""
    port = int(address.rsplit(":", 1)[1])
    [found] = [
        child for child in psutil.Process().children() if any(one.laddr.port == port for one in child.net_connections("tcp"))
    ]
    return found


def worker_of(address: str) -> psutil.Process:
    """Return the process that does the work of an app started by `running_app`."""
    [found] = [child for child in web_process(address).children() if "worker" in child.cmdline()]
    return found


class Watch:
    """What a page did that it must not: errors in the console, requests to anywhere else."""

    def __init__(self, page: Page, address: str) -> None:
        self.faults: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda m: self.faults.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda error: self.faults.append(f"page error: {error}"))
        page.on("request", lambda request: self._see(request.url, address))
        page.on("response", lambda answer: self.faults.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)

    def _see(self, url: str, address: str) -> None:
        self.requests.append(url)
        if not url.startswith((f"{address}/", "data:", "blob:")):
            self.faults.append(f"foreign request: {url}")


def open_page(
    browser: Browser, address: str, *, width: int = 1280, height: int = 860, dark: bool = False, path: str = "", **options: Any
) -> Page:
    """Return the app's page, ready for use."""
    phone = {"is_mobile": True, "has_touch": True} if width < 600 else {}
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light",
        permissions=["clipboard-read", "clipboard-write"], **phone, **options,
    )  # fmt: skip
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.watch = Watch(page, address)  # type: ignore[attr-defined]
    page.goto(f"{address}/{path}")
    page.wait_for_selector("#gen", state="attached")
    page.wait_for_selector("#c_line .quiet", state="attached")  # the plan of the example has been told
    return page


def _wait_until_up(app: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/status", timeout=60):
                return
        except urllib.error.HTTPError:
            return  # it asks for a password
        except OSError:
            if app.poll() is not None:
                raise RuntimeError(f"the app ended with {app.returncode}") from None
            time.sleep(0.2)
    raise RuntimeError("the app did not answer within 300 s")
