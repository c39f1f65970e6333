"""Claims jobs from the ledger and carries them out one by one, with signs of life; a supervisor starts it anew if it dies."""

from __future__ import annotations

import logging
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from flux_svd import files
from flux_svd.artifact import Artifact, VideoArtifact
from flux_svd.device import environment_for
from flux_svd.errors import BadOutput, Cancelled, DiskFull, FluxSvdError, OutOfMemory, StorageFailed
from flux_svd.job import Claim
from flux_svd.ledger import LEASE_SECONDS, Ledger
from flux_svd.library import Library
from flux_svd.progress import Progress
from flux_svd.session import Session

_LOG = logging.getLogger(__name__)
BEAT_SECONDS = 1.0  # a cancel is seen within this time and a step
_FREE = "free.json"  # in the data folder: when memory was last asked for
IDLE_SECONDS = 0.5
PATIENCE_SECONDS = 10.0  # how long a step may go on after a cancel before the process ends itself
STALL_FACTOR = 5  # no step for this many medians is worth telling …
STALL_SECONDS = 10.0  # … but not before this
SILENT_PHASE_SECONDS = 600.0  # loading 24 GB from a slow disk at 50 MB/s takes 8 minutes
GRACE_SECONDS = 15.0
LOOK_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 60.0
STUCK_EXIT = 75  # EX_TEMPFAIL of sysexits.h


class Worker:
    """Carries out jobs of one ledger on the device of one session.

    Args:
        name: by which the ledger and its supervisor know it; no two living workers have the same.
        beat_seconds: between two signs of life.
    """

    def __init__(self, ledger: Ledger, session: Session, *, name: str, beat_seconds: float = BEAT_SECONDS) -> None:
        self.ledger, self.session = ledger, session
        self.name, self.beat_seconds = name, beat_seconds
        self._libraries: dict[Path, Library] = {}
        self._freed = _asked_to_free(ledger.home)

    def run_forever(self, stop: threading.Event, *, until_empty: bool = False) -> None:
        """Carry out jobs until `stop` is set, the process that started this one is gone, or (if asked) none waits."""
        parent = os.getppid()
        self.session.store.reconcile()
        while not stop.is_set() and os.getppid() == parent:
            if not self.run_next(stop, parent):
                if until_empty:
                    return
                if _asked_to_free(self.ledger.home) > self._freed:
                    self._freed = _asked_to_free(self.ledger.home)
                    self.session.unload()
                stop.wait(IDLE_SECONDS)

    def run_next(self, stop: threading.Event, parent: int | None = None) -> bool:
        """Carry out the next job, if there is one, and return whether there was.

        What goes wrong ends the job or its attempt, and is told in the ledger. A bug or a lost device is raised too: the
        process should end, and its supervisor starts another.
        """
        claim = self.ledger.claim(self.name, self.session.warm_models())
        if claim is None:
            return False
        with _Pulse(self, claim, stop, parent) as pulse:
            paths: list[Path] = []
            outputs = Path(claim.tag.outputs) if claim.tag.outputs else self.session.output_dir

            def take_in(made: Artifact) -> None:
                new = [*made.candidates, *(made.keyframes if isinstance(made, VideoArtifact) else ()), made.path]
                for path in new:
                    self.library(outputs).add(path)
                paths.extend(new)
                self.ledger.note_results(claim, paths)

            try:
                self.session.run(claim.plan, pulse.hear, pulse.stop, claim.tag, take_in)
                self.ledger.finish(claim, paths)
            except Cancelled:
                self.ledger.stop(claim)
            except DiskFull as error:
                self._set_aside(claim, str(error), pulse.stop)
            except StorageFailed as error:  # busy for long, or a stage is gone: all that is finished is found by the next attempt
                self.ledger.fail(claim, str(error), again=True)
            except FluxSvdError as error:
                if isinstance(error, BadOutput):
                    self.ledger.count("bad output")
                if isinstance(error.__context__, OutOfMemory) or isinstance(error, OutOfMemory):  # on the last rung there is
                    self.ledger.count("out of memory")
                self.ledger.fail(claim, str(error), again=False)
            except Exception as error:
                self.ledger.fail(claim, f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}", again=True)
                raise
        return True

    def _set_aside(self, claim: Claim, reason: str, stop: threading.Event) -> None:
        """Note that the job waits for room on the disk; while there is not even room for that, wait here."""
        while True:
            with suppress(DiskFull):
                self.ledger.pause_for(claim, reason)
                return
            if stop.wait(LOOK_SECONDS):
                return

    def library(self, outputs: Path) -> Library:
        """Return the library of an output folder, opened once."""
        if outputs not in self._libraries:
            self._libraries[outputs] = Library(outputs, self.session.home)
        return self._libraries[outputs]


