"""Work that lives in the server: plans become jobs of the ledger, a worker process carries them out, pages only watch."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from flux_svd.artifact import Artifact
from flux_svd.errors import Cancelled, FluxSvdError, InvalidRequest
from flux_svd.job import ENDED, Job
from flux_svd.plan import Plan
from flux_svd.progress import Progress
from flux_svd.results import load_artifacts
from flux_svd.standing import Standing

if TYPE_CHECKING:
    from flux_svd.ledger import Ledger

LOOK_SECONDS = 0.5  # between two looks into the ledger …
TELL_SECONDS = 1.0  # … and between two things told to a page, unless it is news
TAKEN_SECONDS = 2.0  # a worker that has nothing to do takes a job sooner
REPEAT_SECONDS = 15.0  # the same is told again after this: only then is a page that has gone noticed
STARTING = "the worker is starting"


class JobFailed(FluxSvdError):
    """A job that could not be carried out: what went wrong, what was tried and what to do next."""


class Queued:
    """Jobs of one ledger as pages and programs see them.

    Args:
        outputs: where their results go.
    """

    lasting = True

    def __init__(self, ledger: Ledger, outputs: Path) -> None:
        self.ledger, self._outputs = ledger, outputs
        self._lock = threading.Lock()
        self._looked, self._line = 0.0, dict[str, Standing]()

    def start(self, plan: Plan, owner: str, key: str = "") -> str:
        """Return the id of a new job; the same key of the same owner gives the same job again.

        Raises:
            QueueFull: with how many there are and may be.
        """
        return self.ledger.submit(plan, owner=owner, key=key, outputs=self._outputs)

    def plan_of(self, job_id: str, owner: str) -> Plan | None:
        """Return the plan of a job, or None where there is none of this owner, or one of another version."""
        try:
            return self.ledger.plan(job_id, owner=owner)
        except (InvalidRequest, ValueError):
            return None

    async def watch(self, job_id: str, owner: str) -> AsyncGenerator[Progress | Artifact, None]:
        """Yield where the job stands whenever that changes, and each result as it is there, until it has ended.

        Raises:
            InvalidRequest: there is no such job of this owner.
            Cancelled: it was cancelled.
            JobFailed: it could not be carried out.
        """
        shown, told, told_at = 0, Progress("load"), 0.0
        preview: tuple[int, bytes | None] = (0, None)
        while True:
            job = await run_in_threadpool(self.ledger.job, job_id, owner=owner)
            if len(job.results) > shown:
                made = await run_in_threadpool(load_artifacts, [Path(path) for path in job.results])
                for one in made[shown:]:
                    yield one
                shown = len(made)
            if job.state in ENDED:
                _raise_end(job)
                return
            now = await run_in_threadpool(self.progress, job)
            news = (now.phase, now.item, now.note) != (told.phase, told.item, told.note)
            since = time.monotonic() - told_at
            if news or (now != told and since >= TELL_SECONDS) or since >= REPEAT_SECONDS:
                told, told_at = now, time.monotonic()
                preview, picture = await run_in_threadpool(self._new_preview, job_id, preview)
                yield replace(now, preview=picture)
            await asyncio.sleep(LOOK_SECONDS)

    def stop(self, job_id: str, owner: str) -> None:
        """Cancel the job; one that has ended stays as it is."""
        try:
            self.ledger.cancel(job_id, owner=owner)
        except InvalidRequest:
            return

    def progress(self, job: Job) -> Progress:
        """Return where an unfinished job stands; while it waits, how many are before it and when its turn may come."""
        if job.state == "running":
            if job.wish:
                return replace(job.progress, note="is being stopped")
            is_silent = job.progress == Progress("wait") and not self.ledger.warm_models()  # it was taken, and nothing is loaded
            return replace(job.progress, note=STARTING) if is_silent else job.progress
        if job.state == "paused":
            return Progress("wait", note=f"paused: {job.reason}" if job.reason else "paused")
        line = self.standings()
        where = line.get(job.id) or self.standings(anew=job.state == "queued").get(job.id, Standing(0, None))
        note = "the queue is paused" if self.ledger.is_paused() else ""
        is_left = time.time() - job.submitted > TAKEN_SECONDS
        if not note and not where.ahead and (is_left or not self.ledger.workers()):
            note = STARTING
        return Progress("wait", where.ahead, seconds_left=where.seconds, note=note)

    def standings(self, *, anew: bool = False) -> dict[str, Standing]:
        """Return where waiting jobs stand; asked once a second, however many watch, or `anew`."""
        with self._lock:
            if anew or time.monotonic() - self._looked >= TELL_SECONDS:
                self._line = self.ledger.standings()
                self._looked = time.monotonic()
            return self._line

    def preview(self, job_id: str) -> Path:
        """Return where the worker puts the preview of a job; there is not always one."""
        return self.ledger.home / "previews" / f"{job_id}.webp"

    def queue_words(self) -> str:
        """Return "idle", "1 at work" or "3 in queue"."""
        counts = self.ledger.counts()
        unfinished = counts.get("queued", 0) + counts.get("running", 0)
        return "idle" if not unfinished else "1 at work" if counts.get("running") == unfinished == 1 else f"{unfinished} in queue"

    def warm_models(self) -> tuple[str, ...]:
        return self.ledger.warm_models()

    def _new_preview(self, job_id: str, last: tuple[int, bytes | None]) -> tuple[tuple[int, bytes | None], bytes | None]:
        """Return what is there now, and the picture where it is another one."""
        path = self.preview(job_id)
        try:
            stamp = path.stat().st_mtime_ns
            if stamp == last[0]:
                return last, None
            data = path.read_bytes()
        except OSError:
            return last, None
        return (stamp, data), data


def next_step(job: Job) -> str:
    """Return the one thing to do about a job as it stands, or ""."""
    if job.state == "failed":
        return "Change the settings and start again; what was finished is kept."
    if job.state == "quarantined":
        return "Retry it once more; if that fails too, the program's log says where."
    if job.state == "paused":
        return "Resume it when that is mended." if job.reason else "Resume it."
    return "Retry it; what was finished is kept." if job.state == "cancelled" else ""


def _raise_end(job: Job) -> None:
    if job.state == "cancelled":
        raise Cancelled("stopped; finished parts are kept")
    if job.state != "done":
        tried = "" if job.attempt <= 1 or job.state == "quarantined" else f" Tried {job.attempt} times."
        raise JobFailed(f"{job.reason.rstrip('.')}.{tried} {next_step(job)}")
