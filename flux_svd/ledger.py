"""SQLite: which jobs there are, whose turn it is, who works on what, and how far it got. Knows no engine.

A job holds its plan, so every attempt carries out the same recipes. Who claims a job gets a lease and an attempt number; the
lease is kept up by signs of life, and only the holder of the last attempt may end the job. Beside its row a waiting job has a
file, from which the queue is rebuilt when the database is lost.
"""

from __future__ import annotations

import datetime
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from flux_svd import files, schema, standing
from flux_svd.artifact import JobTag
from flux_svd.database import Database
from flux_svd.errors import DiskFull, InvalidRequest, QueueFull
from flux_svd.job import (
    ENDED,
    Claim,
    Job,
    State,
    Wish,
    insert_job,
    job_of_row,
    marks,
    note_event,
    progress_json,
    put_setting,
    settle_attempt,
    tag_of_row,
)
from flux_svd.plan import Plan, plan_from_json, plan_to_json
from flux_svd.progress import Progress
from flux_svd.standing import Standing

LEASE_SECONDS = 30.0  # six missed signs of life at 5 s
QUEUE_LIMIT, OWNER_LIMIT = 1000, 500
RESERVE_BYTES = 2**20  # of the disk; to note that a job is paused took 20 to 130 KB of SQLite's journal
_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"  # what nobody reads as another letter
_IS_PAUSED = "SELECT 1 FROM setting WHERE name = 'paused' AND value = 1"


