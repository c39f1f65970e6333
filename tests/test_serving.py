"""The app as a user starts it: a light web process, a worker process beside it, and both end together."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

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
