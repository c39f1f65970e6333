"""A library of many results: the first index of its folder, opening it again, a search, and the start of the app on it.

The results are small pictures with sidecars as a run writes them; prompts differ. Each time is taken in a process of its own, so
that nothing is warm but the disk. App and measurement share the machine; what else ran on it is told as the load average, and
the processor time beside the time by the clock.

    python benchmarks/library_size.py --items 10000 --rounds 3 --json FILE
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from flux_svd.device import cpu_name  # noqa: E402
from flux_svd.request import make_request  # noqa: E402
from flux_svd.session import Session  # noqa: E402
from tests.e2e.browser import running_app, web_process  # noqa: E402

NAMES = {
    "index": "first index of the folder", "reopen": "open it again", "search": "search for two words, 100 found",
    "serving": "start of the app until a list of the library has been answered",
}  # fmt: skip
COLOURS, SHAPES, PLACES = ("red", "blue", "green"), ("circle", "star", "square"), ("left", "right", "top")
TIMED = """
import sys, time
from pathlib import Path
from flux_svd.library import Library
clocks = lambda: (time.perf_counter(), time.process_time())
began = clocks()
library = Library(Path(sys.argv[1]) / "outputs", Path(sys.argv[1]) / "home")
opened = clocks()
found = library.search("blue star")
searched = clocks()
print(*(end - start for start, end in zip(began, opened)), *(end - start for start, end in zip(opened, searched)))
assert (library.count(), len(found)) == (int(sys.argv[2]), 100), len(found)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        size = make(Path(folder), options.items)
        rows = [once(Path(folder), options.items) for _ in range(options.rounds)]
    load = f"load average {before:.1f} before and {os.getloadavg()[0]:.1f} after"
    print(f"{options.items} results, sidecars of {size} bytes; {os.cpu_count()} cores, {load}")
    for name, words in NAMES.items():
        times, worked = (sorted(row[name][which] for row in rows) for which in (0, 1))
        print(
            f"{words}: median {statistics.median(times):.3f} s, {times[0]:.3f} to {times[-1]:.3f} s (n = {len(times)}); "
            f"{statistics.median(worked):.3f} s of processor time"
        )
    if options.json:
        facts = {
            "command": f"python benchmarks/library_size.py --items {options.items} --rounds {options.rounds}",
            "date": f"{date.today()}", "device": cpu_name(), "platform": platform.platform(), "load": load,
            "versions": {"sqlite": sqlite3.sqlite_version, "gradio": version("gradio")}, "sidecar_bytes": size, "rounds": rows,
        }  # fmt: skip
        options.json.write_text(json.dumps(facts, indent=1) + "\n")


def make(folder: Path, items: int) -> int:
    """Write so many results over some months of days, as copies of one that is made; return the bytes of a sidecar."""
    session = Session(home=folder / "first home", output_dir=folder / "first")
    fields = {"kind": "image", "prompt": "a red circle", "seed": 7, "width": 64, "height": 64, "steps": 1}
    [made] = session.run(session.plan(make_request(fields)))
    data, told = made.path.read_bytes(), json.loads(made.path.with_name(made.path.name + ".json").read_bytes())
    draw, text = random.Random(1), b""
    for number in range(items):
        prompt = f"a {draw.choice(COLOURS)} {draw.choice(SHAPES)} on the {draw.choice(PLACES)}, number {number}"
        day = folder / "outputs" / f"2026-{number % 6 + 1:02d}-{number % 28 + 1:02d}"
        day.mkdir(parents=True, exist_ok=True)
        (day / f"{number}.png").write_bytes(data)
        text = json.dumps({**told, "recipe": {**told["recipe"], "prompt": prompt}}, indent=1).encode()
        (day / f"{number}.png.json").write_bytes(text)
    return len(text)


def once(folder: Path, items: int) -> dict[str, tuple[float, float]]:
    """Return (seconds, processor seconds) of each, beginning with no index."""
    shutil.rmtree(folder / "home", ignore_errors=True)
    index, _ = timed(folder, items)
    reopen, search = timed(folder, items)
    began = time.perf_counter()
    with running_app(folder) as address:
        httpx.get(f"{address}/api/v1/library", timeout=120).raise_for_status()
        seconds, used = time.perf_counter() - began, web_process(address).cpu_times()
    return {"index": index, "reopen": reopen, "search": search, "serving": (round(seconds, 3), round(used.user + used.system, 3))}


def timed(folder: Path, items: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (seconds, processor seconds) of opening the library and of a search in it."""
    asked = [sys.executable, "-c", TIMED, str(folder), str(items)]
    ran = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    told = [round(float(word), 4) for word in ran.stdout.split()]
    return (told[0], told[1]), (told[2], told[3])


if __name__ == "__main__":
    main()
