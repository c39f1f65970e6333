"""The form of the page Video → the fields of a request, and back. Texts are read here; bounds belong to the request itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flux_svd import storyboard
from flux_svd.errors import InvalidRequest
from flux_svd.plan import Plan
from flux_svd.request import ImageRequest, VideoRequest, describe_bounds
from flux_svd.web.board import FOUR, Board, Held, Slot
from flux_svd.web.fields import whole_number
from flux_svd.web.moves import MAX_STAGES, Hand


@dataclass(frozen=True)
class FilmWish:
    """What stands in the form beside the cards, in the order of its components.

    Attributes:
        four: draw `FOUR` candidates of every keyframe.
    """

    film: str
    seed: str
    frames: str
    fps: str
    model: str
    method: str
    loop: bool
    colours: bool
    smooth: bool
    four: bool


FORM = len(FilmWish.__dataclass_fields__)


def read_form(board: Board, values: Sequence[Any]) -> tuple[FilmWish, Hand]:
    """Return the form and the cards in use, from the values of all its components (of the cards: texts, seeds, lengths)."""
    texts, seeds, lengths = (values[FORM + n * MAX_STAGES : FORM + (n + 1) * MAX_STAGES] for n in range(3))
    return FilmWish(*values[:FORM]), [Held(slot, *row) for slot, *row in zip(board.slots, texts, seeds, lengths, strict=False)]


def video_fields(wish: FilmWish, hand: Hand, *, picked: bool = True) -> dict[str, Any]:
    """Return the fields of a VideoRequest.

    Args:
        picked: with the candidates the user took; without, all candidates of such a keyframe stay in the plan.

    Raises:
        InvalidRequest: a text is not a number, or a stage has no prompt.
    """
    candidates = FOUR if wish.four or any(_is_drawn(held) and held.slot.options for held in hand) else 1
    found: dict[str, Any] = {
        "kind": "video",
        "prompt": wish.film,
        "model": wish.model,
        "seed": whole_number("seed", wish.seed),
        "frames_per_transition": whole_number("frames_per_transition", wish.frames, VideoRequest),
        "stages": tuple(_stage(n, held, wish, len(hand), candidates, picked) for n, held in enumerate(hand)),
        "best_of": candidates,
        "transition": wish.method,
        "loop": wish.loop,
        "colour_match": wish.colours,
        "smooth_joins": wish.smooth,
    }
    speed = whole_number("fps", wish.fps, VideoRequest)
    return found if speed is None else {**found, "fps": speed}


def hand_of(request: VideoRequest, plan: Plan | None) -> Hand:
    """Return the cards for the request of a film made here: its stages, or those the storyboard writes for its prompt."""
    stages = request.stages or ()
    if not stages:
        return [Held(Slot(one.name), one.prompt) for one in storyboard.write_stages(request.prompt, request.keyframes or 3)]
    told = [stage.name for stage in plan.stages[: len(stages)]] if plan else []
    names = told if len(told) == len(stages) else [f"Stage {n}" for n in range(1, len(stages) + 1)]
    lengths = [*(request.lengths or ()), *[None] * len(stages)]
    hand = []
    for name, wish, length in zip(names, stages, lengths, strict=False):
        pick = wish.pick or 0
        drawn = wish.picture is None and wish.lock is None
        options = request.best_of > 1 and drawn and pick != 1  # a card without options takes the first
        slot = Slot(name, wish.picture or "", wish.lock or "", options, pick if options else 0, wish.transition_seed)
        own = wish.length or length
        hand.append(Held(slot, wish.prompt, "" if wish.seed is None else str(wish.seed), "" if own is None else str(own)))
    return hand


def changed(hand: Hand, index: int, **changes: Any) -> Hand:
    """Return the hand with other facts in the slot of one card."""
    held = hand[index]
    return [*hand[:index], replace(held, slot=replace(held.slot, **changes)), *hand[index + 1 :]]


def _is_drawn(held: Held) -> bool:
    return not (held.slot.picture or held.slot.lock)


def _stage(index: int, held: Held, wish: FilmWish, count: int, candidates: int, picked: bool) -> dict[str, Any]:
    slot = held.slot
    if not (held.prompt or "").strip():
        raise InvalidRequest(f"stages.{index}.prompt", held.prompt, describe_bounds(ImageRequest, "prompt"))
    found: dict[str, Any] = {"prompt": held.prompt, "picture": slot.picture or None, "lock": slot.lock or None}
    if _is_drawn(held):
        found["seed"] = _number(index, "seed", held.seed)
        if candidates > 1 and not (wish.four or slot.options):
            found["pick"] = 1
        elif picked and slot.pick:
            found["pick"] = slot.pick
    if wish.loop or index + 1 < count:  # a transition follows
        found["length"] = _number(index, "length", held.length)
        found["transition_seed"] = slot.way_seed
    return found


def _number(index: int, name: str, text: str) -> int | None:
    field = {"seed": "seed", "length": "frames_per_transition"}[name]
    try:
        return whole_number(field, text, VideoRequest)
    except InvalidRequest as error:
        raise InvalidRequest(f"stages.{index}.{name}", text, error.allowed) from None
