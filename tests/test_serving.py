"""The app as a user starts it: a light web process, a worker process beside it, and both end together."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from flux_svd.ledger import Ledger
from tests.e2e.browser import running_app, web_process, worker_of
from tests.waiting import until

WISH = {"kind": "image", "prompt": "a red circle on a blue background", "seed": 7}
WEB_BYTES = 250 * 2**20  # seen: about 150 MB after the start, 170 MB after this test; torch alone adds some 200 MB


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with running_app(tmp_path) as address:
        yield address


def is_torch_in(process: psutil.Process) -> bool:
    return any("libtorch" in area.path for area in process.memory_maps())


@pytest.mark.skipif(sys.platform != "linux", reason="reads what a process has mapped")
def test_the_web_process_stays_light_while_its_worker_does_the_work(address: str, tmp_path: Path) -> None:
    with httpx.Client(base_url=address, timeout=300) as client:
        assert client.get("/").status_code == 200
        job = client.post("/api/v1/jobs", json=WISH).json()
        events = client.get(f"/{job['events']}", timeout=300).text
        assert '"state": "done"' in events.rsplit("event: end", 1)[1]
        web = web_process(address)
        assert is_torch_in(worker_of(address))
        assert not is_torch_in(web)
        assert web.memory_info().rss < WEB_BYTES
        picture = client.get(f"/{job['url']}/results/1")
        assert picture.content.startswith(b"\x89PNG")


def open_page(client: httpx.Client, config: dict[str, Any], name: str) -> None:
    """Let the page begin as a browser does that calls itself `name`."""
    values = {part["id"]: part["props"].get("value") for part in config["components"]}
    [begin] = [one for one in config["dependencies"] if any(event == "load" for _, event in one["targets"])]
    told = {"fn_index": begin["id"], "data": [values[part] for part in begin["inputs"]], "session_hash": name}
    client.post("/gradio_api/queue/join", json={**told, "event_data": None, "trigger_id": None}).raise_for_status()
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": name}) as heard:
        [done] = [line for line in heard.iter_lines() if "process_completed" in line]
    assert json.loads(done.removeprefix("data:"))["success"]


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of other systems is counted otherwise")
def test_the_web_process_stays_light_after_many_visits(address: str) -> None:
    with httpx.Client(base_url=address, timeout=300) as client:
        config = client.get("/config").json()
        for number in range(180):
            open_page(client, config, f"visit {number}")
    assert web_process(address).memory_info().rss < WEB_BYTES


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_survives_the_end_of_the_app_and_its_worker_ends_with_it(how: signal.Signals, tmp_path: Path) -> None:
    with running_app(tmp_path) as address:
        job = httpx.post(f"{address}/api/v1/jobs", json={**WISH, "steps": 150, "count": 16}).json()["id"]
        ledger = Ledger(tmp_path / "home")
        until(lambda: ledger.job(job).state == "running")
        worker = worker_of(address)
        web_process(address).send_signal(how)
        worker.wait(300)
    assert (ledger.job(job).state, ledger.job(job).failures) == ("queued", 0)
