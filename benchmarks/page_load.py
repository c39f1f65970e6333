"""How soon the page can be used: a real browser opens the real app again and again, each time with an empty cache.

From the start of the navigation until: the browser's load event; Generate is there and can be pressed; the plan of the example
has been told, which is the first thing the page asks the server for. App and browser share the machine; what else ran on it is
told as the load average.

    python benchmarks/page_load.py --loads 9 --json FILE
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from flux_svd.device import cpu_name  # noqa: E402
from tests.e2e.browser import open_browser, running_app  # noqa: E402

WHEN = """
window.told = {};
const see = () => {
  const generate = document.querySelector("#gen");
  if (generate && !generate.disabled) told.usable ??= performance.now();
  if (document.querySelector("#c_line .quiet")) told.planned ??= performance.now();
};
new MutationObserver(see).observe(document, { childList: true, subtree: true, attributes: true });
addEventListener("load", () => { told.loaded = performance.now(); });
"""
NAMES = {"loaded": "load event", "usable": "Generate can be pressed", "planned": "plan of the example told"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=9, help="measured; one more comes before them, unmeasured")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_app(Path(folder)) as address, sync_playwright() as playwright:
        browser = open_browser(playwright)
        once(browser, address)
        before = os.getloadavg()[0]
        rows = [once(browser, address) for _ in range(options.loads)]
        chromium = browser.version
        browser.close()
    load = f"load average {before:.1f} before and {os.getloadavg()[0]:.1f} after"
    print(f"{os.cpu_count()} cores, {load}; {rows[0]['requests']} requests, {rows[0]['kilobytes']} kB")
    for name, words in NAMES.items():
        times = sorted(row[name] for row in rows)
        print(f"{words}: median {statistics.median(times):.2f} s, {times[0]:.2f} to {times[-1]:.2f} s (n = {len(times)})")
    if options.json:
        facts = {
            "command": f"python benchmarks/page_load.py --loads {options.loads}", "date": f"{date.today()}",
            "device": cpu_name(), "platform": platform.platform(), "load": load,
            "versions": {"chromium": chromium, "gradio": version("gradio")}, "loads": rows,
        }  # fmt: skip
        options.json.write_text(json.dumps(facts, indent=1) + "\n")


def once(browser: Browser, address: str) -> dict[str, Any]:
    """Return the seconds of one visit of somebody who was never here, and what was fetched for it."""
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(WHEN)
    page.goto(f"{address}/")
    page.wait_for_function("told.loaded && told.usable && told.planned", timeout=120_000)
    told = page.evaluate("told")
    sizes = page.evaluate("performance.getEntriesByType('resource').map((one) => one.transferSize)")
    context.close()
    return {
        **{name: round(told[name] / 1000, 3) for name in NAMES}, "requests": len(sizes) + 1, "kilobytes": sum(sizes) // 1000,
    }  # fmt: skip


if __name__ == "__main__":
    main()
