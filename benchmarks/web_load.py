"""Open-loop load on the real app: submissions and page events at a steady rate while a job runs.

Requests are sent when they are due, whether or not earlier ones were answered, so that a slow answer does not hide the next
ones. The app, its worker and these clients share the machine; what else ran on it is told as the load average.

    python benchmarks/web_load.py --seconds 30 --submits 5 --events 10
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parent.parent
LONG = {"kind": "image", "prompt": "a red circle on a blue background", "steps": 150, "count": 16}
OPEN_PAGES = 20
SHORT = {"kind": "image", "prompt": "a green star on a white background", "steps": 1, "width": 64, "height": 64}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--submits", type=float, default=5, help="a second")
    parser.add_argument("--events", type=float, default=10, help="a second: an open page asks for the plan of its form")
    parser.add_argument("--tabs", type=int, default=0, help="pages that watch the running job meanwhile")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        env = {**os.environ, "FLUX_SVD_HOME": f"{folder}/home", "FLUX_SVD_OUTPUT": f"{folder}/outputs", "PORT": str(port),
               "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # fmt: skip
        app = subprocess.Popen([sys.executable, str(ROOT / "app.py")], cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
        try:
            await measure(f"http://127.0.0.1:{port}", app.pid, options)
        finally:
            app.terminate()
            app.wait(60)


async def measure(address: str, pid: int, options: argparse.Namespace) -> None:
    limits = httpx.Limits(max_connections=1000, max_keepalive_connections=100)
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as client:
        await up(client)
        plan = await function_number(client)
        await client.post("/api/v1/jobs", json=LONG)
        while (await client.get("/api/v1/jobs", params={"state": "running"})).json()["jobs"] == []:
            await asyncio.sleep(0.5)
        watching = [asyncio.create_task(watch(client)) for _ in range(options.tabs)]
        pages = [uuid.uuid4().hex for _ in range(OPEN_PAGES)]
        for _ in pages:  # a page is opened once; only what it does afterwards is measured
            await page_event(client, plan, pages[:1], [], [])
            pages = [*pages[1:], pages[0]]
        submits: list[float] = []
        events: list[float] = []
        faults: list[str] = []
        tasks: list[asyncio.Task[None]] = []
        web = psutil.Process(pid)
        before, used = os.getloadavg()[0], sum(web.cpu_times()[:2])
        ends = time.monotonic() + options.seconds
        await asyncio.gather(
            arrivals(options.submits, ends, tasks, lambda: submit(client, submits, faults)),
            arrivals(options.events, ends, tasks, lambda: page_event(client, plan, pages, events, faults)),
        )
        await asyncio.gather(*tasks)
        for one in watching:
            one.cancel()
        memory = web.memory_info().rss / 2**20
        busy = sum(web.cpu_times()[:2]) - used
        load = f"load average {before:.1f} before and {os.getloadavg()[0]:.1f} after"
        print(f"{psutil.cpu_count()} cores, {load}; {options.tabs} tabs watch")
        print(f"submissions at {options.submits:g}/s: {spread(submits)}")
        print(f"page events at {options.events:g}/s: {spread(events)}")
        share = 1000 * busy / max(1, len(submits) + len(events))
        print(f"faults: {faults[:5] or 0}; web process {memory:.0f} MB, {share:.0f} ms of processor time for each of these")


async def arrivals(rate: float, ends: float, tasks: list[asyncio.Task[None]], begin) -> None:  # type: ignore[no-untyped-def]
    """Begin one after another at exponential distances, as independent users would."""
    due = time.monotonic()
    while rate and due < ends:
        tasks.append(asyncio.create_task(begin()))
        due += random.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def submit(client: httpx.AsyncClient, times: list[float], faults: list[str]) -> None:
    began = time.monotonic()
    try:
        answer = await client.post("/api/v1/jobs", json={**SHORT, "seed": random.getrandbits(32)})
        times.append(time.monotonic() - began)
        if answer.status_code != 201:
            faults.append(answer.text[:200])
    except httpx.HTTPError as error:
        faults.append(repr(error))


async def page_event(
    client: httpx.AsyncClient, number: int, pages: list[str], times: list[float], faults: list[str]
) -> None:
    """Ask as an open page does: join the queue, then listen until the event has been processed."""
    began, session = time.monotonic(), pages.pop() if pages else uuid.uuid4().hex  # a new page where all are busy
    try:
        asked = {"data": ["a red circle", "image", "auto", *[None] * 9], "fn_index": number, "session_hash": session}
        joined = await client.post("/gradio_api/queue/join", json=asked)
        if joined.status_code != 200:
            faults.append(joined.text[:200])
            return
        async with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as told:
            async for line in told.aiter_lines():
                if "process_completed" in line:
                    times.append(time.monotonic() - began)
                    if not json.loads(line[5:])["success"]:
                        faults.append(line[:200])
                    return
    except httpx.HTTPError as error:
        faults.append(repr(error))
    finally:
        pages.append(session)


async def watch(client: httpx.AsyncClient) -> None:
    """Watch a job by its events, as a program does; pages watch through Gradio, at the same rate."""
    [job] = (await client.get("/api/v1/jobs", params={"state": "running"})).json()["jobs"]
    async with client.stream("GET", f"/{job['events']}") as told:
        async for _ in told.aiter_lines():
            pass


async def function_number(client: httpx.AsyncClient) -> int:
    """Return the number by which the page's config calls the public endpoint "plan"."""
    functions = (await client.get("/config")).json()["dependencies"]
    return next(one["id"] for one in functions if one["api_name"] == "plan")


async def up(client: httpx.AsyncClient) -> None:
    while True:
        try:
            await client.get("/status")
            return
        except httpx.HTTPError:
            await asyncio.sleep(0.2)


def spread(times: list[float]) -> str:
    ordered = sorted(1000 * one for one in times) or [0.0]
    shares = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95, 1.0))
    return "n = {}; p50 {:.0f}, p95 {:.0f}, max {:.0f} ms".format(len(times), *shares)


if __name__ == "__main__":
    asyncio.run(main())