def ask_to_free(home: Path) -> None:
    """Ask every worker of this data folder to let go of its models as soon as it has nothing to do."""
    files.write_json(home / _FREE, {"asked": time.time()})


def _asked_to_free(home: Path) -> float:
    """Return when that was last asked, in seconds since 1970."""
    asked = files.read_json(home / _FREE).get("asked", 0.0)
    return float(asked) if isinstance(asked, int | float) else 0.0


class Watchdog:
    """Knows how long steps take and says when one takes far too long."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last = now()
        self._where: tuple[str, int] | None = None
        self._steps: list[float] = []

    def hear(self, progress: Progress) -> None:
        """Take note of a sign of progress."""
        now, where = self._now(), (progress.phase, progress.item)
        if where != self._where:
            self._steps = self._steps if self._where and self._where[0] == progress.phase else []
        elif progress.step:
            self._steps.append(now - self._last)
        self._where, self._last = where, now

    def silent_seconds(self) -> float:
        return self._now() - self._last

    def complaint(self) -> str:
        """Return what is wrong in one sentence, or ""."""
        silent = self.silent_seconds()
        if len(self._steps) < 3:
            return f"no sign of progress for {silent / 60:.0f} minutes" if silent > SILENT_PHASE_SECONDS else ""
        median = statistics.median(self._steps)
        if silent <= max(STALL_FACTOR * median, STALL_SECONDS):
            return ""
        return f"no step for {silent:.0f} s; one takes {median:.2g} s as a rule"


class _Pulse:
    """The signs of life of one attempt, from a thread of its own; sets `stop` when the job should end."""

    def __init__(self, worker: Worker, claim: Claim, asked: threading.Event, parent: int | None) -> None:
        self.stop = threading.Event()
        self._worker, self._claim, self._asked, self._parent = worker, claim, asked, parent
        self._preview = worker.ledger.home / "previews" / f"{claim.id}.webp"
        self._watchdog, self._progress = Watchdog(), Progress("wait")
        self._ended = threading.Event()
        self._shown = 0.0
        self._thread = threading.Thread(target=self._beat, name="flux-svd-pulse", daemon=True)

    def hear(self, progress: Progress) -> None:
        self._watchdog.hear(progress)
        self._progress = progress
        if progress.lowered:
            self._worker.ledger.count("out of memory")
            self._worker.ledger.count("out of memory, mended")
        if progress.preview and time.monotonic() - self._shown >= 1.0:
            self._shown = time.monotonic()
            files.write_atomically(self._preview, progress.preview)

    def __enter__(self) -> _Pulse:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        self._preview.unlink(missing_ok=True)

    def _beat(self) -> None:
        stopped_at: float | None = None
        while not self._ended.wait(self._worker.beat_seconds):
            note = self._progress.note or self._watchdog.complaint()
            try:
                wish = self._worker.ledger.beat(self._claim, replace(self._progress, note=note))
            except StorageFailed:
                wish = ""  # the lease outlives several of these
            orphaned = self._parent is not None and os.getppid() != self._parent
            if wish or orphaned or self._asked.is_set():
                self.stop.set()
                stopped_at = stopped_at or time.monotonic()
            if stopped_at and min(time.monotonic() - stopped_at, self._watchdog.silent_seconds()) > PATIENCE_SECONDS:
                with suppress(StorageFailed):  # its supervisor takes the job back
                    self._worker.ledger.stop(self._claim)
                os._exit(STUCK_EXIT)  # the step hangs: nothing in this process can end it


def keep_worker(
    ledger: Ledger, stop: threading.Event, *, number: int = 0, outputs: Path | None = None, until_empty: bool = False,
    patient: bool = False,
) -> None:
    """Keep a worker process for the device `number` at work until `stop` is set, or (if asked) no job waits.

    Args:
        outputs: where results of jobs that name no place go; None is ./outputs.
        patient: where another supervisor has this device, wait to take over from it.

    Raises:
        InvalidRequest: there is no such device.
        StorageFailed: another supervisor has this device.
    """
    name = f"worker-{number}"
    command = [sys.executable, "-m", "flux_svd", "worker", "--alone", name, "--device", str(number)]
    command += ["--output", str(outputs)] if outputs else []
    command += ["--until-empty"] if until_empty else []
    environment = {**os.environ, **environment_for(number), "FLUX_SVD_HOME": str(ledger.home)}
    files.make_folder(ledger.home / "locks")
    lock = FileLock(ledger.home / "locks" / f"{name}.lock", blocking=False, thread_local=False)
    while not stop.is_set():
        try:
            with lock:
                _take_back(ledger, name, "the machine or its worker was stopped")  # of this name nothing else lives
                supervise(command, ledger, name, stop, environment=environment)
                return
        except Timeout:
            if not patient:
                raise StorageFailed(f"a worker for device {number} runs already; --device names another") from None
            stop.wait(LOOK_SECONDS)


def supervise(
    command: Sequence[str], ledger: Ledger, worker: str, stop: threading.Event, *, first_wait_seconds: float = 1.0,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Keep `command`, a worker of this name, running until it ends by itself with 0 or `stop` is set.

    A worker that dies loses its job to the next attempt at once; one that gives no sign of life for a lease is killed, or after
    `PATIENCE_SECONDS` where its job was cancelled. Between two starts the wait doubles, and begins anew after a worker that
    lived for longer than the longest wait.
    """
    wait = first_wait_seconds
    while not stop.is_set():
        began = time.monotonic()
        # In a session of its own: Ctrl-C in a terminal reaches the supervisor alone, which asks once.
        child = subprocess.Popen(command, start_new_session=True, env=environment)
        try:
            code = _watch(child, ledger, worker, stop)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        if code != 0:
            _take_back(ledger, worker, _words(code))
        if code == 0 or stop.is_set():
            return
        wait = first_wait_seconds if time.monotonic() - began > LONGEST_WAIT_SECONDS else wait
        stop.wait(wait)
        wait = min(2 * wait, LONGEST_WAIT_SECONDS)


