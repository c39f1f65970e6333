"""What a button on a card does to the cards: pure changes of the hand. Knows no page and no model."""

from __future__ import annotations

import secrets
from dataclasses import replace

from flux_svd import storyboard, timeline
from flux_svd.request import VideoRequest
from flux_svd.web.board import Held, Slot

MAX_STAGES = 8  # cards on the page: 155 frames at 23 a transition; the command line takes more

Hand = list[Held]
"""The cards in use."""


def written(prompt: str, count: int) -> Hand:
    """Return the cards of the stages that the storyboard reads in a prompt."""
    return [Held(Slot(stage.name, stage.prompt), stage.prompt) for stage in storyboard.write_stages(prompt, count)]


def give(hand: Hand, picture: str, prompt: str) -> tuple[Hand, int]:
    """Return the hand with a picture in its first card that is not the user's own, or in one more, and the place of that card.

    Without room it is the hand as it was, and -1.
    """
    free = next((n for n, held in enumerate(hand) if not held.is_own), len(hand))
    if free == MAX_STAGES:
        return hand, -1
    card = hand[free] if free < len(hand) else Held(Slot("New"), prompt)
    slot = replace(card.slot, written=prompt, picture=picture, options=False, pick=0)
    return [*hand[:free], replace(card, prompt=prompt, slot=slot), *hand[free + 1 :]], free


def move(hand: Hand, index: int, by: int) -> Hand:
    """Return the hand with a card a place further; what belongs to the transitions between cards stays where it is."""
    if not 0 <= index + by < len(hand):
        return hand
    one, other = hand[index], hand[index + by]
    moved = list(hand)
    moved[index], moved[index + by] = _with_way_of(other, one), _with_way_of(one, other)
    return moved


def insert(hand: Hand, index: int) -> Hand:
    """Return the hand with one more card after this one, which shows what is halfway to the next."""
    if len(hand) >= MAX_STAGES or not 0 <= index < len(hand):
        return hand
    return [*hand[: index + 1], _between(hand, index), *hand[index + 1 :]]


def append(hand: Hand) -> Hand:
    """Return the hand with one more card at its end, a copy of the last one's texts."""
    if len(hand) >= MAX_STAGES:
        return hand
    last = hand[-1]
    return [*hand, Held(Slot("New", last.prompt), last.prompt, last.seed)]


def insert_midpoint(hand: Hand, gap: int, request: VideoRequest) -> Hand:
    """Return the hand with a card halfway in a transition (from 0) whose ends are too far apart; the film keeps its length.

    Args:
        request: the wish of the hand as it is.

    Raises:
        InvalidRequest: the transition is too short for two.
    """
    if len(hand) >= MAX_STAGES or not 0 <= gap < len(hand):
        return hand
    wish = timeline.with_midpoint(request, gap)
    stages, lengths = wish.stages or (), wish.lengths or ()
    before = replace(hand[gap], length=str(lengths[gap]), slot=replace(hand[gap].slot, way_seed=None))
    prompt = stages[gap + 1].prompt
    middle = Held(Slot("Midpoint", prompt), prompt, length=str(lengths[gap + 1]))
    return [*hand[:gap], before, middle, *hand[gap + 1 :]]


def remove(hand: Hand, index: int) -> Hand:
    """Return the hand without a card; two stay in any case."""
    return [*hand[:index], *hand[index + 1 :]] if len(hand) > 2 else hand


def redo(hand: Hand, index: int) -> Hand:
    """Return the hand with another seed for one keyframe; the others are found finished."""
    return change(hand, index, replace(hand[index], seed=new_seed(), slot=replace(hand[index].slot, pick=0)))


def redo_way(hand: Hand, gap: int) -> Hand:
    """Return the hand with another seed for one transition, from 0; the others are found finished."""
    return change(hand, gap, replace(hand[gap], slot=replace(hand[gap].slot, way_seed=int(new_seed()))))


def change(hand: Hand, index: int, held: Held) -> Hand:
    return [*hand[:index], held, *hand[index + 1 :]]


def new_seed() -> str:
    return str(secrets.randbelow(2**32))


def _with_way_of(card: Held, place: Held) -> Held:
    """Return a card with length and seed of the transition that begins at the place of another."""
    return replace(card, length=place.length, slot=replace(card.slot, way_seed=place.slot.way_seed))


def _between(hand: Hand, index: int) -> Held:
    start, end = hand[index], hand[(index + 1) % len(hand)]
    if index + 1 == len(hand):
        return Held(Slot("New", start.prompt), start.prompt, start.seed)
    halfway = storyboard.halfway_prompt(start.prompt, end.prompt, 0.5)
    return Held(Slot("New", halfway), halfway)
