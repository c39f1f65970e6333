"""Wishes about pictures of the pocket world: one or two scenes to work from, words, and the scene that is meant; no torch."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from flux_svd.pocket.world import ALL_TOLD, COLORS, PLACES, SHAPES, SIZES, Scene, caption, is_held_out, place_words, sample_scene


@dataclass(frozen=True)
class Edit:
    """A wish about pictures.

    Attributes:
        kind: what the words change, a key of `KINDS` or "caption" (the words tell the whole target).
        references: one or two scenes that are shown.
        target: the scene that the words ask for; what they don't mention is as in the first reference.
    """

    kind: str
    references: tuple[Scene, ...]
    words: str
    target: Scene


def sample_edit(rng: random.Random, references: int, *, held_out: bool = False, kind: str | None = None) -> Edit:
    """Return a random wish about `references` (1 or 2) pictures, its target on one side of the hold-out line."""
    while True:
        chosen = kind or rng.choice([*KINDS, "caption", "caption"] if references == 1 else list(PAIR_KINDS))
        edit = _draw_edit(chosen, rng)
        if edit is not None and is_held_out(edit.target) == held_out:
            return edit


def _draw_edit(kind: str, rng: random.Random) -> Edit | None:
    """Return a wish of that kind; None where the target would be as before, or no scene of the world."""
    if kind == "caption":
        return _told_whole(rng)
    shown = _still(rng)
    if kind in KINDS:
        target, words = KINDS[kind](shown, rng)
        return _edit(kind, (shown,), words, target)
    other = _still(rng)
    target, words = PAIR_KINDS[kind](shown, other, rng)
    return _edit(kind, (shown, other), words, target)


def _edit(kind: str, references: tuple[Scene, ...], words: str, target: Scene) -> Edit | None:
    is_scene = target.color != target.background and not (target.outlined and target.size == "small")
    return Edit(kind, references, words, target) if is_scene and target != references[0] else None


def _told_whole(rng: random.Random) -> Edit:
    """Return a wish that tells its whole target: of the same object elsewhere, as the keyframes of a film, or of another."""
    target = sample_scene(rng)
    target = replace(target, says=target.says | {"background", "place"})
    shown = replace(target, place=rng.choice(list(PLACES)), move=None)
    if rng.random() < 0.3:
        shown = replace(shown, background=rng.choice([name for name in COLORS if name != target.color]))
    if rng.random() < 0.2:  # another object: then the words win
        shown = _still(rng)
    return Edit("caption", (shown,), caption(target, rng), target)


def _still(rng: random.Random) -> Scene:
    scene = sample_scene(rng, kind="still", held_out=rng.random() < 1 / 9)  # anything may be shown; only targets are held out
    return replace(scene, says=ALL_TOLD)


def _subject(scene: Scene, rng: random.Random) -> str:
    return rng.choice(("the same object", "the same object", f"the same {scene.shape}", f"this {scene.shape}", "it"))


def _moved(scene: Scene, rng: random.Random) -> tuple[Scene, str]:
    place = rng.choice(list(PLACES))
    where = place_words(place, rng)
    words = rng.choice((f"{_subject(scene, rng)} {where}", f"move {_subject(scene, rng)} to the {place}", f"now {where}"))
    return replace(scene, place=place), words


def _recolored(scene: Scene, rng: random.Random) -> tuple[Scene, str]:
    color = rng.choice(list(COLORS))
    words = rng.choice((f"make it {color}", f"{_subject(scene, rng)} in {color}", f"the same {scene.shape} but {color}"))
    return replace(scene, color=color), words


def _on_another_ground(scene: Scene, rng: random.Random) -> tuple[Scene, str]:
    ground = rng.choice(list(COLORS))
    words = rng.choice(
        (f"{_subject(scene, rng)} on a {ground} background", f"make the background {ground}", f"now on a {ground} background")
    )
    return replace(scene, background=ground), words


def _restyled(scene: Scene, rng: random.Random) -> tuple[Scene, str]:
    style = "flat" if scene.outlined else "outlined"
    words = rng.choice((f"make it {style}", f"{_subject(scene, rng)} {style}", f"the same {scene.shape} but {style}"))
    return replace(scene, outlined=not scene.outlined), words


def _resized(scene: Scene, rng: random.Random) -> tuple[Scene, str]:
    size = rng.choice(list(SIZES))
    return replace(scene, size=size), rng.choice((f"make it {size}", f"{_subject(scene, rng)} but {size}"))


def _moved_on_another_ground(scene: Scene, rng: random.Random) -> tuple[Scene, str]:
    place, ground = rng.choice(list(PLACES)), rng.choice(list(COLORS))
    words = f"{_subject(scene, rng)} {place_words(place, rng)} on a {ground} background"
    return replace(scene, place=place, background=ground), words


def _reshaped(scene: Scene, rng: random.Random) -> tuple[Scene, str]:
    shape = rng.choice(SHAPES)
    return replace(scene, shape=shape), rng.choice((f"turn it into a {shape}", f"make it a {shape}"))


def _in_the_color_of(scene: Scene, other: Scene, rng: random.Random) -> tuple[Scene, str]:
    return replace(scene, color=other.color), f"the first {_noun(scene, rng)} with the color of the second"


def _on_the_ground_of(scene: Scene, other: Scene, rng: random.Random) -> tuple[Scene, str]:
    return replace(scene, background=other.background), f"the first {_noun(scene, rng)} on the background of the second"


def _at_the_place_of(scene: Scene, other: Scene, rng: random.Random) -> tuple[Scene, str]:
    return replace(scene, place=other.place), f"the first {_noun(scene, rng)} at the side of the second"


def _noun(scene: Scene, rng: random.Random) -> str:
    return rng.choice(("object", "one", scene.shape))


KINDS: dict[str, Callable[[Scene, random.Random], tuple[Scene, str]]] = {
    "place": _moved,
    "color": _recolored,
    "background": _on_another_ground,
    "style": _restyled,
    "size": _resized,
    "place and background": _moved_on_another_ground,
    "shape": _reshaped,
}
PAIR_KINDS: dict[str, Callable[[Scene, Scene, random.Random], tuple[Scene, str]]] = {
    "color of the second": _in_the_color_of,
    "background of the second": _on_the_ground_of,
    "place of the second": _at_the_place_of,
}
