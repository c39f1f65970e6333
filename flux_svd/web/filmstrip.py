"""The strip of a film: keyframe, the way to the next one, keyframe; each way waiting, at work or done. Pure markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from flux_svd.encode import iterate_film
from flux_svd.progress import Progress
from flux_svd.recipe import VideoRecipe
from flux_svd.web import parts
from flux_svd.web.parts import esc

SHOWN_FRAMES = 4  # in-betweens drawn for one transition
_THUMB_HEIGHT = 152  # pixels: twice the strip's height, for dense screens


@dataclass(frozen=True)
class Way:
    """One transition on the strip.

    Attributes:
        frames: small pictures as data addresses, or one that shows several frames side by side.
        verdict: what the film report says of it, in words.
        redo: it can be made again with a seed of its own.
    """

    state: str = "wait"
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None
    frames: tuple[str, ...] = ()
    verdict: str = ""
    redo: bool = False

    def after(self, progress: Progress) -> Way:
        frames = (parts.webp_address(progress.preview),) if progress.preview else self.frames
        return replace(
            self, state="run", step=progress.step, steps=progress.steps, seconds_left=progress.seconds_left, frames=frames
        )


@dataclass(frozen=True)
class Key:
    """One keyframe on the strip: its number and stage's name, its picture where it is drawn, how the film joins there in words
    and in figures."""

    number: int
    name: str
    picture: str = ""
    join: tuple[str, str] = ("", "")


def draw_strip(keys: Sequence[Key], ways: Sequence[Way], width: int, height: int) -> str:
    cells = []
    for index, key in enumerate(keys):
        if index:
            cells.append(_way(ways[index - 1], index, keys[index - 1].number, key.number))
        shown = key.picture or '<div class="ghost"></div>'
        words, figures = key.join
        join = f'<span class="join" title="{esc(figures)}">{esc(words)}</span>' if words else ""
        name = f'<div class="cap"><span>{key.number} &ensp;<bdi data-said>{esc(key.name)}</bdi></span>{join}</div>'
        cells.append(f'<div class="k">{shown}<div class="st"></div>{name}</div>')
    ratio = f'style="--ratio:{width}/{height}"'
    return f'<div class="strip" tabindex="0" role="region" aria-label="Film strip" {ratio}>{"".join(cells)}</div>'


def warn_of(gaps: Sequence[tuple[int, int, int, float]], *, room: bool) -> str:
    """Return what is said of transitions whose keyframes are too far apart: each (gap from 0, from, to, likeness).

    Args:
        room: another card fits on the page, so a midpoint is offered.
    """
    rows = []
    for gap, start, end, likeness in gaps:
        offer = (
            f'<button type="button" class="do edge" data-do="midpoint" data-i="{gap}">Insert a midpoint</button>' if room else ""
        )
        rows.append(
            f'<li><span class="bad">Keyframes {start} and {end} look too different to be bridged well</span> '
            f'<span class="quiet">likeness {round(likeness, 2) + 0.0:.2f}</span>{offer}</li>'
        )
    return f'<ul class="far">{"".join(rows)}</ul>' if rows else ""


def frames_between(path: Path, recipe: VideoRecipe) -> list[tuple[str, ...]]:
    """Return, for each transition of a finished film, a few of its frames as small pictures."""
    wanted: dict[int, int] = {}
    for way, (start, end) in enumerate(zip(recipe.key_positions, recipe.key_positions[1:], strict=False)):
        for n in range(1, SHOWN_FRAMES + 1):
            wanted.setdefault(start + round((end - start) * n / (SHOWN_FRAMES + 1)), way)
    found: list[list[str]] = [[] for _ in recipe.key_positions[1:]]
    for index, frame in enumerate(iterate_film(path)):
        if index in wanted:
            found[wanted[index]].append(parts.small_picture(Image.fromarray(frame), _THUMB_HEIGHT))
    return [tuple(frames) for frames in found]


def _way(way: Way, place: int, start: int, end: int) -> str:
    """Return one transition; `place` from 1, `start` and `end` are the numbers of its keyframes."""
    name = f"Transition {start} to {end}"
    if way.state == "wait":
        caption, rule = "<b>Waiting</b>", ""
    elif way.state == "done":
        verdict = f"<span>{esc(way.verdict)}</span>" if way.verdict else ""
        redo = (
            f'<button type="button" class="do link" data-do="way" data-i="{place - 1}" '
            f'aria-label="Make transition {start} to {end} again with a new seed">Redo</button>'
        )
        caption, rule = f"<b>Done</b>{verdict}{redo if way.redo else ''}", ""
    else:
        left = f"<span>{parts.seconds_words(way.seconds_left)} left</span>" if way.seconds_left is not None else ""
        caption = f"<b>Step {way.step} of {way.steps}</b>{left}" if way.steps else "<b>Starting</b>"
        rule = f'<i style="width:{100 * way.step // max(way.steps, 1)}%"></i>'
    ghost = '<div class="ghost"></div>'
    shown = [f'<img src="{frame}" alt="">' for frame in way.frames] or [ghost] * SHOWN_FRAMES
    if way.state == "run" and way.frames:
        shown = [ghost, f'<img class="now" src="{way.frames[0]}" alt="Preview of transition {start} to {end}">', ghost]
    return (
        f'<div class="s {way.state}" role="group" aria-label="{name}">'
        f'<div class="fr">{"".join(shown)}</div><div class="st">{rule}</div><div class="cap">{caption}</div></div>'
    )