class Ledger:
    """All jobs of one data folder. Safe to share between threads and processes.

    Args:
        limit, owner_limit: how many unfinished jobs there may be, in all and of one owner.
        now: seconds since 1970.

    Raises:
        StorageFailed: the database cannot be used.

    Attributes:
        damaged: where a damaged database was moved; the queue was then rebuilt from the job files.
        unreadable: job files that are no job of this version; they stay where they are.
    """

    def __init__(
        self, home: Path, *, limit: int = QUEUE_LIMIT, owner_limit: int = OWNER_LIMIT, now: Callable[[], float] = time.time
    ) -> None:
        self.home, self.limit, self.owner_limit, self._now = home, limit, owner_limit, now
        self._db = Database(home / "ledger.db", schema.LEDGER)
        self.damaged = self._db.moved_aside
        self.unreadable: tuple[Path, ...] = ()
        self.reconcile()

    def submit(self, plan: Plan, *, owner: str = "", priority: int = 0, key: str = "", outputs: Path | None = None) -> str:
        """Return the id of a new job for `plan`; once it is returned, the job is never lost.

        Args:
            key: names the request to submit: the same key of the same owner gives the same job again.
            outputs: where its results go; None is where the worker's go.

        Raises:
            QueueFull: with how many there are and may be.
            DiskFull: there is no room; nothing was kept.
        """
        now = self._now()
        job_id = "".join(secrets.choice(_ALPHABET) for _ in range(10))
        order = {
            "id": job_id, "owner": owner, "key": key, "priority": priority, "submitted": now,
            "day": datetime.date.fromtimestamp(now).isoformat(), "plan": json.loads(plan_to_json(plan)),
            "outputs": str(outputs.absolute()) if outputs else "",
        }  # fmt: skip
        try:
            with self._db.writing() as db:
                known = db.execute("SELECT id FROM job WHERE owner = ? AND key = ?", (owner, key or None)).fetchone()
                if known:
                    return str(known["id"])
                self._refuse_overflow(db, owner)
                files.write_json(self._file(job_id), order)
                insert_job(db, order, plan, now)
        except BaseException:
            files.remove(self._file(job_id))
            raise
        return job_id

    def claim(self, worker: str, warm: Collection[str] = ()) -> Claim | None:
        """Return the right to the next job, or None if nothing waits. `warm` names the models the worker has loaded."""
        self._keep_reserve()
        with self._db.writing() as db:
            self._reap(db)
            standing.note_worker(db, worker, warm, self._now(), LEASE_SECONDS / 2)
            if db.execute(_IS_PAUSED).fetchone():
                return None
            job = standing.take_turn(db, worker, warm)
            if job is None:
                return None
            now = self._now()
            row = db.execute(
                "UPDATE job SET state = 'running', attempt = attempt + 1, worker = ?, lease = ?, started = ?, heartbeat = ?, "
                "reason = '', results = '[]', progress = '{\"phase\": \"wait\"}' WHERE number = ? RETURNING *",
                (worker, now + LEASE_SECONDS, now, now, job.number),
            ).fetchone()
            self._log(db, row["id"], f"attempt {row['attempt']} begins at {worker}")
            try:
                plan = plan_from_json(row["plan"])
            except (ValueError, InvalidRequest) as error:
                self._settle(db, row, "failed", f"its plan is of another version; flux-svd jobs again makes a new one ({error})")
                plan = None
        return self.claim(worker, warm) if plan is None else Claim(row["id"], row["attempt"], worker, plan, tag_of_row(row))

    def beat(self, claim: Claim, progress: Progress | None = None) -> Wish | Literal["lost"]:
        """Keep the lease up, note how far the job is, and return what is asked of it; "lost": another has it now."""
        told = progress_json(progress) if progress else None
        with self._db.writing() as db:
            row = db.execute(
                "UPDATE job SET lease = ?, heartbeat = ?, progress = coalesce(?, progress) "
                "WHERE id = ? AND attempt = ? AND worker = ? AND state = 'running' RETURNING wish",
                (self._now() + LEASE_SECONDS, self._now(), told, claim.id, claim.attempt, claim.worker),
            ).fetchone()
            db.execute("UPDATE worker SET seen = ? WHERE name = ?", (self._now(), claim.worker))
        return "lost" if row is None else row["wish"]

    def note_results(self, claim: Claim, results: Sequence[Path]) -> None:
        """Note the files that are finished while the job goes on; they stay with a job that is cancelled after that."""
        told = json.dumps([str(path) for path in results])
        with self._db.writing() as db:
            held = "id = ? AND attempt = ? AND worker = ? AND state = 'running'"
            db.execute(f"UPDATE job SET results = ? WHERE {held}", (told, claim.id, claim.attempt, claim.worker))

    def finish(self, claim: Claim, results: Sequence[Path]) -> bool:
        """Note that the job is done, with its files; False if the right to it was lost, and then nothing changes."""
        return self._end(claim, "done", "", [str(path) for path in results])

    def stop(self, claim: Claim) -> bool:
        """Note that the worker stopped: cancelled or paused if that was wished, else the job waits for the next attempt."""
        return self._end(claim, "queued", "")

    def pause_for(self, claim: Claim, reason: str) -> bool:
        """Note that the job cannot go on before somebody has acted; `resume` lets it.

        On a full disk the note takes the room of the reserve, which comes back with the next claim.
        """
        files.remove(self._reserve)
        return self._end(claim, "paused", reason)

    def fail(self, claim: Claim, reason: str, *, again: bool) -> bool:
        """Note that the attempt failed; with `again` it is tried `MAX_FAILURES` times and then set apart."""
        return self._end(claim, "queued" if again else "failed", reason, failed=True)

    def release(self, worker: str, reason: str) -> int:
        """Take back what a dead worker had claimed, as failed attempts; return how many jobs that were."""
        with self._db.writing() as db:
            held = db.execute("SELECT * FROM job WHERE state = 'running' AND worker = ?", (worker,)).fetchall()
            for row in held:
                self._settle(db, row, "queued", reason, failed=True)
            db.execute("DELETE FROM worker WHERE name = ?", (worker,))
        return len(held)

    def cancel(self, job_id: str, *, owner: str | None = None) -> None:
        """Cancel the job: at once, or if it runs at its next step; finished stages are kept.

        Raises:
            InvalidRequest: there is no such job, or it has ended.
        """
        self._ask(job_id, owner, "cancel", "cancelled", ("queued", "paused"))

    def pause(self, job_id: str | None = None, *, owner: str | None = None) -> None:
        """Let the job wait, at once or from its next step; without an id no job is begun until `resume`.

        Raises:
            InvalidRequest: there is no such job, or it has ended, or is being cancelled.
        """
        if job_id is None:
            with self._db.writing() as db:
                put_setting(db, "paused", 1)
        else:
            self._ask(job_id, owner, "pause", "paused", ("queued",))

    def resume(self, job_id: str | None = None, *, owner: str | None = None) -> None:
        """Let a paused job, or the paused queue, go on.

        Raises:
            InvalidRequest: there is no such job, or it is not paused.
        """
        with self._db.writing() as db:
            if job_id is None:
                put_setting(db, "paused", 0)
                return
            row = self._need(db, job_id, owner)
            if row["state"] == "running" and row["wish"] == "pause":
                db.execute("UPDATE job SET wish = '' WHERE id = ?", (job_id,))
            elif row["state"] == "paused":
                db.execute("UPDATE job SET state = 'queued', reason = '' WHERE id = ?", (job_id,))
            else:
                raise InvalidRequest("job", job_id, f"a paused job; this one is {row['state']}")
            self._log(db, job_id, "resumed")

    def retry(self, job_id: str, *, owner: str | None = None) -> None:
        """Let a failed, cancelled or quarantined job wait again; finished stages are found.

        Raises:
            InvalidRequest: there is no such job, or it is not one of these.
            QueueFull: as `submit`.
        """
        with self._db.writing() as db:
            row = self._need(db, job_id, owner)
            if row["state"] not in ("failed", "cancelled", "quarantined"):
                raise InvalidRequest("job", job_id, f"a failed, cancelled or quarantined job; this one is {row['state']}")
            self._refuse_overflow(db, row["owner"])
            kept = {name: row[name] for name in ("id", "owner", "priority", "day", "outputs", "submitted")}
            files.write_json(self._file(job_id), {**kept, "key": row["key"] or "", "plan": json.loads(row["plan"])})
            db.execute(
                "UPDATE job SET state = 'queued', wish = '', failures = 0, reason = '', results = '[]', ended = NULL "
                "WHERE id = ?",
                (job_id,),
            )
            self._log(db, job_id, "asked for again")

    def move_up(self, job_id: str, *, owner: str | None = None) -> None:
        """Let a waiting job go before its owner's other jobs; other owners keep their turns.

        Raises:
            InvalidRequest: there is no such job, or it does not wait.
        """
        with self._db.writing() as db:
            row = self._need(db, job_id, owner)
            if row["state"] not in ("queued", "paused"):
                raise InvalidRequest("job", job_id, f"a job that waits; this one is {row['state']}")
            standing.move_up(db, row)
            self._log(db, job_id, "moved up")

    def job(self, job_id: str, *, owner: str | None = None) -> Job:
        """Return one job; with `owner` only if it is his.

        Raises:
            InvalidRequest: there is no such job.
        """
        return job_of_row(self._need(None, job_id, owner))

    def jobs(self, *, owner: str | None = None, states: Collection[str] = (), limit: int = 1000) -> list[Job]:
        """Return the newest jobs, last first, of one owner and in these states if given."""
        found = self._db.read(
            f"SELECT * FROM job WHERE (? IS NULL OR owner = ?) AND (? OR state IN ({marks(states)})) "
            "ORDER BY number DESC LIMIT ?", owner, owner, not states, *states, limit,
        )  # fmt: skip
        return [job_of_row(row) for row in found]

    def plan(self, job_id: str, *, owner: str | None = None) -> Plan:
        """Return the plan of a job.

        Raises:
            InvalidRequest: there is no such job.
        """
        return plan_from_json(self._need(None, job_id, owner)["plan"])

    def tag(self, job_id: str, *, owner: str | None = None) -> JobTag:
        """Return how the results of a job are named and where they go.

        Raises:
            InvalidRequest: there is no such job.
        """
        return tag_of_row(self._need(None, job_id, owner))

    def events(self, job_id: str) -> list[tuple[float, str]]:
        """Return what happened to a job: seconds since 1970 and words."""
        return [(row["at"], row["what"]) for row in self._db.read("SELECT * FROM event WHERE job = ? ORDER BY number", job_id)]

    def counts(self) -> dict[str, int]:
        """Return how many jobs there are in each state."""
        return {row[0]: row[1] for row in self._db.read("SELECT state, count(*) FROM job GROUP BY state ORDER BY state")}

    def standings(self) -> dict[str, Standing]:
        """Return for each waiting job where it stands."""
        found = standing.standings(*(self._db.read(asked) for asked in standing.READ))
        numbers = {row["number"]: row["id"] for row in self._db.read("SELECT number, id FROM job WHERE state = 'queued'")}
        return {numbers[number]: where for number, where in found.items() if number in numbers}

    def warm_models(self) -> tuple[str, ...]:
        """Return the models that living workers have loaded."""
        rows = self._db.read("SELECT models FROM worker WHERE seen > ?", self._now() - 2 * LEASE_SECONDS)
        return tuple(sorted({name for row in rows for name in json.loads(row["models"])}))

    def workers(self) -> int:
        """Return how many workers have given a sign of life."""
        return int(self._db.read("SELECT count(*) FROM worker WHERE seen > ?", self._now() - 2 * LEASE_SECONDS)[0][0])

    def count(self, name: str) -> None:
        """Add one to what is counted under this name."""
        with self._db.writing() as db:
            standing.count(db, name)

    def tallies(self) -> dict[str, float]:
        """Return what was counted since the ledger was made: "ended done", "run image 5" (seconds up to 5), "out of memory" …"""
        return {row["name"]: row["value"] for row in self._db.read("SELECT * FROM tally ORDER BY name")}

    def is_paused(self) -> bool:
        return bool(self._db.read(_IS_PAUSED))

    def needed_stages(self) -> set[str]:
        """Return the fingerprints of all stages that unfinished jobs go through."""
        found = self._db.read(f"SELECT stages FROM job WHERE state NOT IN ({marks(ENDED)})", *ENDED)
        return {name for row in found for name in json.loads(row["stages"])}

    def reconcile(self) -> int:
        """Take in jobs that have a file and no row (a crash or a lost database), and return how many there were."""
        states = {row["id"]: row["state"] for row in self._db.read("SELECT id, state FROM job")}
        found = [path for path in self.home.glob("jobs/*.json") if states.get(path.stem, "done") in ENDED]
        if not found:
            return 0
        orders = [(path, files.read_json(path)) for path in found]
        orders.sort(key=lambda entry: (entry[1].get("submitted", 0.0), entry[0].stem))
        adopted = 0
        with self._db.writing() as db:
            for path, order in orders:
                row = db.execute("SELECT state FROM job WHERE id = ?", (path.stem,)).fetchone()
                if row is not None and row["state"] in ENDED:
                    files.remove(path)
                elif row is None and path.exists():
                    adopted += self._adopt(db, path, order)
        return adopted

    def close(self) -> None:
        self._db.close()

    def _file(self, job_id: str) -> Path:
        return self.home / "jobs" / f"{job_id}.json"

    @property
    def _reserve(self) -> Path:
        return self.home / "reserve"

    def _keep_reserve(self) -> None:
        """Hold a little of the disk for `pause_for`; no zeros, since file systems that compress give those no room."""
        if not self._reserve.exists():
            with suppress(DiskFull):
                files.write_atomically(self._reserve, os.urandom(RESERVE_BYTES))

    def _refuse_overflow(self, db: sqlite3.Connection, owner: str) -> None:
        unfinished = f"SELECT count(*) FROM job WHERE state NOT IN ({marks(ENDED)})"
        total = db.execute(unfinished, ENDED).fetchone()[0]
        own = db.execute(f"{unfinished} AND owner = ?", (*ENDED, owner)).fetchone()[0]
        if total >= self.limit:
            raise QueueFull(f"the queue is full: {total} of {self.limit} jobs; wait until one is done, or cancel one")
        if own >= self.owner_limit:
            raise QueueFull(f"you have {own} of {self.owner_limit} jobs in the queue; wait until one is done, or cancel one")

    def _adopt(self, db: sqlite3.Connection, path: Path, order: Mapping[str, Any]) -> bool:
        try:
            insert_job(db, order, plan_from_json(json.dumps(order["plan"])), self._now())
        except (KeyError, ValueError, InvalidRequest, sqlite3.IntegrityError):
            self.unreadable += (path,)
            return False
        self._log(db, order["id"], "found again by its file")
        return True

    def _reap(self, db: sqlite3.Connection) -> None:
        """Take back jobs whose lease ran out; one further ahead than a lease can be was given before the clock was set back."""
        now = self._now()
        late = "SELECT * FROM job WHERE state = 'running' AND (lease < ? OR lease > ?)"
        for row in db.execute(late, (now, now + 2 * LEASE_SECONDS)).fetchall():
            standing.count(db, "leases lost")
            self._settle(db, row, "queued", f"{row['worker']} gave no sign of life for {LEASE_SECONDS:g} s", failed=True)

    def _end(self, claim: Claim, state: State, reason: str, results: Sequence[str] = (), *, failed: bool = False) -> bool:
        with self._db.writing() as db:
            held = "SELECT * FROM job WHERE id = ? AND attempt = ? AND worker = ? AND state = 'running'"
            row = db.execute(held, (claim.id, claim.attempt, claim.worker)).fetchone()
            if row is None:
                self._log(db, claim.id, f"attempt {claim.attempt} of {claim.worker} came too late ({state}): it does not count")
                standing.count(db, "came too late")
                return False
            self._settle(db, row, state, reason, results, failed=failed)
        return True

    def _ask(self, job_id: str, owner: str | None, wish: Wish, at_once: State, waiting: tuple[str, ...]) -> None:
        with self._db.writing() as db:
            row = self._need(db, job_id, owner)
            if row["state"] == "running":
                if row["wish"] == "cancel" and wish != "cancel":
                    raise InvalidRequest("job", job_id, "a job that goes on; this one is being cancelled, which is final")
                db.execute("UPDATE job SET wish = ? WHERE id = ?", (wish, job_id))
                self._log(db, job_id, f"{wish} asked for")
            elif row["state"] in waiting:
                self._settle(db, row, at_once, "")
            else:
                raise InvalidRequest("job", job_id, f"a job that is {', '.join(waiting)} or running; this one is {row['state']}")

    def _need(self, db: sqlite3.Connection | None, job_id: str, owner: str | None) -> sqlite3.Row:
        asked = "SELECT * FROM job WHERE id = ? AND (? IS NULL OR owner = ?)"
        values = (job_id, owner, owner)
        found = db.execute(asked, values).fetchall() if db else self._db.read(asked, *values)
        if not found:
            raise InvalidRequest("job", job_id, "the id of a job; flux-svd jobs lists them")
        row: sqlite3.Row = found[0]
        return row

    def _settle(
        self,
        db: sqlite3.Connection,
        row: sqlite3.Row,
        state: State,
        reason: str,
        results: Sequence[str] = (),
        *,
        failed: bool = False,
    ) -> None:
        ended = settle_attempt(db, row, state, reason, self._now(), results, failed=failed)
        if ended:
            standing.count_end(db, row, ended, self._now())
            standing.prune(db)
            files.remove(self._file(row["id"]))

    def _log(self, db: sqlite3.Connection, job_id: str, what: str) -> None:
        note_event(db, job_id, what, self._now())


def needed_stages(home: Path) -> set[str]:
    """Return the stages that unfinished jobs of this data folder need; nothing is created where there is no ledger."""
    if not (home / "ledger.db").exists():
        return set()
    ledger = Ledger(home)
    try:
        return ledger.needed_stages()
    finally:
        ledger.close()
