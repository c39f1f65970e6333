"""A worker process with fake engines: `python -m tests.fake_worker HOME OUTPUTS NAME STEP_SECONDS DEVICE_NUMBER`.

Every stage it computes is appended to HOME/computed, one line each, so that a test can count across processes. While there is a
file HOME/hold-draw or HOME/hold-animate, no such step goes on after the first: a test can do something to a worker that is surely
at work.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from flux_svd.ledger import Ledger
from flux_svd.session import Session
from flux_svd.worker import Worker
from tests.fakes import FakeEngines


class CountingEngines(FakeEngines):
    """Fakes that note what they compute in a file before they compute it."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self._log = log

    def note(self, what: str) -> None:
        handle = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, (what + "\n").encode())
        os.close(handle)


def counting_session(home: Path, outputs: Path, device_number: int = 0) -> tuple[Session, CountingEngines]:
    """Return a session whose engines are instant and count in HOME/computed."""
    home.mkdir(parents=True, exist_ok=True)
    engines = CountingEngines(home / "computed")
    draw, sample, decode = engines.draw, engines.sample, engines.decode

    def counted(what: str, compute: object) -> object:
        def call(*arguments: object, **named: object) -> object:
            engines.note(what)
            return compute(*arguments, **named)  # type: ignore[operator]

        return call

    engines.draw = lambda recipe, *rest, **named: counted(f"draw {recipe.prompt} {recipe.seed}", draw)(  # type: ignore
        recipe, *rest, **named
    )
    engines.sample = lambda recipe, *rest, **named: counted(f"sample {recipe.start}", sample)(recipe, *rest, **named)  # type: ignore
    engines.decode = counted("decode", decode)  # type: ignore
    session = Session(home=home, output_dir=outputs, owner="the worker", device_number=device_number)
    session._engines = engines  # type: ignore[assignment]
    return session, engines


def main() -> None:
    home, outputs, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    step_seconds, device_number = float(sys.argv[4]), int(sys.argv[5])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    session, engines = counting_session(home, outputs, device_number)

    def take_time(kind: str, step: int) -> None:
        time.sleep(step_seconds)
        while step > 1 and (home / f"hold-{kind}").exists():
            time.sleep(0.02)

    engines.before_step = take_time
    Worker(Ledger(home), session, name=name, beat_seconds=0.2).run_forever(stop, until_empty=True)


if __name__ == "__main__":
    main()
