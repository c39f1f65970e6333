"""Waiting for what will be: tests wait for a state, not for a time."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Return as soon as `condition` holds; fail after a time in which it would have come true on the slowest machine."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
