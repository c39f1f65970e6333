"""Jobs: none lost, none done twice, everyone has a turn, and what is asked for happens."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from flux_svd import failpoints, files, schema
from flux_svd.database import Database, refuse_network
from flux_svd.errors import DiskFull, InvalidRequest, QueueFull, StorageFailed
from flux_svd.job import MAX_FAILURES, Claim
from flux_svd.ledger import LEASE_SECONDS, Ledger, needed_stages
from flux_svd.plan import Plan, stage_names
from flux_svd.progress import Progress
from flux_svd.turns import MAX_SKIPS, Waiting, choose
from tests.test_planner import film_of, plan_of

PLAN = plan_of()


class Time:
    """A clock the test sets."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def ledger(home: Path, time: Time) -> Ledger:
    return Ledger(home, now=time)


def claimed(ledger: Ledger, worker: str = "w") -> Claim:
    claim = ledger.claim(worker)
    assert claim is not None
    return claim


def of_model(plan: Plan, model: str) -> Plan:
    first = dataclasses.replace(plan.placements[0], model=model)
    return dataclasses.replace(plan, placements=(first, *plan.placements[1:]))


def test_a_job_goes_from_hand_to_hand_with_its_whole_plan(ledger: Ledger, home: Path) -> None:
    plan, _ = film_of()
    job = ledger.submit(plan, owner="ann")
    assert (ledger.job(job).state, ledger.job(job).title) == ("queued", "a red circle")
    claim = claimed(Ledger(home), "w1")
    assert (claim.id, claim.attempt, claim.plan, claim.tag.owner) == (job, 1, plan, "ann")
    assert ledger.beat(claim, Progress("draw", 2, 3, 4, 8, 12.5, b"preview", "note")) == ""
    assert ledger.job(job).progress == Progress("draw", 2, 3, 4, 8, 12.5, None, "note")
    assert ledger.finish(claim, [Path("out/a.mp4")])
    assert (ledger.job(job).state, ledger.job(job).results) == ("done", ("out/a.mp4",))
    assert ledger.claim("w1") is None


def test_jobs_survive_their_process(ledger: Ledger, home: Path) -> None:
    ids = [ledger.submit(PLAN) for _ in range(3)]
    ledger.close()
    assert [job.id for job in Ledger(home).jobs()] == ids[::-1]


def test_the_same_key_of_an_owner_is_the_same_job(ledger: Ledger) -> None:
    first = ledger.submit(PLAN, owner="ann", key="k")
    assert ledger.submit(PLAN, owner="ann", key="k") == first
    assert ledger.submit(PLAN, owner="bob", key="k") != first
    assert ledger.submit(PLAN, owner="ann") != ledger.submit(PLAN, owner="ann")


def test_higher_priority_goes_first_then_the_older_job(ledger: Ledger) -> None:
    ids = [ledger.submit(PLAN, priority=priority) for priority in (0, 0, 5)]
    assert [claimed(ledger).id for _ in ids] == [ids[2], ids[0], ids[1]]


def test_nine_with_two_jobs_finish_within_the_first_twenty_beside_one_with_a_hundred(ledger: Ledger) -> None:
    for _ in range(100):
        ledger.submit(PLAN, owner="greedy")
    small = {ledger.submit(PLAN, owner=f"owner {n}") for n in range(9) for _ in range(2)}
    first = []
    for _ in range(20):
        claim = claimed(ledger)
        first.append(claim.id)
        ledger.finish(claim, [])
    assert small <= set(first)


def waiting(*owners_and_models: tuple[str, str]) -> list[Waiting]:
    return [Waiting(n, owner, 0, frozenset([model])) for n, (owner, model) in enumerate(owners_and_models)]


def test_a_warm_model_is_used_before_another_but_nobody_is_passed_over_for_long() -> None:
    jobs = waiting(("ann", "a"), *[("bob", "b")] * 9)
    warm, skips, order = {"b"}, 0, []
    while jobs:
        job, skipped = choose(jobs, {}, warm, skips)
        skips = skips + 1 if skipped else 0
        warm = set(job.models)
        order.append(job.number)
        jobs.remove(job)
    assert order == [1, 2, 3, 0, 4, 5, 6, 7, 8, 9]
    assert MAX_SKIPS == 3


def test_grouping_by_model_saves_swaps(ledger: Ledger) -> None:
    draw = random.Random(1)
    for _ in range(40):
        ledger.submit(of_model(PLAN, draw.choice(["flux1-dev", "flux1-schnell"])))
    swaps, warm = 0, ""
    while (claim := ledger.claim("w", [warm, "pocket-clip"])) is not None:
        swaps, warm = swaps + (claim.plan.model != warm), claim.plan.model
        ledger.finish(claim, [])
    assert swaps <= 15, "in the order of submission about 20"


