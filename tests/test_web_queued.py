"""How a job stands, in the words of the page: while it waits and while its worker starts."""

from __future__ import annotations

import time
from pathlib import Path

from flux_svd.ledger import Ledger
from flux_svd.progress import Progress
from flux_svd.web.queued import STARTING, TAKEN_SECONDS, Queued
from tests.test_planner import plan_of

PLAN = plan_of()


def test_a_job_that_nobody_is_before_waits_for_a_worker_that_starts(home: Path, outputs: Path) -> None:
    before, now = Ledger(home, now=lambda: time.time() - TAKEN_SECONDS - 1), Ledger(home)
    queued = Queued(now, outputs)
    first = queued.start(PLAN, "")
    assert queued.progress(now.job(first)).note == STARTING  # no worker has ever been seen
    claim = now.claim("w")
    assert claim is not None
    assert queued.progress(now.job(first)).note == STARTING  # it has taken the job, and loads its program
    second = before.submit(PLAN)
    waits = queued.progress(now.job(second))
    assert (waits.item, waits.note) == (1, "")
    now.beat(claim, Progress("load"))
    assert queued.progress(now.job(first)) == Progress("load")
    now.finish(claim, [])
    queued._looked = 0.0  # the line is looked at once a second
    assert queued.progress(now.job(second)).note == STARTING  # a worker that lives and is free would have taken it
    assert queued.progress(now.job(queued.start(PLAN, ""))).item == 1


def test_a_job_a_worker_may_take_at_once_is_next_in_line(home: Path, outputs: Path) -> None:
    ledger = Ledger(home)
    queued = Queued(ledger, outputs)
    ledger.claim("w", ["pocket-flux"])
    job = queued.start(PLAN, "")
    assert queued.progress(ledger.job(job)) == Progress("wait", seconds_left=0.0)
    ledger.claim("w", ["pocket-flux"])
    assert queued.progress(ledger.job(job)) == Progress("wait")
