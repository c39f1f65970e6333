"""Numbered places where a test may let the program die or the disk run full; nowhere else do they do anything.

Every durable step of files, ledger and library passes a point. Armed, the n-th one passed kills the process as a power cut
would, or raises what a full disk raises. The method is that of SQLite's fault injection: for n = 1, 2, 3 … until a run passes
without a fault (https://www.sqlite.org/testing.html, section 3).
"""

from __future__ import annotations

import errno
import os
import signal
from typing import Literal

Fault = Literal["kill", "full"]


class _Armed:
    fault: Fault | None = None
    number = 0
    passed = 0


def arm(fault: Fault | None, number: int = 0) -> None:
    """Let the `number`-th point from now (from 1) fail; None disarms. A fault happens once."""
    _Armed.fault, _Armed.number, _Armed.passed = fault, number, 0


def passed() -> int:
    """Return how many points were passed since `arm` was called with a fault."""
    return _Armed.passed


def pass_point() -> None:
    """Count this place; fail if it is the armed one.

    Raises:
        OSError: as a full disk would.
    """
    if _Armed.fault is None:
        return
    _Armed.passed += 1
    if _Armed.passed != _Armed.number:
        return
    if _Armed.fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
