"""A planned film as the page shows it: its cards, its strip, and its picture. Markup alone; starts nothing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flux_svd.plan import Plan
from flux_svd.recipe import ImageRecipe, KeyframeRecipe, Selection, VideoRecipe, fingerprint
from flux_svd.request import VideoRequest
from flux_svd.web import cards, parts
from flux_svd.web.board import Board, Chosen, Drawn, Slot, candidates_in, settle
from flux_svd.web.cards import Option
from flux_svd.web.desk import Desk
from flux_svd.web.film_report import joins_of, verdicts_of
from flux_svd.web.filmstrip import Key, Way, draw_strip, warn_of
from flux_svd.web.finds import Finds
from flux_svd.web.moves import MAX_STAGES
from flux_svd.web.parts import esc
from flux_svd.web.player import EARLIER, film_of, no_film, total_words
from flux_svd.web.references import small_given

GIVEN_HEIGHT = 306  # pixels, of a given picture on its card


@dataclass(frozen=True)
class View:
    """Markup: of each card its picture and its head, then the strip and the monitor (None leaves the monitor alone)."""

    pics: tuple[str, ...]
    heads: tuple[str, ...]
    strip: str
    monitor: str | None


def fits_cards(plan: Plan, board: Board) -> bool:
    """Return whether each keyframe of the film has a card here; a loop ends at the first one again."""
    film = film_of(plan)
    loops = isinstance(plan.request, VideoRequest) and plan.request.loop
    return not film.passes and len(film.keyframes) == len(board.slots) + loops


def view(plan: Plan, board: Board, desk: Desk, finds: Finds, ways: Sequence[Way] | None = None) -> View:
    """Return the film as it stands; while transitions are at work (`ways`) the monitor is theirs."""
    film = film_of(plan)
    settled, keyframes = settle(film, board)
    faces = [_face(n, slot, board, settled.keyframes[n], keyframes[n], plan, desk, finds) for n, slot in enumerate(board.slots)]
    names = tuple(fingerprint(way) for way in settled.transitions)
    is_shown = names == board.made[0]
    report = board.made[1] if is_shown else {}
    now = list(ways or ways_of(settled, board, finds))
    for n, verdict in enumerate(verdicts_of(report)):
        now[n] = replace(now[n], verdict=verdict)
    joins = joins_of(report, settled.key_positions)
    count = len(board.slots)
    keys = [Key(n % count + 1, _name(n % count, board), faces[n % count].picture, join) for n, join in enumerate(joins)]
    strip = _sum_up(plan, now) + draw_strip(keys, now, film.width, film.height) + _warnings(settled, board)
    monitor: str | None = None
    if board.player:
        monitor = board.player if is_shown else board.player + EARLIER
    elif ways is None:
        monitor = no_film(film, is_made=all(way.state == "done" for way in now))
    return View(tuple(face.pic for face in faces), tuple(face.head for face in faces), strip, monitor)


def ways_of(film: VideoRecipe, board: Board, finds: Finds) -> list[Way]:
    """Return each transition of a settled film as it stands: made in this tab, found finished, or still to be made."""
    found = []
    for recipe in film.transitions:
        way = board.ways.get(fingerprint(recipe))
        if way is None:
            strip = finds.strip(recipe)
            way = Way("done", frames=(strip,) if strip else ()) if strip or finds.is_made(recipe) else Way()
        found.append(replace(way, redo=way.state == "done" and not film.join_share))
    return found


def drawn_of(board: Board, finds: Finds, keyframe: KeyframeRecipe) -> Drawn | None:
    """Return what is known of a keyframe that is drawn, or None."""
    drawn = board.drawn.get(fingerprint(keyframe))
    if drawn is None and isinstance(keyframe, ImageRecipe) and (address := finds.picture(keyframe)):
        return Drawn(address, "")
    return drawn


@dataclass(frozen=True)
class _Face:
    picture: str
    pic: str
    head: str


def _face(
    index: int, slot: Slot, board: Board, settled: KeyframeRecipe, planned: KeyframeRecipe, plan: Plan, desk: Desk, finds: Finds
) -> _Face:
    film, number = film_of(plan), index + 1
    drawn = drawn_of(board, finds, settled)
    given = small_given(desk, slot.picture, GIVEN_HEIGHT) if slot.picture else ""
    address = given or (drawn.address if drawn else "")
    alt = f"Keyframe {number}: {plan.stages[index].prompt}"
    picture = parts.picture(address, alt, film.width, film.height, "pic") if address else ""
    names, chosen = candidates_in(planned, board)
    row: Mapping[str, Any] = {}
    if chosen is not None and fingerprint(settled) in names:
        row = chosen.rows[names.index(fingerprint(settled))]
    figures = _figures(drawn, row)
    options = _options(number, slot, board, settled, planned, chosen, finds) if names else ""
    ratio = f"{film.width}/{film.height}"  # a given picture is cut to it
    pic = f'<div style="--ratio:{ratio}">{picture}</div>' if picture else cards.undrawn(film.width, film.height)
    can_lock = isinstance(settled, ImageRecipe) and drawn is not None
    return _Face(picture, pic, cards.head(number, len(board.slots), slot, figures, can_lock=can_lock, options=options))


def _name(index: int, board: Board) -> str:
    """Return what a stage is called on the strip: "" where that is only its number, which stands there anyway."""
    name = board.slots[index].name
    return "" if name == f"Stage {index + 1}" else name


def _figures(drawn: Drawn | None, row: Mapping[str, Any]) -> tuple[str, ...]:
    if drawn is None:
        return ()
    score = drawn.score or (f"Match {row['match']:.2f}" if "match" in row else "")
    likeness = drawn.likeness or (f"Likeness {row['likeness']:.2f}" if "likeness" in row else "")
    return tuple(filter(None, (score, likeness)))


def _options(
    number: int, slot: Slot, board: Board, settled: KeyframeRecipe, planned: KeyframeRecipe, chosen: Chosen | None, finds: Finds
) -> str:
    assert isinstance(planned, Selection)
    options = []
    for place, candidate in enumerate(planned.candidates):
        drawn = drawn_of(board, finds, candidate)
        match = float(chosen.rows[place]["match"]) if chosen is not None else None
        options.append(Option(parts.thumb_address(drawn.address) if drawn else "", match, candidate == settled))
    if not any(option.picture for option in options):
        return ""
    ratio = f"{planned.width}/{planned.height}"
    return cards.options_row(number, options, chosen, picked=slot.pick > 0, ratio=ratio)


def _sum_up(plan: Plan, ways: Sequence[Way]) -> str:
    done = sum(way.state == "done" for way in ways)
    pocket = "made by pocket models" if parts.is_pocket(plan.model) else ""
    words = f"{done} of {len(ways)} transitions done" if done else pocket
    return f'<div class="sumup"><div class="total">{esc(total_words(plan))}</div><span class="quiet">{esc(words)}</span></div>'


def _warnings(film: VideoRecipe, board: Board) -> str:
    prints, count = [fingerprint(key) for key in film.keyframes], len(board.slots)
    far = []
    for gap, pair in enumerate(itertools.pairwise(prints)):
        told = board.pairs.get(pair)
        if told is not None and told.too_far:
            far.append((gap, gap + 1, (gap + 1) % count + 1, told.likeness))
    return warn_of(far, room=count < MAX_STAGES)