def _watch(child: subprocess.Popen[bytes], ledger: Ledger, worker: str, stop: threading.Event) -> int:
    looked = time.monotonic()
    asked: dict[str, float] = {}  # since when something has been asked of a job
    while child.poll() is None:
        if stop.wait(0.1):
            child.terminate()
            try:
                return child.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                return child.wait()
        if time.monotonic() - looked > LOOK_SECONDS:
            looked = time.monotonic()
            try:
                mine = [job for job in ledger.jobs(states=["running"]) if job.worker == worker]
            except StorageFailed as error:
                _LOG.warning("the worker is not watched for now: %s", error)
                continue
            asked = {job.id: asked.get(job.id, looked) for job in mine if job.wish}
            for job in mine:
                silent = time.time() - (job.heartbeat or 0)
                if silent > LEASE_SECONDS or (job.wish and min(silent, looked - asked[job.id]) > PATIENCE_SECONDS):
                    child.kill()
    return child.wait()


def _take_back(ledger: Ledger, worker: str, reason: str) -> None:
    try:
        ledger.release(worker, reason)
    except StorageFailed as error:
        _LOG.warning("a job is taken back only when its lease has run out: %s", error)


def _words(code: int) -> str:
    return f"the worker was ended by signal {-code}" if code < 0 else f"the worker ended with exit code {code}"
