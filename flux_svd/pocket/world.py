"""The pocket world: which scenes exist, how they are described, and which words are understood; no torch, no pixels."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Literal

# Words of the tokenizers in weights/*/tokenizer*; a test compares them. Some (gray, moon, glowing …) belong to the wider
# world of the first weights and are kept so that no token id moves when the world is widened again.
# fmt: off
VOCABULARY = frozenset((
    ",", "a", "above", "an", "and", "at", "background", "below", "big", "black", "blue", "bottom", "brown", "center", "circle",
    "corner", "cross", "cyan", "diamond", "drawing", "end", "filled", "flat", "from", "glowing", "gray", "green", "grey",
    "heart", "huge", "image", "in", "large", "left", "little", "medium", "middle", "moon", "moving", "near", "of", "on",
    "orange", "outlined", "painted", "photo", "picture", "pink", "purple", "red", "right", "scene", "shape", "shining", "side",
    "sized", "small", "square", "star", "start", "style", "the", "tiny", "to", "top", "triangle", "white", "with", "yellow",
))
# fmt: on
# Further words of pocket-klein, which can work from pictures; its tokenizer has both lists.
EDIT_WORDS = frozenset(
    ("but", "color", "first", "into", "it", "keep", "make", "move", "now", "object", "one", "same", "second", "this", "turn")
)
# Not in the vocabulary, so read as the token for any unknown word; understood nevertheless, from the words around them.
_UNDERSTOOD = frozenset({"between", "nearer"})

COLORS: dict[str, tuple[int, int, int]] = {  # sRGB, 0..255
    "red": (220, 40, 40),
    "orange": (245, 140, 30),
    "yellow": (250, 220, 50),
    "green": (50, 165, 70),
    "blue": (45, 80, 215),
    "purple": (135, 55, 175),
    "white": (248, 248, 248),
    "black": (22, 22, 26),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
SIZES = {"small": 0.125, "medium": 0.175, "large": 0.235}  # radius over the picture's shorter side
PLACES: dict[str, tuple[float, float]] = {  # (x, y) over (width, height), from the top left
    "left": (0.25, 0.5),
    "right": (0.75, 0.5),
    "top": (0.5, 0.25),
    "bottom": (0.5, 0.75),
    "center": (0.5, 0.5),
    "top left": (0.25, 0.25),
    "top right": (0.75, 0.25),
    "bottom left": (0.25, 0.75),
    "bottom right": (0.75, 0.75),
}
STAGES = {  # share of the way that is done; the last two are told as "between the … and the …"
    "at the start": 0.0,
    "in the middle": 0.5,
    "at the end": 1.0,
    "between": 0.5,
    "nearer": 0.3,  # of "nearer to the …": a third of the way in storyboards of four keyframes, a quarter in those of five
}

_SIZE_WORDS = {
    "small": ("small", "small", "tiny", "little"),
    "medium": ("medium", "medium sized"),
    "large": ("large", "large", "big", "huge"),
}
ALL_TOLD = frozenset({"background", "place", "size", "style"})  # what a caption can mention beside shape and color
_OPENINGS = ("a picture of ", "an image of ", "a drawing of ", "a photo of ")


@dataclass(frozen=True)
class Scene:
    """One object on one background. `move` is (from, to, stage) and then `place` is "center" and says nothing.

    `says` names the attributes that a caption mentions; what it does not mention can't be judged.
    """

    shape: str
    color: str
    size: str
    background: str
    place: str = "center"
    outlined: bool = False
    move: tuple[str, str, str] | None = None
    says: frozenset[str] = ALL_TOLD

    @property
    def centre(self) -> tuple[float, float]:
        """Return (x, y) of the object over (width, height)."""
        if self.move is None:
            return PLACES[self.place]
        (ax, ay), (bx, by), way = PLACES[self.move[0]], PLACES[self.move[1]], STAGES[self.move[2]]
        return ax + (bx - ax) * way, ay + (by - ay) * way


def is_held_out(scene: Scene) -> bool:
    """Return whether the combination (shape, color, background, place or move) is kept from training, for judging.

    Every ninth combination is; each pair of attributes still occurs in training.
    """
    shape, color = SHAPES.index(scene.shape), list(COLORS).index(scene.color)
    background, places = list(COLORS).index(scene.background), list(PLACES)
    start, end = (scene.place, "left") if scene.move is None else scene.move[:2]
    where = places.index(start) + 2 * places.index(end)
    return (2 * shape + 4 * color + 5 * background + 7 * where) % 9 == 4


def sample_scene(rng: random.Random, *, held_out: bool = False, kind: Literal["still", "moving"] | None = None) -> Scene:
    """Return a random scene from one side of the hold-out line. 30 % move unless `kind` says which."""
    while True:
        scene = _draw_scene(rng, kind or ("moving" if rng.random() < 0.3 else "still"))
        if is_held_out(scene) == held_out:
            return scene


def _draw_scene(rng: random.Random, kind: str) -> Scene:
    color, background = rng.sample(list(COLORS), 2)
    size = rng.choice(list(SIZES)) if rng.random() < 0.55 else "medium"
    outlined = size != "small" and rng.random() < 0.1  # small outlines are thinner than the f8 autoencoder resolves
    says = {"background"} if rng.random() < 0.85 else set()
    if size != "medium" or rng.random() < 0.15:
        says.add("size")
    if outlined or rng.random() < 0.1:
        says.add("style")
    if kind == "moving":
        start, end = rng.sample(list(PLACES), 2)
        move = (start, end, rng.choice(list(STAGES)))
        return Scene(rng.choice(SHAPES), color, size, background, "center", outlined, move, frozenset(says | {"place"}))
    place = rng.choice(list(PLACES)) if rng.random() < 0.75 else "center"
    if place != "center" or rng.random() < 0.35:
        says.add("place")
    return Scene(rng.choice(SHAPES), color, size, background, place, outlined, None, frozenset(says))


def caption(scene: Scene, rng: random.Random | None = None) -> str:
    """Return a description of `scene`: with `rng` near-synonyms and a free order of parts, else the plain one."""
    words = [_article(first := _noun_words(scene, rng)), *first]
    noun = " ".join(words)
    moving = ""
    where: list[str] = []
    if scene.move is not None and scene.move[2] in ("between", "nearer"):
        nearer = f", nearer to the {scene.move[0]}" if scene.move[2] == "nearer" else ""
        where.append(f"between the {scene.move[0]} and the {scene.move[1]}{nearer}")
    elif scene.move is not None:
        the = ["the " if rng is not None and rng.random() < 0.3 else "" for _ in range(2)]
        moving = f" moving from {the[0]}{scene.move[0]} to {the[1]}{scene.move[1]}"
        where.append(scene.move[2])
    elif "place" in scene.says:
        where.append(place_words(scene.place, rng))
    ground: list[str] = []
    if "background" in scene.says:
        preposition = "on" if rng is None or rng.random() < 0.85 else "with"
        ground.append(f"{preposition} {_article([scene.background])} {scene.background} background")
    if rng is None:
        stage = "".join((", " if moving else " ") + words for words in where)
        return noun + moving + stage + "".join(f" {words}" for words in ground)
    opening = rng.choice(_OPENINGS) if rng.random() < 0.12 else ""
    text = _in_free_order(opening + noun + moving, where, ground, rng)
    chance = rng.random()
    if chance < 0.06:
        text = _with_unknown_words(text, rng)
    elif chance < 0.1:  # the storyboard's "…, in the first moment", "…, halfway through the scene"
        text += rng.choice((", in the zzunk zzunk", ", a zzunk zzunk", ", zzunk zzunk the scene", ", near the end"))
    return text


def _in_free_order(noun: str, where: list[str], ground: list[str], rng: random.Random) -> str:
    parts = where + ground
    if rng.random() < 0.45:
        rng.shuffle(parts)
    if parts and rng.random() < 0.12:  # "on a blue background, a red circle at the left"
        return parts[0] + ", " + " ".join([noun, *parts[1:]])
    return noun + "".join((", " if rng.random() < 0.4 else " ") + part for part in parts)


def _noun_words(scene: Scene, rng: random.Random | None) -> list[str]:
    words = []
    if "size" in scene.says:
        words.append(scene.size if rng is None else rng.choice(_SIZE_WORDS[scene.size]))
    if "style" in scene.says:
        flat = "flat" if rng is None else rng.choice(("flat", "filled"))
        words.append("outlined" if scene.outlined else flat)
    return " ".join([*words, scene.color, scene.shape]).split()


def _article(words: list[str]) -> str:
    return "an" if words[0][0] in "aeiou" else "a"


def place_words(place: str, rng: random.Random | None) -> str:
    """Return a way to say `place`: with `rng` one of several, else the plain one."""
    if rng is None:
        return "in the center" if place == "center" else f"at the {place}"
    if place == "center":
        return rng.choice(("in the center", "in the middle of the picture", "at the center", "in the middle"))
    if " " in place:
        return rng.choice((f"at the {place}", f"in the {place} corner", f"in the {place}", f"at the {place} of the picture"))
    if place in ("left", "right"):
        return rng.choice((f"at the {place}", f"on the {place} side", f"on the {place}"))
    return rng.choice((f"at the {place}", f"near the {place}", f"on the {place}"))


def _with_unknown_words(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    for _ in range(rng.randint(1, 3)):
        words.insert(rng.randint(0, len(words)), "zzunk")  # any word outside the vocabulary has the same token id
    return " ".join(words)


def unknown_words(prompt: str, *, edits: bool = False) -> tuple[str, ...]:
    """Return the words of `prompt` that the pocket models do not know and ignore, in order, each once.

    Args:
        edits: for the one that also knows the words of wishes about pictures.
    """
    known = VOCABULARY | _UNDERSTOOD | (EDIT_WORDS if edits else frozenset())
    words = re.findall(r"[^\W_]+", prompt.lower())
    return tuple(dict.fromkeys(word for word in words if word not in known))
