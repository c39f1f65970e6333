"""Work that lives with the page that watches it: in Colab and in a Space, where no worker may run beside the web process."""

from __future__ import annotations

import datetime
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import anyio

from flux_svd.artifact import Artifact, JobTag
from flux_svd.errors import Cancelled, InvalidRequest
from flux_svd.plan import Plan
from flux_svd.progress import Progress

if TYPE_CHECKING:
    from flux_svd.session import Session

Runner = Callable[[Plan, JobTag], Iterator[Progress | Artifact]]
T = TypeVar("T")

_KEPT = 1000  # plans that were started and are not watched yet; the oldest go first
_THREADS = 64  # each watcher holds one while it waits


class Streamed:
    """Runs each plan while somebody watches it; who stops watching ends it.

    Args:
        on_device: wraps the function that runs (a Space lends its GPU that way).
    """

    lasting = False

    def __init__(self, session: Session, on_device: Callable[[Runner], Runner] | None = None) -> None:
        self._session = session
        self._run_lent = on_device(_runner(session)) if on_device else None
        self._waiting: OrderedDict[str, tuple[str, Plan, _Stopper]] = OrderedDict()
        self._stoppers: dict[str, tuple[str, _Stopper]] = {}
        self._lock = threading.Lock()
        self._limiter: anyio.CapacityLimiter | None = None

    def start(self, plan: Plan, owner: str) -> str:
        """Return the id to watch the plan by; it begins when it is watched."""
        job_id = secrets.token_hex(8)
        stopper = _Stopper()
        with self._lock:
            self._waiting[job_id] = (owner, plan, stopper)
            self._stoppers[job_id] = (owner, stopper)
            while len(self._waiting) > _KEPT:
                self._stoppers.pop(self._waiting.popitem(last=False)[0], None)
        return job_id

    def plan_of(self, job_id: str, owner: str) -> Plan | None:
        """Return the plan that was started under this id by this owner and is not watched yet, or None."""
        known, plan, _ = self._waiting.get(job_id, (None, None, None))
        return plan if known == owner else None

    async def watch(self, job_id: str, owner: str) -> AsyncGenerator[Progress | Artifact, None]:
        """Run the plan and yield where it stands, at least once a second, and each result as it is done.

        Raises:
            InvalidRequest: it was watched before, or is not this owner's.
            Cancelled: `stop` was called.
        """
        with self._lock:
            if self._waiting.get(job_id, (None,))[0] != owner:
                raise InvalidRequest("job", job_id, "work that has not begun; here it ends with the page that watches it")
            _, plan, stopper = self._waiting.pop(job_id)
        self._limiter = self._limiter or anyio.CapacityLimiter(_THREADS)
        try:
            day = datetime.date.today().isoformat()
            for index, recipe in enumerate(plan.recipes):  # several turns on the device: others who wait come in between
                tag = JobTag(f"{job_id}-{index + 1}" if len(plan.recipes) > 1 else job_id, day, owner)
                async for item in self._run_one(replace(plan, recipes=(recipe,)), tag, stopper, self._limiter):
                    yield _as_one_of(item, index, plan) if isinstance(item, Progress) else item
        finally:
            with self._lock:
                self._stoppers.pop(job_id, None)

    def stop(self, job_id: str, owner: str) -> None:
        """Stop the work; it ends within a step."""
        with self._lock:
            known, stopper = self._stoppers.get(job_id, (None, None))
        if stopper is not None and known == owner:
            stopper.stop()

    def queue_words(self) -> str:
        """Return "idle", "1 at work" or "3 in queue"."""
        with self._lock:
            running = len(self._stoppers) - len(self._waiting)
        return "idle" if not running else "1 at work" if running == 1 else f"{running} in queue"

    def warm_models(self) -> tuple[str, ...]:
        return self._session.warm_models()

    async def _run_one(
        self, plan: Plan, tag: JobTag, stopper: _Stopper, limiter: anyio.CapacityLimiter
    ) -> AsyncGenerator[Progress | Artifact, None]:
        lent = self._run_lent is not None
        # A lent device works in a process of its own, which the event does not reach; closing the generator does.
        stop = stopper.next_event()
        items = self._run_lent(plan, tag) if self._run_lent is not None else self._session.stream(plan, stop, tag)
        try:
            while (item := await anyio.to_thread.run_sync(next, items, None, limiter=limiter)) is not None:
                if lent and stopper.stopped:
                    raise Cancelled("stopped; finished parts are kept")
                yield item
        finally:
            stop.set()
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_close, items, limiter=limiter)


class _Stopper:
    """One stop for the several runs of a plan; each run gets an event of its own, since its end sets it."""

    def __init__(self) -> None:
        self.stopped = False
        self._event = threading.Event()

    def next_event(self) -> threading.Event:
        self._event = event = threading.Event()
        if self.stopped:
            event.set()
        return event

    def stop(self) -> None:
        self.stopped = True
        self._event.set()


def _as_one_of(progress: Progress, index: int, plan: Plan) -> Progress:
    """Return the progress of one picture as that of several."""
    many = len(plan.recipes)
    if many == 1 or progress.phase == "wait":
        return progress
    left = progress.seconds_left
    if left is not None and plan.seconds is not None:
        left += plan.seconds * (1 - (index + 1) / many)
    return replace(progress, item=index + 1, items=many, seconds_left=left)


def _close(items: Iterator[T]) -> None:
    """Close a generator, waiting where another thread is still in it."""
    close = getattr(items, "close", None)
    while close is not None:
        try:
            close()
            return
        except ValueError:  # "generator already executing": whoever watched was cancelled in the middle of a step
            time.sleep(0.05)


def _runner(session: Session) -> Runner:
    def run(plan: Plan, tag: JobTag) -> Iterator[Progress | Artifact]:
        yield from session.stream(plan, job=tag)

    return run