def test_a_lost_lease_gives_the_job_to_another_and_the_late_one_does_not_count(ledger: Ledger, time: Time) -> None:
    job = ledger.submit(PLAN)
    late = claimed(ledger, "slow")
    time.now += LEASE_SECONDS + 1
    second = claimed(ledger, "quick")
    assert (second.id, second.attempt) == (job, 2)
    assert ledger.beat(late) == "lost"
    assert not ledger.finish(late, [Path("late")])
    assert ledger.finish(second, [Path("right")])
    assert not ledger.finish(late, [Path("late")])
    assert ledger.job(job).results == ("right",)
    told = "\n".join(what for _, what in ledger.events(job))
    assert "slow gave no sign of life for 30 s" in told
    assert "attempt 1 of slow came too late" in told


def test_signs_of_life_keep_the_lease(ledger: Ledger, time: Time) -> None:
    ledger.submit(PLAN)
    claim = claimed(ledger)
    for _ in range(10):
        time.now += LEASE_SECONDS * 0.9
        assert ledger.beat(claim) == ""
        assert ledger.claim("other") is None


def test_a_clock_set_back_holds_no_job_for_ever(ledger: Ledger, time: Time) -> None:
    job = ledger.submit(PLAN)
    claimed(ledger)
    time.now -= 7200
    assert claimed(ledger).id == job


def test_three_failures_set_a_job_apart_with_the_reason_and_a_retry_begins_anew(ledger: Ledger) -> None:
    job = ledger.submit(PLAN)
    for _ in range(MAX_FAILURES):
        ledger.release(claimed(ledger).worker, "the worker died with signal 9")
    told = ledger.job(job)
    assert (told.state, told.failures) == ("quarantined", 3)
    assert told.reason == "3 attempts failed; the last: the worker died with signal 9"
    assert ledger.claim("w") is None
    ledger.retry(job)
    assert claimed(ledger).attempt == 4
    assert ledger.job(job).failures == 0


def test_a_clean_stop_is_no_failure(ledger: Ledger) -> None:
    job = ledger.submit(PLAN)
    for _ in range(5):
        assert ledger.stop(claimed(ledger))
    assert (ledger.job(job).state, ledger.job(job).failures) == ("queued", 0)


def test_an_error_that_would_come_again_ends_the_job_at_once(ledger: Ledger) -> None:
    job = ledger.submit(PLAN)
    ledger.fail(claimed(ledger), "not finite", again=False)
    assert (ledger.job(job).state, ledger.job(job).reason) == ("failed", "not finite")


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_at_its_next_sign(ledger: Ledger) -> None:
    runs, waits = ledger.submit(PLAN), ledger.submit(PLAN)
    claim = claimed(ledger)
    ledger.cancel(waits)
    ledger.cancel(runs)
    assert (ledger.job(waits).state, ledger.job(runs).state, ledger.job(runs).wish) == ("cancelled", "running", "cancel")
    assert ledger.beat(claim) == "cancel"
    assert ledger.stop(claim)
    assert ledger.job(runs).state == "cancelled"
    with pytest.raises(InvalidRequest, match="is cancelled"):
        ledger.cancel(runs)
    ledger.retry(runs)
    assert ledger.job(runs).state == "queued"


@pytest.mark.parametrize("then", ["pause", "resume", "a full disk"])
def test_a_cancel_is_final(then: str, ledger: Ledger) -> None:
    job = ledger.submit(PLAN)
    claim = claimed(ledger)
    ledger.pause(job)
    ledger.cancel(job)
    if then == "a full disk":
        assert ledger.pause_for(claim, "the disk is full")
    else:
        with pytest.raises(InvalidRequest):
            (ledger.pause if then == "pause" else ledger.resume)(job)
        ledger.cancel(job)
        assert ledger.beat(claim) == "cancel"
        ledger.stop(claim)
    assert ledger.job(job).state == "cancelled"


def test_a_cancelled_job_whose_worker_died_is_cancelled(ledger: Ledger) -> None:
    job = ledger.submit(PLAN)
    claimed(ledger, "w")
    ledger.cancel(job)
    ledger.release("w", "died")
    assert ledger.job(job).state == "cancelled"


def test_a_job_can_be_paused_and_resumed_waiting_or_running(ledger: Ledger) -> None:
    job = ledger.submit(PLAN)
    ledger.pause(job)
    assert ledger.claim("w") is None
    ledger.resume(job)
    claim = claimed(ledger)
    ledger.pause(job)
    assert ledger.beat(claim) == "pause"
    ledger.stop(claim)
    assert ledger.job(job).state == "paused"
    with pytest.raises(InvalidRequest):
        ledger.retry(job)
    ledger.resume(job)
    assert claimed(ledger).id == job


