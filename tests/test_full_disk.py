"""A disk that is full to the last byte in the middle of a job: the job is paused, says why, and comes to the same result."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from flux_svd import files
from flux_svd import worker as worker_module
from flux_svd.database import Database
from flux_svd.encode import lack_of_room
from flux_svd.errors import DiskFull, EncodingFailed
from flux_svd.ledger import RESERVE_BYTES, Ledger
from flux_svd.request import make_request
from flux_svd.worker import Worker, supervise
from tests.fake_worker import counting_session

ROOT = Path(__file__).parent.parent
MOUNTED = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]


def can_mount(folder: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run([*MOUNTED, 'mount -t tmpfs -o size=1m tmpfs "$0"', str(folder)], capture_output=True, check=False)
    return tried.returncode == 0


def test_a_job_on_a_disk_that_is_really_full_is_paused_and_goes_on_to_the_same_film(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not can_mount(disk):
        pytest.skip("this machine lets nobody mount a small disk")
    command = 'mount -t tmpfs -o size=64m tmpfs "$0" && exec "$1" -m tests.full_disk "$0"'
    asked = [*MOUNTED, command, str(disk), sys.executable]
    ran = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)  # a worker may wait for room
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    whole = told.pop("")
    assert (whole["state"], len(whole["files"])) == ("done", 4)
    for moment, job in told.items():
        assert (job["state"], job["failures"]) == ("paused", 0), f"{moment}: {job}"
        # what the plan takes where the data folder is, not what the one file would have taken
        assert job["reason"].startswith(f"{disk / 'home'}: the disk is full; free at least"), f"{moment}: {job['reason']}"
        assert job["files"] == whole["files"], moment


class Disk:
    """Stands for a disk without room: nothing can be written to it, except what takes the place of the reserve."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        write, begin = files._write, Database.writing

        def writing(database: Database) -> Any:
            if self.full and (home / "reserve").exists():
                raise files.disk_full(database.path, 2**20)
            return begin(database)

        def written(handle: int, data: bytes) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(handle, data)

        monkeypatch.setattr(files, "_write", written)
        monkeypatch.setattr(Database, "writing", writing)


@pytest.fixture
def disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(home, monkeypatch)


def test_on_a_full_disk_the_pause_is_noted_in_the_room_of_the_reserve(disk: Disk, home: Path, outputs: Path) -> None:
    session, engines = counting_session(home, outputs)
    worker = Worker(Ledger(home), session, name="w", beat_seconds=1e6)
    job = worker.ledger.submit(session.plan(make_request({"kind": "image", "prompt": "a dog", "seed": 7})))

    def fill(kind: str, step: int) -> None:
        assert (home / "reserve").stat().st_size == RESERVE_BYTES
        disk.full = True

    engines.before_step = fill
    assert worker.run_next(threading.Event())
    told = worker.ledger.job(job)
    assert (told.state, told.failures) == ("paused", 0)
    assert "the disk is full" in told.reason
    disk.full, engines.before_step = False, lambda kind, step: None
    worker.ledger.resume(job)
    assert worker.run_next(threading.Event())
    assert worker.ledger.job(job).state == "done"
    assert (home / "reserve").stat().st_size == RESERVE_BYTES


def test_where_even_the_pause_cannot_be_noted_the_worker_waits_until_it_can(
    disk: Disk, home: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "LOOK_SECONDS", 0.01)
    session, engines = counting_session(home, outputs)
    worker = Worker(Ledger(home), session, name="w", beat_seconds=1e6)
    job = worker.ledger.submit(session.plan(make_request({"kind": "image", "prompt": "a dog", "seed": 7})))
    pause, asked = worker.ledger.pause_for, list[str]()

    def refused_twice(claim: Any, reason: str) -> bool:
        asked.append(reason)
        if len(asked) < 3:
            raise DiskFull("somebody else took the room")
        return pause(claim, reason)

    monkeypatch.setattr(worker.ledger, "pause_for", refused_twice)
    engines.before_step = lambda kind, step: setattr(disk, "full", True)
    assert worker.run_next(threading.Event())
    assert (len(asked), worker.ledger.job(job).state) == (3, "paused")


def test_a_supervisor_outlives_a_ledger_without_room(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, started = Ledger(home), home / "started"

    def no_room(worker: str, reason: str) -> int:
        raise DiskFull("no room")

    monkeypatch.setattr(ledger, "release", no_room)
    # The first child dies of the full disk, the second finds room.
    script = f"import pathlib, sys; p = pathlib.Path({str(started)!r}); there = p.exists(); p.touch(); sys.exit(not there)"
    supervise([sys.executable, "-c", script], ledger, "w", threading.Event(), first_wait_seconds=0.01)
    assert started.exists()


@pytest.mark.parametrize(("free", "raised"), [(0, DiskFull), (2**30, EncodingFailed)])
def test_ffmpeg_that_fails_for_want_of_room_is_told_as_a_full_disk(
    free: int, raised: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": free})())
    with pytest.raises(raised), lack_of_room(tmp_path):
        raise EncodingFailed("ffmpeg could not encode the film")
