"""What a job is, and its row: a plan that waits for its turn, is carried out by whoever claims it, and ends in one of four ways.

Functions that take a connection are called inside a transaction of the ledger.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from flux_svd.artifact import JobTag
from flux_svd.plan import Plan, plan_to_json, stage_names
from flux_svd.progress import Progress

State = Literal["queued", "running", "paused", "done", "failed", "cancelled", "quarantined"]
Wish = Literal["", "cancel", "pause"]
ENDED = ("done", "failed", "cancelled", "quarantined")
MAX_FAILURES = 3
TITLE_CHARACTERS = 80


@dataclass(frozen=True)
class Job:
    """A job as it stands.

    Attributes:
        title: the first words of its prompt.
        wish: what was asked of a running job and it has not done yet.
        rank: the highest of an owner's jobs goes first among his own.
        seconds: as planned; None where steps of its kind were never timed.
        attempt: how often it was claimed; failures: how often an attempt was lost or failed.
        submitted, started, ended, heartbeat: seconds since 1970.
        reason: why it is paused, failed or quarantined.
        results: the files it made.
    """

    id: str
    owner: str
    priority: int
    rank: int
    seconds: float | None
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
    """Return the progress without its pictures, as the ledger keeps it."""
    return json.dumps(asdict(replace(progress, preview=None, strip=None)))


def insert_job(db: sqlite3.Connection, order: Mapping[str, Any], plan: Plan, now: float) -> None:
    """Add the job that `order` (its file) and its plan describe."""
    models = [placement.model for placement in plan.placements]
    db.execute(
        "INSERT INTO job (id, owner, key, priority, kind, title, models, stages, plan, day, outputs, submitted, seconds) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (order["id"], order["owner"], order["key"] or None, order["priority"], plan.request.kind,
         plan.request.prompt[:TITLE_CHARACTERS], json.dumps(models), json.dumps(sorted(stage_names(plan))),
         plan_to_json(plan), order["day"], order["outputs"], order["submitted"], plan.seconds),
    )  # fmt: skip
    note_event(db, order["id"], "submitted", now)


def settle_attempt(
    db: sqlite3.Connection,
    row: sqlite3.Row,
    state: State,
    reason: str,
    now: float,
    results: Sequence[str] = (),
    *,
    failed: bool = False,
) -> State | None:
    """End an attempt and return the state the job has ended in with it, or None while it goes on.

    What was wished for comes before another attempt, a cancel before waiting for something too, and too many failures before
    another attempt.
    """
    failures = row["failures"] + failed
    if state in ("queued", "paused") and row["wish"] == "cancel":
        state = "cancelled"
    elif state == "queued" and row["wish"]:
        state = "paused"
    elif state == "queued" and failed and failures >= MAX_FAILURES:
        state, reason = "quarantined", f"{failures} attempts failed; the last: {reason}"
    # What is waited for is made again; what an ended or paused job had finished stays with it.
    kept = json.dumps([*results]) if state in ("done", "queued") else row["results"]
    db.execute(
        "UPDATE job SET state = ?, wish = '', failures = ?, reason = ?, results = ?, lease = 0, ended = ? WHERE id = ?",
        (state, failures, reason, kept, now if state in ENDED else None, row["id"]),
    )
    note_event(db, row["id"], f"attempt {row['attempt']}: {state}" + (f" ({reason})" if reason else ""), now)
    return state if state in ENDED else None


def note_event(db: sqlite3.Connection, job_id: str, what: str, now: float) -> None:
    """Note what happened; of a job that went with a lost database there is nothing to note."""
    db.execute("INSERT INTO event (at, job, what) SELECT ?, id, ? FROM job WHERE id = ?", (now, what, job_id))


def put_setting(db: sqlite3.Connection, name: str, value: int) -> None:
    db.execute("INSERT INTO setting VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = ?", (name, value, value))


def tag_of_row(row: sqlite3.Row) -> JobTag:
    return JobTag(row["id"], row["day"], row["owner"], row["outputs"])


def marks(values: Collection[str]) -> str:
    """Return as many placeholders as there are values."""
    return ", ".join("?" * len(values))
