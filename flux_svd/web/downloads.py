"""Downloads of models, one process each: it alone sees the token, can be stopped, and goes on where it was. Knows no page.

How far it is shows in the cache's size, so that a download begun on the command line is told as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flux_svd import weights
from flux_svd.catalog import ModelSpec
from flux_svd.errors import Cancelled
from flux_svd.redact import redact

_RATE_SECONDS = 10.0  # over which the rate is taken

Command = Callable[[ModelSpec], list[str]]


@dataclass(frozen=True)
class Download:
    """How far a download is.

    Attributes:
        bytes: on the disk, of `total` (by the parameters of the model, so about).
        rate: bytes a second lately; 0.0 where not known.
        problem: why the last one ended before its end, or "".
    """

    running: bool
    bytes: int
    total: int
    rate: float
    problem: str

    @property
    def seconds_left(self) -> float | None:
        return (self.total - self.bytes) / self.rate if self.running and self.rate > 0 and self.total > self.bytes else None


class Downloads:
    """All downloads of this server."""

    def __init__(self, home: Path, command: Command | None = None, *, now: Callable[[], float] = time.monotonic) -> None:
        self._home, self._now = home, now
        self._command = command or (lambda spec: [sys.executable, "-m", "flux_svd", "models", "download", spec.name, "--json"])
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._problems: dict[str, str] = {}
        self._marks: dict[str, deque[tuple[float, int]]] = {}
        self._lock = threading.Lock()

    def start(self, spec: ModelSpec) -> None:
        """Begin, or go on; one that runs already is left alone."""
        with self._lock:
            if spec.name in self._running:
                return
            self._problems.pop(spec.name, None)
            self._marks[spec.name] = deque(maxlen=64)
            process = subprocess.Popen(
                self._command(spec), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            self._running[spec.name] = process
        threading.Thread(target=self._wait, args=(spec.name, process), daemon=True, name=f"download {spec.name}").start()

    def stop(self, spec: ModelSpec) -> None:
        """End it; what arrived is kept."""
        with self._lock:
            process = self._running.get(spec.name)
        if process is not None:
            process.terminate()

    def look(self, spec: ModelSpec) -> Download:
        """Return how far the download of `spec` is."""
        there = weights.downloaded_bytes(spec)
        with self._lock:
            running, problem = spec.name in self._running, self._problems.get(spec.name, "")
            rate = self._rate(spec.name, there) if running else 0.0
        return Download(running, there, max(spec.bytes_at("bf16"), there), rate, problem)

    def _rate(self, name: str, there: int) -> float:
        marks, now = self._marks[name], self._now()
        marks.append((now, there))
        while len(marks) > 2 and now - marks[0][0] > _RATE_SECONDS:
            marks.popleft()
        (since, before) = marks[0]
        return (there - before) / (now - since) if now > since else 0.0

    def _wait(self, name: str, process: subprocess.Popen[str]) -> None:
        said = process.communicate()[0]
        with self._lock:
            del self._running[name]
            if process.returncode > 0 and process.returncode != Cancelled.exit_code:  # below 0 and 130 it was stopped
                self._problems[name] = redact(_error_of(said))


def _error_of(said: str) -> str:
    try:
        told: Any = json.loads(said.splitlines()[-1])
        return str(told["error"])
    except (ValueError, KeyError, IndexError, TypeError):
        return "The download ended by a mistake; run it on the command line to see which."
