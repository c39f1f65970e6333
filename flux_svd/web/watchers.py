"""Which of several watchers a tab listens to: the newest one; the others end without a word."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

_TABS = 10_000  # remembered; of a tab beyond them each watcher counts as the newest


class Watchers:
    """The newest watcher of each tab."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, object] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, tab: str) -> Callable[[], bool]:
        """Return a function that says whether the watcher that asked is still its tab's newest."""
        ticket = object()
        with self._lock:
            self._newest[tab] = ticket
            self._newest.move_to_end(tab)
            while len(self._newest) > _TABS:
                self._newest.popitem(last=False)
        return lambda: self._newest.get(tab, ticket) is ticket
