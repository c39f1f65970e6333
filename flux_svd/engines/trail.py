"""What an unfinished stage leaves behind: its latents after the last step, in memory always and on disk now and then.

After a lack of memory the stage goes on from the last step; after a crash from the last checkpoint. Both give the bits of an
unbroken run, since noise is drawn by place and steps depend on latents alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from flux_svd.store import Store

EVERY_SECONDS = 10.0  # work that a crash may cost
WRITING_SHARE = 0.01  # of the time may go into writing checkpoints


@dataclass(frozen=True)
class Halfway:
    """Where a stage was left: `steps` are done, `latents` in host memory are what they made."""

    steps: int
    latents: Tensor


class Trail:
    """The checkpoints of one stage.

    Args:
        name: of the stage; where only decoding differs, of the latents both ways share.
    """

    def __init__(self, store: Store, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._name, self._clock = store, name, clock
        self._due = clock() + EVERY_SECONDS
        self._last = self._read()

    @property
    def halfway(self) -> Halfway | None:
        """The last step that is known, or None before the first."""
        return self._last

    def keep(self, steps: int, latents: Tensor) -> None:
        """Remember what `steps` steps made; on disk too, if it is time."""
        self._last = Halfway(steps, latents.detach().to("cpu", copy=True))
        begun = self._clock()
        if begun >= self._due:
            data = save({"latents": self._last.latents.contiguous()}, {"steps": str(steps)})
            self._store.keep_stage(self._name, "latents", data)
            ended = self._clock()
            self._due = ended + max(EVERY_SECONDS, (ended - begun) / WRITING_SHARE)

    def _read(self) -> Halfway | None:
        kept = self._store.find_stage(self._name, "latents")
        if kept is None:
            return None
        try:
            header = json.loads(kept.data[8 : 8 + int.from_bytes(kept.data[:8], "little")])
            return Halfway(int(header["__metadata__"]["steps"]), load(kept.data)["latents"])
        except (ValueError, KeyError, SafetensorError):
            return None  # of another version of this file: the stage begins anew
