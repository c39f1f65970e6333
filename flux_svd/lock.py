"""One owner for each device, across processes: command line, app and worker meet here and say who waits for whom."""

from __future__ import annotations

import datetime
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from flux_svd import files
from flux_svd.errors import Cancelled

POLL_SECONDS = 0.2


class DeviceLock:
    """The right to compute on one device. It ends with the process, however that ends.

    Args:
        home: the data folder all that share the device have in common.
        device: as the plan names it, with its number: "cuda-0".
        owner: who asks, in words others will read: "the app".
    """

    def __init__(self, home: Path, device: str, owner: str) -> None:
        self._path = home / "locks" / f"{device}.lock"
        self._about = self._path.with_suffix(".owner")
        self._owner = owner

    @contextmanager
    def held(self, on_wait: Callable[[str], None], stop: threading.Event) -> Iterator[None]:
        """Hold the device while the block runs; `on_wait` hears once for whom it waits, and again when that changes.

        Raises:
            Cancelled: `stop` was set while waiting.
            StorageFailed: the data folder cannot be used.
        """
        files.make_folder(self._path.parent)
        lock, told = FileLock(self._path, thread_local=False), ""
        while True:
            try:
                lock.acquire(blocking=False)
                break
            except Timeout:
                holder = self.holder()
                if holder != told:
                    on_wait(f"waiting for {holder}")
                    told = holder
                if stop.wait(POLL_SECONDS):
                    raise Cancelled(f"stopped while waiting for {holder}") from None
            except OSError as error:
                raise files.unusable(self._path.parent, error) from error
        try:
            since = datetime.datetime.now().strftime("%H:%M")
            files.write_json(self._about, {"owner": self._owner, "pid": os.getpid(), "since": since})
            yield
        finally:
            lock.release()

    def holder(self) -> str:
        """Return who held the device last, in words: "the app, process 1234, since 10:02"."""
        about = files.read_json(self._about)
        if not about:
            return "another process"
        return f"{about.get('owner')}, process {about.get('pid')}, since {about.get('since')}"
