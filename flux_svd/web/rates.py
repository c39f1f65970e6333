"""How often one address may ask: a bucket of tokens for each, filled at a steady rate. Knows no route."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

_ADDRESSES = 10_000  # remembered at once, about 1 MB; the one that asked longest ago goes first


class Buckets:
    """A bucket for each address.

    Args:
        rate: tokens a second that flow back.
        burst: tokens a full bucket holds.
    """

    def __init__(self, rate: float, burst: float, *, now: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._now = rate, burst, now
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, address: str, tokens: float = 1.0) -> int:
        """Take tokens and return 0, or take none and return after how many seconds they will be there."""
        now = self._now()
        with self._lock:
            level, since = self._levels.pop(address, (self._burst, now))
            level = min(self._burst, level + (now - since) * self._rate)
            missing = tokens - level
            self._levels[address] = (level if missing > 0 else level - tokens, now)
            while len(self._levels) > _ADDRESSES:
                self._levels.popitem(last=False)
        return math.ceil(missing / self._rate) if missing > 0 else 0
