"""Several workers on one ledger, one of them killed or frozen every few seconds: every job is done, and done once."""

from __future__ import annotations

import collections
import contextlib
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from flux_svd import files
from flux_svd.errors import StorageFailed
from flux_svd.ledger import Ledger
from flux_svd.library import Library
from flux_svd.request import make_request
from tests.fake_worker import counting_session
from tests.test_worker import ROOT, command

WORKERS = 4


def start(home: Path, outputs: Path, number: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command(home, outputs, f"worker {number}", 0.05, number), cwd=ROOT)


def storm(home: Path, outputs: Path, jobs: int, strikes: int) -> tuple[Ledger, int, int]:
    """Run `jobs` jobs, strike `strikes` times at even shares of them, and return the ledger, how many were killed and frozen.

    A strike waits for jobs that are done, not for a time: so there is something left to strike on a machine of any speed.
    """
    session, _ = counting_session(home, outputs)
    ledger = Ledger(home)
    for seed in range(jobs):
        fields = {"kind": "image", "prompt": "a dog", "seed": seed, "width": 64, "height": 64, "steps": 4}
        ledger.submit(session.plan(make_request(fields)), owner=f"owner {seed % 7}", outputs=outputs)
    workers = [start(home, outputs, number) for number in range(WORKERS)]
    draw, killed, frozen, deadline = random.Random(1), 0, 0, time.monotonic() + 500
    while ledger.counts() != {"done": jobs}:
        assert time.monotonic() < deadline, ledger.counts()
        time.sleep(0.02)
        restart_the_dead(ledger, workers, home, outputs, jobs)
        busy = [int(job.worker.split()[1]) for job in ledger.jobs(states=["running"])]
        is_due = ledger.counts().get("done", 0) >= jobs * (killed + frozen) // (strikes + 1)
        if not busy or not is_due or killed + frozen == strikes:
            continue
        number = draw.choice(busy)
        if workers[number].poll() is None and (killed + frozen) % 3:
            workers[number].kill()
            killed += 1
        elif workers[number].poll() is None:
            # Thought dead, its job given to another; then it wakes, and what it says must not count.
            workers[number].send_signal(signal.SIGSTOP)
            with contextlib.suppress(StorageFailed):  # frozen within a transaction: then all wait, and nothing is given away
                ledger.release(f"worker {number}", "frozen")
            time.sleep(0.5)
            workers[number].send_signal(signal.SIGCONT)
            frozen += 1
    for worker in workers:
        assert worker.wait(60) in (0, -9)
    return ledger, killed, frozen


def restart_the_dead(ledger: Ledger, workers: list[subprocess.Popen[bytes]], home: Path, outputs: Path, jobs: int) -> None:
    for number, worker in enumerate(workers):
        if worker.poll() is not None:
            ledger.release(f"worker {number}", f"ended with {worker.returncode}")
            if ledger.counts() != {"done": jobs}:
                workers[number] = start(home, outputs, number)


def check(ledger: Ledger, home: Path, outputs: Path, jobs: int) -> None:
    assert ledger.counts() == {"done": jobs}
    for job in ledger.jobs(limit=jobs):
        ends = [what for _, what in ledger.events(job.id) if what.endswith(": done")]
        assert len(ends) == 1, ledger.events(job.id)
        assert len(job.results) == 1
        assert Path(job.results[0]).is_file()
    library = Library(outputs, home)
    assert library.rebuild() == jobs
    assert library.problems() == []
    computed = collections.Counter((home / "computed").read_text().splitlines())
    assert len(computed) == jobs
    counting_session(home, outputs)[0].store.reconcile()
    assert list(home.rglob(files.TEMPORARY + "*")) == list(home.glob("jobs/*")) == list(home.glob("pins/*")) == []
    with sqlite3.connect(home / "ledger.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_forty_jobs_are_done_once_each_while_workers_die(home: Path, outputs: Path) -> None:
    ledger, killed, frozen = storm(home, outputs, 40, 4)
    assert (killed, frozen) == (2, 2)
    check(ledger, home, outputs, 40)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_hundred_jobs_are_done_once_each_while_workers_die(home: Path, outputs: Path) -> None:
    ledger, killed, frozen = storm(home, outputs, 300, 12)
    assert (killed, frozen) == (8, 4)
    told = [what for job in ledger.jobs(limit=300) for _, what in ledger.events(job.id)]
    assert any("came too late" in what for what in told), "a frozen worker woke and was refused"
    check(ledger, home, outputs, 300)
