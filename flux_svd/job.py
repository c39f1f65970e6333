"""What a job is: a plan that waits for its turn, is carried out by whoever claims it, and ends in one of four ways."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, dataclass, replace
from typing import Literal

from flux_svd.artifact import JobTag
from flux_svd.plan import Plan
from flux_svd.progress import Progress

State = Literal["queued", "running", "paused", "done", "failed", "cancelled", "quarantined"]
Wish = Literal["", "cancel", "pause"]
ENDED = ("done", "failed", "cancelled", "quarantined")


@dataclass(frozen=True)
class Job:
    """A job as it stands.

    Attributes:
        title: the first words of its prompt.
        wish: what was asked of a running job and it has not done yet.
        attempt: how often it was claimed; failures: how often an attempt was lost or failed.
        submitted, started, ended, heartbeat: seconds since 1970.
        reason: why it is paused, failed or quarantined.
        results: the files it made.
    """

    id: str
    owner: str
    priority: int
    kind: str
    title: str
    models: tuple[str, ...]
    state: State
    wish: Wish
    attempt: int
    failures: int
    worker: str
    submitted: float
    started: float | None
    ended: float | None
    heartbeat: float | None
    reason: str
    results: tuple[str, ...]
    progress: Progress


@dataclass(frozen=True)
class Claim:
    """The right of one worker to carry out a job; it is lost with the lease, and then nothing it says counts."""

    id: str
    attempt: int
    worker: str
    plan: Plan
    tag: JobTag


def job_of_row(row: sqlite3.Row) -> Job:
    """Return the job of a row of the ledger."""
    values = {name: row[name] for name in Job.__dataclass_fields__}
    for name in ("models", "results"):
        values[name] = tuple(json.loads(row[name]))
    return Job(**{**values, "progress": Progress(**json.loads(row["progress"]))})


def progress_json(progress: Progress) -> str:
    """Return the progress without its preview, as the ledger keeps it."""
    return json.dumps(asdict(replace(progress, preview=None)))