def test_a_paused_queue_begins_nothing_and_takes_jobs(ledger: Ledger) -> None:
    ledger.pause()
    ledger.submit(PLAN)
    assert ledger.is_paused()
    assert ledger.claim("w") is None
    ledger.resume()
    assert ledger.claim("w")


def test_a_job_that_needs_somebody_waits_with_the_reason(ledger: Ledger) -> None:
    job = ledger.submit(PLAN)
    ledger.pause_for(claimed(ledger), "the disk is full")
    assert (ledger.job(job).state, ledger.job(job).reason) == ("paused", "the disk is full")
    ledger.resume(job)
    assert ledger.job(job).reason == ""


def test_a_full_queue_says_how_many_and_keeps_nothing(home: Path) -> None:
    ledger = Ledger(home, limit=3, owner_limit=2)
    ids = [ledger.submit(PLAN, owner="ann") for _ in range(2)]
    with pytest.raises(QueueFull, match="you have 2 of 2 jobs"):
        ledger.submit(PLAN, owner="ann")
    ledger.submit(PLAN, owner="bob")
    with pytest.raises(QueueFull, match="the queue is full: 3 of 3 jobs"):
        ledger.submit(PLAN, owner="cem")
    assert ledger.counts() == {"queued": 3}
    assert len(list((home / "jobs").iterdir())) == 3
    ledger.cancel(ids[0])
    ledger.submit(PLAN, owner="ann")


def test_another_owners_job_is_no_job(ledger: Ledger) -> None:
    job = ledger.submit(PLAN, owner="ann")
    asks: list[Any] = [ledger.job, ledger.plan, ledger.cancel, ledger.pause, ledger.resume, ledger.retry]
    for ask in asks:
        with pytest.raises(InvalidRequest, match="the id of a job"):
            ask(job, owner="bob")
    assert ledger.jobs(owner="bob") == []
    assert ledger.job(job, owner="ann").state == "queued"


def test_unfinished_jobs_say_which_stages_they_need(ledger: Ledger, home: Path, tmp_path: Path) -> None:
    plan, _ = film_of()
    ledger.submit(plan)
    assert needed_stages(home) == stage_names(plan)
    ledger.finish(claimed(ledger), [])
    assert needed_stages(home) == set()
    assert needed_stages(tmp_path / "elsewhere") == set()
    assert not (tmp_path / "elsewhere").exists()


def test_a_lost_or_damaged_database_is_moved_aside_and_the_queue_rebuilt(ledger: Ledger, home: Path, time: Time) -> None:
    ids = []
    for priority in range(3):
        time.now += 1
        ids.append(ledger.submit(PLAN, owner="ann", priority=priority))
    ledger.finish(claimed(ledger), [])
    ledger.close()
    damaged = (home / "ledger.db").read_bytes()[:100] + b"\xff" * 5000
    (home / "ledger.db").write_bytes(damaged)
    again = Ledger(home)
    assert again.damaged is not None
    assert again.damaged.read_bytes() == damaged
    assert [(job.id, job.owner, job.priority, job.state) for job in again.jobs()] == [
        (ids[1], "ann", 1, "queued"), (ids[0], "ann", 0, "queued")]  # fmt: skip
    assert again.plan(ids[0]) == PLAN
    again.close()
    for path in home.glob("ledger.db*"):
        path.unlink()
    assert {job.id for job in Ledger(home).jobs()} == set(ids[:2])


def test_a_crash_while_a_damaged_database_is_moved_aside_leaves_no_log_beside_a_new_one(home: Path) -> None:
    path, log = home / "ledger.db", home / "ledger.db-wal"
    number, ended = 0, False
    while not ended:
        number += 1
        shutil.rmtree(home, ignore_errors=True)
        other = Ledger(home)  # while another process has it open, the log stays
        other._db.read("PRAGMA wal_checkpoint(TRUNCATE)")
        path.write_bytes(b"\xff" * 5000)
        assert log.exists()
        failpoints.arm("full", number)
        try:
            Database(path, schema.LEDGER).close()
            ended = True
        except StorageFailed:
            assert path.exists() or not log.exists(), f"point {number}"
        finally:
            failpoints.arm(None)
            other.close()
        Ledger(home).close()
    assert number > 6


def test_a_claim_from_before_a_lost_database_does_not_count(ledger: Ledger, home: Path) -> None:
    job = ledger.submit(PLAN)
    late = claimed(ledger)
    ledger.finish(late, [])
    ledger.close()
    for path in home.glob("ledger.db*"):
        path.unlink()
    again = Ledger(home)
    assert again.beat(late) == "lost"
    assert not again.finish(late, [])
    with pytest.raises(InvalidRequest):
        again.job(job)


def test_a_damaged_page_deep_in_the_database_is_found_at_the_start(ledger: Ledger, home: Path) -> None:
    for _ in range(20):
        ledger.submit(PLAN)
    ledger.close()
    data = bytearray((home / "ledger.db").read_bytes())
    data[8192:12288] = random.Random(1).randbytes(4096)
    (home / "ledger.db").write_bytes(data)
    again = Ledger(home)
    assert again.damaged
    assert again.counts() == {"queued": 20}


