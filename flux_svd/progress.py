"""What a running plan tells the outside: one small frozen value, and the callback type engines report through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["wait", "load", "draw", "animate", "decode", "encode", "score", "save"]


@dataclass(frozen=True)
class Progress:
    """Where a job stands.

    Attributes:
        phase: "wait" while others are ahead on the device; `item` then says how many, `note` for whom if it is another process.
        item, items: which picture, keyframe or transition of how many (from 1); 0, 0 where there is only one thing.
        of: "transition" where a model is loaded for one, which the phase alone does not tell.
        step, steps: within the item; 0, 0 while a phase cannot count.
        seconds_left: of the whole job, once it can be told.
        preview: a small WebP picture of what is being made, sometimes.
        note: a sentence for people, mostly empty.
        strip: a few small frames of the transition that is just finished, side by side, as WebP.
        lowered: memory ran out, and the plan goes on a rung lower; `note` says how.
    """

    phase: Phase
    item: int = 0
    items: int = 0
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None
    preview: bytes | None = None
    note: str = ""
    strip: bytes | None = None
    lowered: bool = False
    of: Literal["", "transition"] = ""


OnStep = Callable[[int, int, bytes | None], None]
"""Called by an engine after each step with (step from 1, steps, preview WebP or None); it may raise `Cancelled`."""


def ignore_steps(step: int, steps: int, preview: bytes | None) -> None:
    """Report to nobody."""
