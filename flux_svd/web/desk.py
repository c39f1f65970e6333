"""The one place of the web room that uses the Session: plans, runs, stops and counts. Pages and API ask here and nowhere else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from flux_svd import weights
from flux_svd.artifact import Artifact, VideoArtifact
from flux_svd.catalog import IMAGE_FAMILIES, MODELS, ModelSpec
from flux_svd.device import read_budget
from flux_svd.errors import Cancelled, DoesNotFit, InvalidRequest, ModelUnavailable
from flux_svd.memory import Budget
from flux_svd.plan import Plan
from flux_svd.progress import Progress
from flux_svd.request import ImageRequest, make_request
from flux_svd.web.owner import owner_of
from flux_svd.web.shelf import Shelf

if TYPE_CHECKING:
    from flux_svd.session import Session

Runner = Callable[[Plan], Iterator[Progress | Artifact]]


@dataclass(frozen=True)
class Visitor:
    """One open page: `tab` is Gradio's id of it, `owner` whose its jobs and results are ("" where there is no cookie)."""

    tab: str
    owner: str


def visitor_of(request: gr.Request) -> Visitor:
    return Visitor(request.session_hash or "", owner_of(request.cookies))


class Desk:
    """Plans and runs for all visitors. `on_device` wraps the function that runs (a Space lends its GPU that way)."""

    def __init__(self, session: Session, shelf: Shelf, on_device: Callable[[Runner], Runner] | None = None) -> None:
        self.session, self.shelf = session, shelf
        self._run_lent = on_device(_runner(session)) if on_device else None
        self._stoppers: dict[str, set[_Stopper]] = {}
        self._lock = threading.Lock()
        self._running = 0

    def plan(self, fields: Mapping[str, Any]) -> Plan:
        """Return the plan for these request fields.

        Raises:
            InvalidRequest, ModelUnavailable, DoesNotFit: as they say.
        """
        return self.session.plan(make_request(fields))

    def run(self, plan: Plan, visitor: Visitor) -> Iterator[Progress | Artifact]:
        """Yield where the plan stands, at least once a second, and each result as it is done; closing it stops the work.

        Several pictures are several turns on the device: others who wait come in between.

        Raises:
            Cancelled: `stop` was called for this visitor's tab.
        """
        stopper = _Stopper()
        with self._counted(visitor.tab, stopper):
            for index, recipe in enumerate(plan.recipes):
                for item in self._run_one(replace(plan, recipes=(recipe,)), stopper):
                    if isinstance(item, Progress) and len(plan.recipes) > 1 and item.phase != "wait":
                        left = item.seconds_left
                        if left is not None and plan.seconds is not None:
                            left += plan.seconds * (1 - (index + 1) / len(plan.recipes))
                        item = replace(item, item=index + 1, items=len(plan.recipes), seconds_left=left)
                    yield item

    def _run_one(self, plan: Plan, stopper: _Stopper) -> Iterator[Progress | Artifact]:
        lent = self._run_lent is not None
        # A lent device works in a process of its own, which the event does not reach; closing the generator does.
        items = self._run_lent(plan) if self._run_lent is not None else self.session.stream(plan, stopper.next_event())
        try:
            for item in items:
                if lent and stopper.stopped:
                    raise Cancelled("stopped; finished parts are kept")
                yield item
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    def stop(self, visitor: Visitor) -> None:
        """Stop whatever this tab has started; it ends within a step."""
        with self._lock:
            for stopper in self._stoppers.get(visitor.tab, ()):
                stopper.stop()

    def address(self, path: Path, visitor: Visitor) -> str:
        return self.shelf.put(path, visitor.owner)

    def addresses(self, film: VideoArtifact, visitor: Visitor) -> list[str]:
        return [self.address(path, visitor) for path in film.keyframes]

    def keep_picture(self, source: Path | bytes) -> str:
        """Return the id of a given picture, made safe.

        Raises:
            UnreadableFile: it cannot be used.
        """
        return self.session.store.keep_picture(source, field="references")

    def has_picture(self, picture_id: str) -> bool:
        try:
            return self.session.store.picture(picture_id).is_file()
        except InvalidRequest:
            return False

    def score(self, path: str, text: str) -> dict[str, Any]:
        """Return how well a given picture or film matches a text.

        Raises:
            UnreadableFile: it is no picture and no film.
        """
        return self.session.score(Path(path), text)

    def is_warm(self) -> bool:
        return bool(self.session.warm_models())

    def queue_words(self) -> str:
        """Return "idle", "1 at work" or "3 in queue"."""
        with self._lock:
            return "idle" if not self._running else "1 at work" if self._running == 1 else f"{self._running} in queue"

    def budget(self) -> Budget:
        return read_budget(self.session.store.home)

    def image_models(self) -> tuple[list[ModelSpec], list[tuple[ModelSpec, str]]]:
        """Return the image models that can be used here now, and the others with the command that makes them ready."""
        inventory = weights.read_inventory(self.session.store.home)
        ready: list[ModelSpec] = []
        others: list[tuple[ModelSpec, str]] = []
        for spec in (row for row in MODELS.values() if row.family in IMAGE_FAMILIES):
            if spec.name not in inventory.on_disk:
                others.append((spec, f"flux-svd models download {spec.name}"))
            elif not inventory.has(spec):
                others.append((spec, f"flux-svd models accept {spec.name}"))
            else:
                ready.append(spec)
        return ready, others

    def resolve(self, name: str) -> ModelSpec:
        """Return the model of this name; for "auto" the one a plan would take here now."""
        if name in MODELS:
            return MODELS[name]
        try:
            return MODELS[self.session.plan(ImageRequest(prompt="a picture")).model]
        except (ModelUnavailable, DoesNotFit):
            return MODELS["pocket-flux"]

    @contextmanager
    def _counted(self, tab: str, stopper: _Stopper) -> Iterator[None]:
        with self._lock:
            self._running += 1
            self._stoppers.setdefault(tab, set()).add(stopper)
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                self._stoppers[tab].discard(stopper)
                if not self._stoppers[tab]:
                    del self._stoppers[tab]


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


def _runner(session: Session) -> Runner:
    def run(plan: Plan) -> Iterator[Progress | Artifact]:
        yield from session.stream(plan)

    return run
