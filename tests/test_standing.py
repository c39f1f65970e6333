"""Where jobs stand in line, what is counted about them, and what is forgotten."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_svd import schema, standing
from flux_svd.database import Database
from flux_svd.errors import InvalidRequest
from flux_svd.ledger import LEASE_SECONDS, Ledger
from flux_svd.plan import plan_to_json
from flux_svd.progress import Progress
from flux_svd.standing import Standing
from flux_svd.turns import Waiting, choose, line_up
from tests.test_ledger import PLAN, Time, claimed


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def ledger(home: Path, time: Time) -> Ledger:
    return Ledger(home, now=time)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(-1, 1), st.integers(0, 2)), min_size=1, max_size=12),
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 9)),
)
def test_the_line_is_what_one_turn_after_another_gives(jobs: list[tuple[str, int, int]], served: dict[str, int]) -> None:
    waiting = [Waiting(n, owner, priority, frozenset(), rank) for n, (owner, priority, rank) in enumerate(jobs)]
    line = line_up(waiting, served)
    one_by_one = []
    while waiting:
        job, _ = choose(waiting, served)
        served = {**served, job.owner: 1 + max(served.values(), default=0)}
        waiting.remove(job)
        one_by_one.append(job)
    assert line == one_by_one


def test_one_owner_with_a_hundred_jobs_leaves_nine_others_their_turns(ledger: Ledger) -> None:
    for _ in range(100):
        ledger.submit(PLAN, owner="many")
    few = {ledger.submit(PLAN, owner=f"few {n}") for n in range(9) for _ in range(2)}
    done = []
    for _ in range(20):
        claim = claimed(ledger)
        ledger.finish(claim, [])
        done.append(claim.id)
    assert few <= set(done)


def test_moving_up_is_before_ones_own_jobs_and_nobody_elses(ledger: Ledger) -> None:
    mine = [ledger.submit(PLAN, owner="me") for _ in range(3)]
    yours = ledger.submit(PLAN, owner="you")
    ledger.move_up(mine[2], owner="me")
    order = [claimed(ledger).id for _ in range(4)]
    assert order == [mine[2], yours, mine[0], mine[1]]
    with pytest.raises(InvalidRequest, match="waits"):
        ledger.move_up(mine[0])
    with pytest.raises(InvalidRequest, match="id of a job"):
        ledger.move_up(mine[0], owner="you")


def test_a_waiting_job_knows_who_is_before_it_and_how_long_they_take(ledger: Ledger) -> None:
    timed = dataclasses.replace(PLAN, seconds=10.0)
    first, second, third = (ledger.submit(timed) for _ in range(3))
    assert ledger.standings() == {first: Standing(0, 0.0), second: Standing(1, 10.0), third: Standing(2, 20.0)}
    claim = claimed(ledger)
    ledger.beat(claim, Progress("draw", 0, 0, 3, 10, 4.0))
    assert ledger.standings() == {second: Standing(1, 4.0), third: Standing(2, 14.0)}
    untimed = ledger.submit(PLAN)
    last = ledger.submit(timed)
    assert ledger.standings()[untimed] == Standing(3, 24.0)
    assert ledger.standings()[last] == Standing(4, None)


def test_what_ends_is_counted_with_its_times(ledger: Ledger, time: Time) -> None:
    ledger.submit(PLAN)
    time.now += 3
    claim = claimed(ledger)
    time.now += 20
    ledger.finish(claim, [])
    ledger.cancel(ledger.submit(PLAN))
    ledger.count("out of memory")
    assert ledger.tallies() == {
        "ended cancelled": 1, "ended done": 1, "out of memory": 1, "run image 60": 1, "run image sum": 20, "wait image 5": 1,
        "wait image sum": 3,
    }  # fmt: skip


def test_a_claim_that_came_too_late_and_a_lost_lease_are_counted(ledger: Ledger, time: Time) -> None:
    ledger.submit(PLAN)
    late = claimed(ledger, "late")
    time.now += LEASE_SECONDS + 1
    claimed(ledger, "next")
    assert not ledger.finish(late, [])
    assert {"leases lost": 1, "came too late": 1}.items() <= ledger.tallies().items()


def test_workers_say_what_they_have_loaded_until_they_are_gone(ledger: Ledger, time: Time) -> None:
    assert ledger.warm_models() == ()
    ledger.claim("w", ("pocket-flux",))
    assert (ledger.warm_models(), ledger.workers()) == (("pocket-flux",), 1)
    ledger.release("w", "died")
    assert (ledger.warm_models(), ledger.workers()) == ((), 0)
    ledger.submit(PLAN)
    claim = ledger.claim("w", ("pocket-svd",))
    assert claim
    time.now += 3 * LEASE_SECONDS
    assert ledger.warm_models() == ()
    ledger.beat(claim)
    assert ledger.warm_models() == ("pocket-svd",)


def test_only_so_many_ended_jobs_are_remembered(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "HISTORY_LIMIT", 3)
    waiting = ledger.submit(PLAN)
    ended = [ledger.submit(PLAN) for _ in range(5)]
    for job in ended:
        ledger.cancel(job)
    assert [job.id for job in ledger.jobs()] == [*ended[:1:-1], waiting]
    assert ledger.events(ended[0]) == []


def test_a_ledger_of_the_first_version_is_brought_up_to_date_with_a_copy_kept(home: Path) -> None:
    home.mkdir()
    plan = dataclasses.replace(PLAN, seconds=12.5)
    old = Database(home / "ledger.db", schema.LEDGER[:1])
    with old.writing() as db:
        db.execute(
            "INSERT INTO job (id, owner, priority, kind, title, models, stages, plan, day, outputs, submitted) "
            "VALUES ('old', '', 0, 'image', 'a dog', '[]', '[]', ?, '2026-11-20', '', 1)", (plan_to_json(plan),),
        )  # fmt: skip
    old.close()
    ledger = Ledger(home)
    assert (ledger.job("old").seconds, ledger.job("old").rank) == (12.5, 0)
    kept = sqlite3.connect(home / "ledger.db.version-1")
    assert kept.execute("SELECT id FROM job").fetchall() == [("old",)]
    kept.close()
