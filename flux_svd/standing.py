"""Where jobs stand: the line they wait in, how long that may take, what is counted about them, and how long they are remembered.

Functions that take a connection are called inside a transaction of the ledger.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from flux_svd import turns
from flux_svd.job import ENDED, marks

HISTORY_LIMIT = 10_000  # ended jobs that are remembered, about 100 MB; their results are not touched
TURNS_LIMIT = 10_000  # owners whose last turn is remembered; of the others it is as if they came for the first time
WAIT_BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0)  # seconds


@dataclass(frozen=True)
class Standing:
    """Where a waiting job stands: how many are before it, at work included, and in how many seconds its turn may come."""

    ahead: int
    seconds: float | None


def take_turn(db: sqlite3.Connection, worker: str, warm: Collection[str]) -> turns.Waiting | None:
    """Return the job whose turn it is, and note that its owner had his turn; None if nothing waits."""
    waiting = _waiting(db.execute(_QUEUED).fetchall())
    if not waiting:
        return None
    served = _served(db.execute(_TURNS).fetchall())
    name = f"skips of {worker}"
    skips = next((row["value"] for row in db.execute("SELECT value FROM setting WHERE name = ?", (name,))), 0)
    job, skipped = turns.choose(waiting, served, warm, skips)
    db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, skips + 1 if skipped else 0))
    db.execute("INSERT OR REPLACE INTO turn VALUES (?, ?)", (job.owner, max(served.values(), default=0) + 1))
    return job


def standings(
    queued: Sequence[sqlite3.Row], served: Sequence[sqlite3.Row], running: Sequence[sqlite3.Row]
) -> dict[int, Standing]:
    """Return for each waiting job (by its number) where it stands; see `READ` for the rows."""
    planned = {row["number"]: row["seconds"] for row in queued}
    devices = max(1, len(running))
    found: dict[int, Standing] = {}
    seconds: float | None = 0.0
    for row in running:
        left = json.loads(row["progress"]).get("seconds_left")
        seconds = _sum(seconds, row["seconds"] if left is None else left)
    for ahead, job in enumerate(turns.line_up(_waiting(queued), _served(served)), len(running)):
        found[job.number] = Standing(ahead, None if seconds is None else seconds / devices)
        seconds = _sum(seconds, planned[job.number])
    return found


def move_up(db: sqlite3.Connection, row: sqlite3.Row) -> None:
    """Put a job before its owner's other jobs; whose turn it is among owners stays."""
    db.execute(
        "UPDATE job SET rank = 1 + (SELECT max(rank) FROM job WHERE owner = ? AND state IN ('queued', 'paused')) "
        "WHERE number = ?",
        (row["owner"], row["number"]),
    )


def note_worker(db: sqlite3.Connection, worker: str, warm: Collection[str], now: float, every_seconds: float) -> None:
    """Note what a worker has loaded; unchanged it is written only now and then, since each write waits for the disk."""
    models = json.dumps(sorted(warm))
    db.execute(
        "INSERT INTO worker VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET models = excluded.models, seen = excluded.seen "
        "WHERE models <> excluded.models OR abs(excluded.seen - seen) > ?",
        (worker, models, now, every_seconds),
    )


def count(db: sqlite3.Connection, name: str, amount: float = 1) -> None:
    db.execute("INSERT INTO tally VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value", (name, amount))


def count_end(db: sqlite3.Connection, row: sqlite3.Row, state: str, now: float) -> None:
    """Count a job that has ended: by state, and how long it waited for its first attempt and was at work on its last."""
    count(db, f"ended {state}")
    if row["started"] is None or state != "done":
        return
    times = {"run": now - row["started"]}
    if row["attempt"] == 1:
        times["wait"] = row["started"] - row["submitted"]
    for name, seconds in times.items():
        bucket = next((limit for limit in WAIT_BUCKETS if seconds <= limit), float("inf"))
        count(db, f"{name} {row['kind']} {bucket:g}")
        count(db, f"{name} {row['kind']} sum", max(0.0, seconds))


def prune(db: sqlite3.Connection) -> None:
    """Forget the oldest of what has ended."""
    db.execute(
        f"DELETE FROM job WHERE number IN (SELECT number FROM job WHERE state IN ({marks(ENDED)}) "
        "ORDER BY number DESC LIMIT -1 OFFSET ?)", (*ENDED, HISTORY_LIMIT),
    )  # fmt: skip
    db.execute("DELETE FROM turn WHERE owner IN (SELECT owner FROM turn ORDER BY served DESC LIMIT -1 OFFSET ?)", (TURNS_LIMIT,))


_QUEUED = "SELECT number, owner, priority, models, rank, seconds FROM job WHERE state = 'queued'"
_TURNS = "SELECT owner, served FROM turn"
READ = (_QUEUED, _TURNS, "SELECT seconds, progress FROM job WHERE state = 'running'")


def _waiting(rows: Sequence[sqlite3.Row]) -> list[turns.Waiting]:
    return [
        turns.Waiting(row["number"], row["owner"], row["priority"], frozenset(json.loads(row["models"])), row["rank"])
        for row in rows
    ]


def _served(rows: Sequence[sqlite3.Row]) -> dict[str, int]:
    return {row["owner"]: row["served"] for row in rows}


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