def test_a_job_whose_plan_is_of_another_version_fails_and_the_next_is_taken(ledger: Ledger) -> None:
    old, new = ledger.submit(PLAN), ledger.submit(PLAN)
    with ledger._db.writing() as db:
        db.execute("UPDATE job SET plan = '{}' WHERE id = ?", (old,))
    assert claimed(ledger).id == new
    assert (ledger.job(old).state, ledger.job(old).reason[:32]) == ("failed", "its plan is of another version; ")


def test_a_damaged_job_file_is_named_and_the_rest_goes_on(ledger: Ledger, home: Path) -> None:
    good, bad = ledger.submit(PLAN), ledger.submit(PLAN)
    ledger.close()
    (home / "ledger.db").unlink()
    (home / "jobs" / f"{bad}.json").write_text("{broken")
    again = Ledger(home)
    assert [job.id for job in again.jobs()] == [good]
    assert [path.stem for path in again.unreadable] == [bad]
    assert (home / "jobs" / f"{bad}.json").exists()


def test_a_newer_database_is_refused_and_left_alone(ledger: Ledger, home: Path) -> None:
    ledger.close()
    with sqlite3.connect(home / "ledger.db") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageFailed, match="newer version"):
        Ledger(home)


def test_a_migration_keeps_a_copy_of_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    first = Database(path, ["CREATE TABLE t (a)"])
    with first.writing() as db:
        db.execute("INSERT INTO t VALUES (1)")
    first.close()
    second = Database(path, ["CREATE TABLE t (a)", "ALTER TABLE t ADD COLUMN b; UPDATE t SET b = a + 1"])
    assert [tuple(row) for row in second.read("SELECT * FROM t")] == [(1, 2)]
    with sqlite3.connect(tmp_path / "x.db.version-1") as copy:
        assert copy.execute("SELECT * FROM t").fetchall() == [(1,)]


def test_a_commit_is_flushed_to_disk_before_it_counts(ledger: Ledger) -> None:
    modes = [ledger._db.read(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")]
    assert modes == ["wal", 2, 1, 10_000]  # 2 is FULL


def test_an_exception_undoes_its_transaction(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), ledger._db.writing() as db:
        db.execute("INSERT INTO setting VALUES ('x', 1)").fetchall()[1 // 0]
    assert ledger._db.read("SELECT * FROM setting") == []


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs", "fuse.rclone"])
def test_a_network_file_system_is_refused_by_name(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away, link = tmp_path / "away", tmp_path / "link"
    away.mkdir()
    link.symlink_to(away)
    mounts = [type("Mount", (), {"mountpoint": point, "fstype": fs}) for point, fs in (("/", "ext4"), (str(away), kind))]
    monkeypatch.setattr("psutil.disk_partitions", lambda all: mounts)
    for home in (away / "home", link / "home"):
        with pytest.raises(StorageFailed, match=f"{kind} at {away}"):
            Ledger(home)
    refuse_network(Path("/elsewhere"))


@pytest.mark.parametrize("kind", ["ext4", "overlay", "fuseblk", "fuse.fuse-overlayfs"])
def test_a_disk_of_this_machine_is_no_network(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = [type("Mount", (), {"mountpoint": point, "fstype": fs}) for point, fs in (("/", "9p"), (str(tmp_path), kind))]
    monkeypatch.setattr("psutil.disk_partitions", lambda all: mounts)
    refuse_network(tmp_path / "ledger.db")
    refuse_network(Path("/elsewhere"))  # 9p at the root is the disk of a sandbox


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(StorageFailed, match="cannot be used"):
        Ledger(tmp_path / "home")


def test_a_full_disk_refuses_a_job_and_keeps_nothing_of_it(ledger: Ledger, home: Path) -> None:
    pages = ledger._db.read("PRAGMA page_count")[0][0]
    ledger._db.read(f"PRAGMA max_page_count = {pages + 2}")
    accepted: list[str] = []

    def submit_for_ever() -> None:
        while True:
            accepted.append(ledger.submit(PLAN))

    with pytest.raises(DiskFull):
        submit_for_ever()
    assert {job.id for job in ledger.jobs()} == set(accepted) == {path.stem for path in (home / "jobs").iterdir()}


def test_an_ended_job_leaves_no_file(ledger: Ledger, home: Path) -> None:
    ledger.submit(PLAN)
    assert json.loads(next((home / "jobs").iterdir()).read_text())["plan"]["seed"] == 7
    ledger.finish(claimed(ledger), [])
    assert list((home / "jobs").iterdir()) == []
    assert files.remove_leftovers(home) == 0
