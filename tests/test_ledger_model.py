"""Ledger and store against a dictionary: whatever is asked in whatever order, they say what the dictionary says."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from flux_svd.errors import InvalidRequest, QueueFull
from flux_svd.job import ENDED, MAX_FAILURES, Claim
from flux_svd.ledger import LEASE_SECONDS, Ledger, needed_stages
from flux_svd.plan import stage_names
from flux_svd.store import Store
from tests.test_planner import plan_of

PLANS = [plan_of(seed=seed) for seed in range(6)]
STAGES = [min(stage_names(plan)) for plan in PLANS]
LIMIT = 8


class Jobs(RuleBasedStateMachine):
    """`model` holds for each job [state, wish, attempt, failures, lease, plan]; `kept` the stages that were kept."""

    jobs = Bundle("jobs")
    claims = Bundle("claims")

    @initialize(target=jobs)
    def begin(self) -> object:
        self.home = Path(tempfile.mkdtemp(prefix="flux-svd-test-"))
        self.now = 1e6
        # the same ids in each run, so that hypothesis sees the same choices when it replays one
        self.ids = mock.patch("flux_svd.ledger.secrets.choice", random.Random(0).choice)
        self.ids.start()
        self.model: dict[str, dict[str, object]] = {}
        self.kept: set[str] = set()
        self.done: dict[str, int] = {}
        self.start_again()
        return multiple(*(self.submit_one(plan, owner) for plan, owner in ((0, "a"), (1, "b"), (2, "b"))))

    @rule(what=st.sampled_from(["start_again", "lose_the_database", "evict", "evict"]))
    def upkeep(self, what: str) -> None:
        getattr(self, what)()

    def start_again(self) -> None:
        """A process dies between two calls and another begins; nothing was closed."""
        self.ledger = Ledger(self.home, limit=LIMIT, now=lambda: self.now)
        self.store = Store(self.home, stages_bytes=0)
        self.store.reconcile()

    def lose_the_database(self) -> None:
        """What has ended is forgotten, what waits is found by its files; who worked has lost his claim."""
        self.ledger.close()
        for path in self.home.glob("ledger.db*"):
            path.unlink()
        self.start_again()
        for job in list(self.model):
            if self.model[job]["state"] in ENDED:
                del self.model[job]
            else:
                self.model[job].update(state="queued", wish="", attempt=0, failures=0)

    @rule(target=jobs, plan=st.integers(0, len(PLANS) - 1), owner=st.sampled_from("ab"))
    def submit(self, plan: int, owner: str) -> object:
        if sum(row["state"] not in ENDED for row in self.model.values()) < LIMIT:
            return self.submit_one(plan, owner)
        with pytest.raises(QueueFull):
            self.ledger.submit(PLANS[plan], owner=owner)
        return multiple()

    def submit_one(self, plan: int, owner: str) -> str:
        job = self.ledger.submit(PLANS[plan], owner=owner)
        self.model[job] = {"state": "queued", "wish": "", "attempt": 0, "failures": 0, "lease": 0.0, "plan": plan}
        return job

    @rule(target=claims, worker=st.sampled_from(["v", "w"]))
    def claim(self, worker: str) -> object:
        for row in self.model.values():
            if row["state"] == "running" and row["lease"] < self.now:  # type: ignore[operator]
                self.lose(row)
        claim = self.ledger.claim(worker)
        waiting = {job for job, row in self.model.items() if row["state"] == "queued"}
        if claim is None:
            assert not waiting
            return multiple()
        assert claim.id in waiting
        row = self.model[claim.id]
        row.update(state="running", attempt=int(row["attempt"]) + 1, lease=self.now + LEASE_SECONDS, worker=worker)  # type: ignore[call-overload]
        assert claim.attempt == row["attempt"]
        return claim

    @rule(claim=claims)
    def work(self, claim: Claim) -> None:
        row = self.row_of(claim)
        assert self.ledger.beat(claim) == (row["wish"] if row else "lost")
        if row:
            row["lease"] = self.now + LEASE_SECONDS
            name = STAGES[int(row["plan"])]  # type: ignore[call-overload]
            self.store.keep_stage(name, "png", name.encode())
            self.kept.add(name)

    @rule(claim=consumes(claims), how=st.sampled_from(["finish", "stop", "fail", "fail again"]))
    def end(self, claim: Claim, how: str) -> None:
        row = self.row_of(claim)
        if how == "finish":
            counts = self.ledger.finish(claim, [Path("x")])
        elif how == "stop":
            counts = self.ledger.stop(claim)
        else:
            counts = self.ledger.fail(claim, "reason", again=how == "fail again")
        assert counts == (row is not None)
        if row is None:
            return
        if how == "finish":
            row.update(state="done", wish="")
            self.done[claim.id] = self.done.get(claim.id, 0) + 1
        elif how == "stop":
            self.settle(row)
        elif how == "fail again":
            self.lose(row)
        else:
            row.update(state="failed", wish="", failures=int(row["failures"]) + 1)  # type: ignore[call-overload]

    @rule(worker=st.sampled_from(["v", "w"]))
    def a_worker_dies(self, worker: str) -> None:
        self.ledger.release(worker, "died")
        for row in self.model.values():
            if row["state"] == "running" and row["worker"] == worker:
                self.lose(row)

    @rule(seconds=st.sampled_from([1.0, LEASE_SECONDS * 0.6, LEASE_SECONDS * 1.5]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(job=jobs, what=st.sampled_from(["cancel", "pause", "resume", "retry"]))
    def ask(self, job: str, what: str) -> None:
        row = self.model.get(job, {})
        state, wish = row.get("state"), row.get("wish")
        if what == "retry" and sum(row["state"] not in ENDED for row in self.model.values()) >= LIMIT:
            return
        becomes = {
            "cancel": {"queued": "cancelled", "paused": "cancelled", "running": "running"},
            "pause": {"queued": "paused", **({"running": "running"} if wish != "cancel" else {})},
            "resume": {"paused": "queued", **({"running": "running"} if wish == "pause" else {})},
            "retry": dict.fromkeys(("failed", "cancelled", "quarantined"), "queued"),
        }[what].get(str(state))
        try:
            getattr(self.ledger, what)(job)
        except InvalidRequest:
            assert becomes is None
            return
        assert becomes is not None
        row.update(state=becomes, wish=what if becomes == "running" and what != "resume" else "")
        if what == "retry":
            row["failures"] = 0

    def evict(self) -> None:
        self.store.evict(lambda: needed_stages(self.home))
        needed = {STAGES[int(row["plan"])] for row in self.model.values() if row["state"] not in ENDED}  # type: ignore[call-overload]
        self.kept &= needed

    @invariant()
    def says_what_the_dictionary_says(self) -> None:
        told = {job.id: (job.state, job.wish, job.attempt, job.failures) for job in self.ledger.jobs()}
        meant = {job: (row["state"], row["wish"], row["attempt"], row["failures"]) for job, row in self.model.items()}
        assert told == meant
        assert {name for name in STAGES if self.store.find_stage(name, "png")} == self.kept
        assert all(count == 1 for count in self.done.values())

    def row_of(self, claim: Claim) -> dict[str, object] | None:
        row = self.model.get(claim.id)
        held = row and (row["state"], row["attempt"], row.get("worker")) == ("running", claim.attempt, claim.worker)
        return row if held else None

    def lose(self, row: dict[str, object]) -> None:
        row["failures"] = int(row["failures"]) + 1  # type: ignore[call-overload]
        if not row["wish"] and row["failures"] >= MAX_FAILURES:  # type: ignore[operator]
            row["state"] = "quarantined"
        else:
            self.settle(row)

    def settle(self, row: dict[str, object]) -> None:
        row.update(state={"": "queued", "cancel": "cancelled", "pause": "paused"}[str(row["wish"])], wish="")

    def teardown(self) -> None:
        self.ids.stop()
        self.ledger.close()
        shutil.rmtree(self.home)


Jobs.TestCase.settings = settings(
    max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
TestJobs = Jobs.TestCase
