"""How a job stands, in the words of the page: while it waits, while its worker starts, and while a film is made."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from flux_svd.ledger import Ledger
from flux_svd.progress import Progress
from flux_svd.web import parts
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


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (Progress("load", 1, 2), "Loading the model · keyframe 1 of 2"),
        (Progress("load", 1, 2, of="transition"), "Loading the model · transition 1 of 2"),
        (Progress("animate", 2, 2, 3, 8, 12.0), "Step 3 of 8 · transition 2 of 2 · 12 s left"),
        (Progress("decode", step=11, steps=45, seconds_left=4.0), "Decoding frame 11 of 45 · 4 s left"),
        (Progress("score", seconds_left=0.0), "Scoring"),
    ],
)
def test_each_phase_of_a_film_says_what_is_counted(progress: Progress, words: str) -> None:
    said = parts.progress_status(progress, "keyframe")
    told = [part.split("<")[0] for part in said.split(">") if not part.startswith("<")]
    assert " · ".join(filter(None, told)) == words
