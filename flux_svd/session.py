"""One device and its warm engines; one verb, `run(plan)`. Asks the store before it computes a stage.

Importing this module loads no engine; torch comes with the first stage that has to be computed.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
import logging
import queue
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from PIL import Image

from flux_svd import device, files, ledger, library, weights
from flux_svd.artifact import Artifact, JobTag
from flux_svd.catalog import MODELS
from flux_svd.clock import Clock
from flux_svd.encode import iterate_film
from flux_svd.engines.warm import WarmEngines
from flux_svd.errors import Cancelled, DiskFull, DoesNotFit, EncodingFailed, FluxSvdError, UnreadableFile
from flux_svd.judging import thinning
from flux_svd.lock import DeviceLock
from flux_svd.memory import Budget
from flux_svd.metrics.film import FilmReport
from flux_svd.pictures import read_picture
from flux_svd.placing import LEVERS, levers_of
from flux_svd.plan import Plan, disk_bytes, stage_names
from flux_svd.planner import make_plan
from flux_svd.progress import Progress
from flux_svd.recipe import ImageRecipe, any_recipe_from_json, fingerprint
from flux_svd.report import report_film
from flux_svd.request import ImageRequest, Request
from flux_svd.run import OnProgress, Run
from flux_svd.store import Store

_LOG = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 0.5  # Gradio drops a generator that is silent for long; a watcher wants life signs


class Session:
    """A device, a store and engines that stay warm between runs. Safe to share between threads: runs take turns.

    Args:
        home: the data folder; None is the platform's own place for user data.
        output_dir: where results are written, in a folder a day; None is ./outputs.
        vram_bytes: use at most this much of the GPU.
        untried: plans may pull levers that have no recorded run on this device.
        owner: who runs here, in words that others read while they wait for the device.
        device_number: which of several equal devices; sessions of one number take turns, across processes.
        store: where stages are kept; None is the data folder.
    """

    def __init__(
        self, *, home: Path | str | None = None, output_dir: Path | str | None = None, vram_bytes: int | None = None,
        owner: str = "a script", device_number: int = 0, store: Store | None = None, untried: bool = False,
    ) -> None:
        self.home = home_of(home)
        self.output_dir = Path(output_dir or "outputs").expanduser()
        self.store = store or Store(self.home)
        self.owner, self.device_number = owner, device_number
        self._vram_bytes, self._untried = vram_bytes, untried
        self._held = ExitStack()
        self._reconciled = False
        self._engines = WarmEngines(self.home)
        self._turns = _Turns()

    def plan(self, request: Request, *, considering: bool = False) -> Plan:
        """Return the plan for `request` on this machine, with the predicted seconds where steps have been timed here.

        Args:
            considering: the plan is only looked at, so models that are named need not be on disk; `run` refuses it then.

        Raises:
            InvalidRequest, ModelUnavailable, DoesNotFit: as `flux_svd.planner.make_plan`.
        """
        for picture in request.references:
            self.store.picture(picture)
        if isinstance(request, ImageRequest) and request.start is not None:
            self.store.picture(request.start, field="start")
        for index, wish in enumerate(getattr(request, "stages", None) or ()):
            if wish.picture is not None:
                self.store.picture(wish.picture, field=f"stages.{index}.picture")
        if request.model_file is not None:
            weights.find_model_file(request.model_file, self.home)
        if request.text_encoder is not None:
            weights.find_model_file(request.text_encoder, self.home, field="text_encoder")
        budget = self.budget()
        if self._untried:
            budget = dataclasses.replace(budget, tried=LEVERS)
        locked, inventory = self._locked(request), weights.read_inventory(self.home)
        inventory = dataclasses.replace(inventory, considering=considering)
        plan = make_plan(request, budget, inventory, random.SystemRandom(), locked)
        return dataclasses.replace(plan, seconds=Clock(self.store, plan).predict())

    def budget(self) -> Budget:
        """Return what this machine offers now, of the GPU no more than this session may use."""
        return device.read_budget(self.home, vram_bytes=self._vram_bytes)

    def run(
        self, plan: Plan, on_progress: OnProgress | None = None, cancelled: threading.Event | None = None,
        job: JobTag | None = None, on_made: Callable[[Artifact], None] | None = None,
    ) -> tuple[Artifact, ...]:
        """Carry out `plan` and return what it made, in the order of its recipes; every result is verified and saved.

        `on_made` hears of each result as soon as it is there.

        Raises:
            Cancelled: `cancelled` was set; finished stages are kept and found again.
            DiskFull: there is no room for what the plan makes; finished stages are kept.
            ModelUnavailable, OutOfMemory, BadOutput, EncodingFailed: as the engines and the encoder say.
        """
        report, stop = on_progress or (lambda progress: None), cancelled or threading.Event()
        outputs = Path(job.outputs) if job and job.outputs else self.output_dir
        lock = DeviceLock(self.home, f"{plan.placements[0].device}-{self.device_number}", self.owner)
        with (
            self._turns.take(report, stop), lock.held(lambda note: report(Progress("wait", 1, note=note)), stop),
            self._telling_what_is_held(),
        ):  # fmt: skip
            here = _refuse_foreign_device(plan, self.home)
            self._make_room(plan, outputs)
            with self.store.pinned(stage_names(plan)):
                run = Run(self.store, self._engines, outputs, plan, report, stop, job)
                made: list[Artifact] = []
                for recipe in plan.recipes:
                    with self._telling_what_is_missing(plan, outputs):
                        made.append(run.make(recipe))
                    if on_made is not None:
                        on_made(made[-1])
            self._tidy_up(run.plan, here, outputs)
            return tuple(made)

    def stream(
        self, plan: Plan, cancelled: threading.Event | None = None, job: JobTag | None = None
    ) -> Iterator[Progress | Artifact]:
        """Yield progress while `plan` runs in a thread, at least every half second, then its artifacts.

        Closing the generator, or setting `cancelled`, stops the run within a step.

        Raises:
            as `run`.
        """
        stop = cancelled or threading.Event()
        events: queue.SimpleQueue[Progress | tuple[Artifact, ...] | BaseException] = queue.SimpleQueue()

        def work() -> None:
            try:
                events.put(self.run(plan, events.put, stop, job))
            except BaseException as error:
                events.put(error)

        thread = threading.Thread(target=work, name="flux-svd-run", daemon=True)
        thread.start()
        last = Progress("load")
        try:
            while True:
                try:
                    event = events.get(timeout=HEARTBEAT_SECONDS)
                except queue.Empty:
                    event = dataclasses.replace(last, preview=None, strip=None)
                if isinstance(event, BaseException):
                    raise event
                if isinstance(event, tuple):
                    yield from event
                    return
                last = event
                yield event
        finally:
            stop.set()
            thread.join()

    def score(self, path: Path | str, text: str) -> dict[str, Any]:
        """Return how well a picture or film file matches `text`: scorer, clip_cosine (of a film: the mean over its frames).

        Raises:
            UnreadableFile: the file is no picture and no film.
        """
        pictures = _pictures_in(Path(path))
        scorer = self._scorer()
        cosines = self._engines.scorer(scorer).cosine(pictures, [text] * len(pictures))
        return {"scorer": scorer, "clip_cosine": round(float(np.mean(cosines)), 4), "frames": len(pictures)}

    def report(self, path: Path | str) -> FilmReport:
        """Return numbers about a film this program made, and what they say: see `flux_svd.metrics.film`.

        Raises:
            UnreadableFile: the file is no film of this program, or does not decode.
        """

        def likeness(pictures: Sequence[Image.Image]) -> list[list[float]]:  # the scorer loads when the file has been looked at
            told: list[list[float]] = self._engines.scorer(self._scorer()).likeness(pictures)
            return told

        return report_film(Path(path), self.store, likeness)

    def _locked(self, request: Request) -> dict[str, ImageRecipe]:
        """Return the recipes of locked keyframes that are here, by fingerprint."""
        found = {}
        for name in {wish.lock for wish in getattr(request, "stages", None) or () if wish.lock is not None}:
            kept = self.store.find_stage(name, "png")
            recipe = any_recipe_from_json(json.dumps(kept.facts["recipe"])) if kept and "recipe" in kept.facts else None
            if isinstance(recipe, ImageRecipe) and fingerprint(recipe) == name:
                found[name] = recipe
        return found

    def _scorer(self) -> str:
        return "clip-vit-b-32" if weights.read_inventory(self.home).has(MODELS["clip-vit-b-32"]) else "pocket-clip"

    def unload(self) -> None:
        """Release all warm engines and the memory they hold."""
        with self._telling_what_is_held():
            self._engines.unload()

    @contextmanager
    def _telling_what_is_held(self) -> Iterator[None]:
        """Tell other processes, and later plans of this one, what the warm engines hold after the block."""
        try:
            yield
        finally:
            self._held.close()
            amounts = self._engines.held_bytes()
            if any(amounts):
                self._held.enter_context(device.held(self.home, *amounts))

    @contextmanager
    def _telling_what_is_missing(self, plan: Plan, outputs: Path) -> Iterator[None]:
        """Where the disk is full in the middle, say what the plan takes to go on instead of what one file would have taken."""
        try:
            yield
        except DiskFull:
            self._make_room(plan, outputs)
            raise

    def _make_room(self, plan: Plan, outputs: Path) -> None:
        """Clean up once after processes that died, and refuse a plan for which the disk is too small.

        Raises:
            DiskFull: it says how much is missing.
        """
        if not self._reconciled:
            self.store.reconcile()
            files.remove_leftovers(outputs)
            self._reconciled = True
        for place in (self.home, outputs.absolute()):
            files.make_folder(place)
            files.need_room(place, disk_bytes(plan))

    def _tidy_up(self, plan: Plan, here: str, outputs: Path) -> None:
        """Note what has run and make room for later stages; what was made is there, so a failure of this is only told."""
        try:
            device.record_levers(self.home, here, (lever for row in plan.placements for lever in levers_of(row)))
            self.store.evict(lambda: ledger.needed_stages(self.home) | library.needed_stages(outputs, self.home))
        except FluxSvdError as error:
            _LOG.warning("after a finished run: %s", error)

    def warm_models(self) -> tuple[str, ...]:
        return self._engines.models()


class _Turns:
    """First come, first served: one run at a time on the device."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: collections.deque[object] = collections.deque()

    @contextmanager
    def take(self, report: OnProgress, stop: threading.Event) -> Iterator[None]:
        ticket, told = object(), -1
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket:
                    ahead = self._waiting.index(ticket)
                    if ahead != told:
                        report(Progress("wait", item=ahead))
                        told = ahead
                    self._changed.wait(0.2)
                    if stop.is_set():
                        raise Cancelled("stopped while waiting")
            except BaseException:
                self._leave(ticket)
                raise
        try:
            yield
        finally:
            with self._changed:
                self._leave(ticket)

    def _leave(self, ticket: object) -> None:
        self._waiting.remove(ticket)
        self._changed.notify_all()


def home_of(given: Path | str | None) -> Path:
    """Return the data folder: the given one, or where none is given the platform's own for this user's data of the program."""
    return Path(given).expanduser() if given else Path(platformdirs.user_data_dir("flux_svd", appauthor=False))


def _refuse_foreign_device(plan: Plan, home: Path) -> str:
    """Return the name of the device here, if the plan is for it or for the processor."""
    here, planned = device.read_budget(home), plan.placements[0].device
    if planned not in (here.device, "cpu"):
        raise DoesNotFit(f"the plan is for {planned}, and this machine runs on {here.device}; plan again without --vram")
    return here.device_name


def _pictures_in(path: Path) -> list[Image.Image]:
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise UnreadableFile("file", str(path), f"a picture or film that can be read ({error.strerror})") from None
    if head[4:8] != b"ftyp":
        return [read_picture(path, field="file")]
    try:
        every = thinning(sum(1 for _ in iterate_film(path)))  # decoded twice, so that few frames are held at once
        return [Image.fromarray(frame) for frame in itertools.islice(iterate_film(path), 0, None, every)]
    except EncodingFailed as error:
        raise UnreadableFile("file", str(path), f"a film that decodes ({error})") from None
