"""Jobs on a disk that is really full: `python -m tests.full_disk FOLDER`, where FOLDER is a small file system of its own.

For each moment a film is begun, the disk is filled to the last byte at that moment, and when the job has come to rest the disk is
emptied again and the job resumed. Prints one JSON object: by moment, what became of the job and the digests of its files.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flux_svd.engines import trail
from flux_svd.ledger import Ledger
from flux_svd.plan import Plan
from flux_svd.progress import Progress
from flux_svd.request import make_request
from flux_svd.worker import Worker
from tests.fake_worker import counting_session
from tests.test_sweep import FILM

MOMENTS = ("", "draw 1", "animate 2", "decode 0", "encode 0", "save 0")  # phase and step; "" is never


def main() -> None:
    trail.EVERY_SECONDS, trail.WRITING_SHARE = 0.0, 1e9  # a checkpoint after every step
    disk = Path(sys.argv[1])
    told = {}
    for moment in MOMENTS:
        told[moment] = job_on(disk, moment)
        shutil.rmtree(disk / "home")
    sys.stdout.write(json.dumps(told))


def job_on(disk: Path, moment: str) -> dict[str, Any]:
    home, outputs, ballast = disk / "home", disk / "home" / "outputs", disk / "ballast"
    session, _ = counting_session(home, outputs)
    worker = Worker(Ledger(home), session, name="w", beat_seconds=0.05)
    job = worker.ledger.submit(session.plan(make_request({**FILM, "steps": 2})))
    run = session.run

    def running(plan: Plan, hear: Callable[[Progress], None], *rest: Any) -> Any:
        def fill_and_hear(progress: Progress) -> None:
            if f"{progress.phase} {progress.step}" == moment and not ballast.exists():
                fill(ballast)
            hear(progress)

        return run(plan, fill_and_hear, *rest)

    session.run = running  # type: ignore[method-assign, assignment]
    worker.run_next(threading.Event())
    first = worker.ledger.job(job)
    ballast.unlink(missing_ok=True)
    if first.state == "paused":
        session.run = run  # type: ignore[method-assign]
        worker.ledger.resume(job)
        worker.run_next(threading.Event())
    made = [Path(path).read_bytes() for path in worker.ledger.job(job).results]
    worker.ledger.close()
    return {
        "state": first.state, "reason": first.reason, "failures": first.failures,
        "files": [hashlib.sha256(data).hexdigest() for data in made],
    }  # fmt: skip


def fill(ballast: Path) -> None:
    handle = os.open(ballast, os.O_CREAT | os.O_WRONLY)
    try:
        for size in (2**16, 1):
            try:
                while True:
                    os.write(handle, b"x" * size)
            except OSError:
                continue
    finally:
        os.close(handle)


if __name__ == "__main__":
    main()
