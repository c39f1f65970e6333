"""The rows of the ledger: how one is made, how an attempt is settled, and what is noted. Called inside a transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from flux_svd.artifact import JobTag
from flux_svd.job import ENDED, State
from flux_svd.plan import Plan, plan_to_json, stage_names

MAX_FAILURES = 3
TITLE_CHARACTERS = 80


def insert(db: sqlite3.Connection, order: Mapping[str, Any], plan: Plan, now: float) -> None:
    """Add the job that `order` (its file) and its plan describe."""
    models = [placement.model for placement in plan.placements]
    db.execute(
        "INSERT INTO job (id, owner, key, priority, kind, title, models, stages, plan, day, outputs, submitted) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (order["id"], order["owner"], order["key"] or None, order["priority"], plan.request.kind,
         plan.request.prompt[:TITLE_CHARACTERS], json.dumps(models), json.dumps(sorted(stage_names(plan))),
         plan_to_json(plan), order["day"], order["outputs"], order["submitted"]),
    )  # fmt: skip
    log(db, order["id"], "submitted", now)


def settle(
    db: sqlite3.Connection, row: sqlite3.Row, state: State, reason: str, now: float, results: Sequence[str] = (), *,
    failed: bool = False,
) -> bool:
    """End an attempt and return whether the job has ended with it.

    What was wished for comes before another attempt, and too many failures before both.
    """
    failures = row["failures"] + failed
    if state == "queued" and row["wish"]:
        state = "cancelled" if row["wish"] == "cancel" else "paused"
    elif state == "queued" and failed and failures >= MAX_FAILURES:
        state, reason = "quarantined", f"{failures} attempts failed; the last: {reason}"
    db.execute(
        "UPDATE job SET state = ?, wish = '', failures = ?, reason = ?, results = ?, lease = 0, ended = ? WHERE id = ?",
        (state, failures, reason, json.dumps([*results]), now if state in ENDED else None, row["id"]),
    )
    log(db, row["id"], f"attempt {row['attempt']}: {state}" + (f" ({reason})" if reason else ""), now)
    return state in ENDED


def log(db: sqlite3.Connection, job_id: str, what: str, now: float) -> None:
    """Note what happened; of a job that went with a lost database there is nothing to note."""
    db.execute("INSERT INTO event (at, job, what) SELECT ?, id, ? FROM job WHERE id = ?", (now, what, job_id))


def put_setting(db: sqlite3.Connection, name: str, value: int) -> None:
    db.execute("INSERT INTO setting VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = ?", (name, value, value))


def tag_of(row: sqlite3.Row) -> JobTag:
    return JobTag(row["id"], row["day"], row["owner"], row["outputs"])


def marks(values: Collection[str]) -> str:
    """Return as many placeholders as there are values."""
    return ", ".join("?" * len(values))
