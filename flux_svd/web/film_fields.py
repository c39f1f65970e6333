"""The form of the page Video → the fields of a request, and back. Texts are read here; bounds belong to the request itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flux_svd import storyboard, timeline
from flux_svd.catalog import MODELS
from flux_svd.errors import InvalidRequest
from flux_svd.plan import Plan
from flux_svd.request import ImageRequest, StageWish, VideoRequest, describe_bounds
from flux_svd.web.board import FOUR, Board, Held, Slot
from flux_svd.web.fields import whole_number
from flux_svd.web.moves import MAX_STAGES, Hand, change


@dataclass(frozen=True)
class FilmWish:
    """What stands in the form beside the cards, in the order of its components.

    Attributes:
        four: draw `FOUR` candidates of every keyframe.
        extra: fields of a request that was brought back and that the form has no place for.
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
    extra: Mapping[str, Any]


FORM = len(FilmWish.__dataclass_fields__)
_IN_THE_FORM = {
    "kind", "prompt", "model", "seed", "stages", "keyframes", "frames_per_transition", "total_frames", "seconds", "lengths",
    "loop", "fps", "transition", "smooth_joins", "colour_match", "best_of",
}  # fmt: skip


def read_form(board: Board, values: Sequence[Any]) -> tuple[FilmWish, Hand]:
    """Return the form and the cards in use, from the values of all its components (of the cards: texts, seeds, lengths).

    A field that was never touched comes as None.
    """
    values = ["" if value is None else value for value in values]
    texts, seeds, lengths = (values[FORM + n * MAX_STAGES : FORM + (n + 1) * MAX_STAGES] for n in range(3))
    return FilmWish(*values[:FORM]), [Held(slot, *row) for slot, *row in zip(board.slots, texts, seeds, lengths, strict=False)]


def with_seed(values: Sequence[Any], seed: int) -> tuple[Any, ...]:
    """Return the values of the form with another seed of the film."""
    place = list(FilmWish.__dataclass_fields__).index("seed")
    return (*values[:place], str(seed), *values[place + 1 :])


def video_fields(wish: FilmWish, hand: Hand, *, picked: bool = True) -> dict[str, Any]:
    """Return the fields of a VideoRequest.

    Args:
        picked: with the candidates the user took; without, all candidates of such a keyframe stay in the plan.

    Raises:
        InvalidRequest: a text is not a number, or a stage has no prompt.
    """
    candidates = FOUR if wish.four or any(_is_drawn(held) and held.slot.options for held in hand) else 1
    found: dict[str, Any] = {
        **wish.extra,
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


def extra_of(request: VideoRequest) -> dict[str, Any]:
    """Return the fields of a request that the form has no place for."""
    told = request.model_dump(mode="json", exclude_defaults=True)
    return {name: value for name, value in told.items() if name not in _IN_THE_FORM}


def hand_of(request: VideoRequest, plan: Plan | None) -> Hand:
    """Return the cards for the request of a film made here: its stages, or those the storyboard writes for its prompt."""
    line = timeline.lay_out(request, [], MODELS.get(request.video_model))
    gaps = [way.gap for way in line.ways]
    lengths = [sum(way.frames - 1 for way in line.ways if way.gap == gap) + 1 for gap in sorted({*gaps})]
    told = request.lengths or request.total_frames or request.seconds
    starts = [index for index, way in enumerate(line.ways) if not way.part]
    places = starts if request.loop else [*starts, len(line.stages) - 1]
    names = [stage.name for stage in plan.stages] if plan and len(plan.stages) == len(line.stages) else []
    read = storyboard.write_stages(request.prompt, len(places))
    hand = []
    for n, place in enumerate(places):
        stage = line.stages[place].stage
        wish = request.stages[n] if request.stages else StageWish(prompt=stage.prompt)
        length = lengths[n] if told and n < len(lengths) else wish.length
        name = read[n].name if read[n].prompt == wish.prompt else names[place] if names else stage.name
        hand.append(_held(Slot(name, read[n].prompt), wish, length, request.best_of > 1))
    return hand


def changed(hand: Hand, index: int, **changes: Any) -> Hand:
    """Return the hand with other facts in the slot of one card."""
    return change(hand, index, replace(hand[index], slot=replace(hand[index].slot, **changes)))


def _held(blank: Slot, wish: StageWish, length: int | None, options: bool) -> Held:
    pick = wish.pick or 0
    wide = options and wish.picture is None and wish.lock is None and pick != 1  # a card without options takes the first
    slot = replace(
        blank, picture=wish.picture or "", lock=wish.lock or "", options=wide, pick=pick if wide else 0,
        way_seed=wish.transition_seed,
    )  # fmt: skip
    return Held(slot, wish.prompt, "" if wish.seed is None else str(wish.seed), "" if length is None else str(length))


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
