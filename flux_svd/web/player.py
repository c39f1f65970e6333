"""The film on the page: the picture with its controls under it, and the words that sum it up. Pure markup."""

from __future__ import annotations

from flux_svd.artifact import VideoArtifact
from flux_svd.plan import Plan
from flux_svd.recipe import VideoRecipe
from flux_svd.web import parts
from flux_svd.web.parts import esc

EARLIER = '<p class="small quiet">The film before these changes</p>'
FRAMES, FPS = 23, 12  # of a transition and of a second as planned by default; the length of a choice is told from them


def player(made: VideoArtifact, address: str, poster: str) -> str:
    """Return the film with its controls under it, so that nothing lies on the picture; `page.js` moves them."""
    film = made.recipe
    video = (
        f'<video src="{esc(address)}" poster="{esc(poster)}" width="{film.width}" height="{film.height}" loop playsinline muted '
        f'preload="auto" data-fps="{film.fps}" data-frames="{film.frames}" aria-label="Film: {esc(made.request.prompt)}"></video>'
    )
    return frame(film, video) + (
        '<div class="ctl"><button type="button" class="do icb i-play" data-play aria-label="Play"></button>'
        f'<input type="range" min="1" max="{film.frames}" value="1" aria-label="Frame">'
        f"<span>Frame <b>1</b> of {film.frames}</span>"
        '<button type="button" class="do icb i-full" data-full aria-label="Full screen"></button></div>'
    )


def frame(film: VideoRecipe, inner: str) -> str:
    return f'<div class="mon" style="--ratio:{film.width}/{film.height}">{inner}</div>'


def no_film(film: VideoRecipe, *, is_made: bool = False) -> str:
    """Return the empty place of a film; what is made already is shown by Animate at once."""
    when = "was made before: Animate shows it" if is_made else "appears here after Animate"
    return frame(film, f'<div class="ghost">Your film, {film.width} × {film.height},<br>{when}</div>')


def film_of(plan: Plan) -> VideoRecipe:
    film = plan.recipes[0]
    if not isinstance(film, VideoRecipe):
        raise TypeError("a plan for a film")
    return film


def total_words(plan: Plan) -> str:
    """Return "45 frames · 12 fps · 3.75 s · about 2 min"; until steps were timed here the end says so; made, it needs none."""
    film = film_of(plan)
    words = f"{film.frames} frames · {film.fps} fps · {_short(film.seconds_long)} s"
    if plan.seconds == 0:  # it was made before
        return words
    return f"{words} · " + ("time not measured yet" if plan.seconds is None else f"about {parts.seconds_words(plan.seconds)}")


def count_label(keyframes: int) -> str:
    frames = (keyframes - 1) * (FRAMES - 1) + 1
    return f"{keyframes}\n{_short(frames / FPS)} s"


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def finished(made: VideoArtifact) -> str:
    score = parts.match_words({}, made.run.scores.get("clip_cosine"))  # the bands are those of single pictures
    facts = [f"{score}, mean of all frames"] if score else []
    if parts.is_pocket(made.recipe.model):
        facts.append("made by pocket models")
    return parts.status(
        parts.done_words(made.run.seconds),
        " · ".join([*facts, f"{made.recipe.width} × {made.recipe.height}", *_notes(made)]),
    )


def _notes(made: VideoArtifact) -> list[str]:
    """Return what of the wish had no effect; keyframes too far apart are told at the strip, with the way out beside them."""
    return [note for note in parts.notes_of(made.run) if "to be bridged" not in note]
