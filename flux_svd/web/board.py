"""What a tab remembers of its film: its cards, what was made for them, and which candidates were taken. Pure; knows no page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flux_svd import selection
from flux_svd.recipe import KeyframeRecipe, Selection, VideoRecipe, fingerprint, renamed
from flux_svd.web.filmstrip import Way

FOUR = 4  # options of a card


@dataclass(frozen=True)
class Drawn:
    """A keyframe that was drawn: where its picture is, and its score and likeness in words."""

    address: str
    score: str
    likeness: str = ""


@dataclass(frozen=True)
class Slot:
    """A card apart from the texts in it.

    Attributes:
        written: the prompt the storyboard wrote for it; another one in the card is the user's own.
        picture: the stored picture given for it, or "".
        lock: the fingerprint of the keyframe that stays, or "".
        options: `FOUR` candidates are drawn.
        pick: which of them the user took (from 1); 0 lets the scores choose.
        way_seed: of the transition to the next card, where it was made again.
    """

    name: str
    written: str = ""
    picture: str = ""
    lock: str = ""
    options: bool = False
    pick: int = 0
    way_seed: int | None = None


@dataclass(frozen=True)
class Held:
    """A card in use: its slot, and its texts as they stand there."""

    slot: Slot
    prompt: str
    seed: str = ""
    length: str = ""

    @property
    def is_own(self) -> bool:
        """Whether the user locked it, gave it a picture or wrote its prompt."""
        wrote = bool(self.prompt.strip()) and self.prompt.strip() != self.slot.written
        return wrote or bool(self.slot.lock or self.slot.picture)

    @property
    def is_blank(self) -> bool:
        """Whether it stands as the storyboard wrote it."""
        return self == Held(Slot(self.slot.name, self.slot.written), self.slot.written)


@dataclass(frozen=True)
class Chosen:
    """How one of several candidates was taken by the scores.

    Attributes:
        pick: its place, from 0.
        rows: of each candidate "match" and, where there was something to compare with, "likeness".
        margin: over the best of the others, in the scores' own measure.
        tie: another one is as good, as far as these scores can tell.
    """

    pick: int
    rows: tuple[Mapping[str, Any], ...]
    margin: float
    tie: bool


@dataclass(frozen=True)
class Pair:
    """Two neighbouring keyframes: the cosine of their pictures, and whether that is too little to be bridged well."""

    likeness: float
    too_far: bool


@dataclass(frozen=True)
class Board:
    """The cards, what was made (by fingerprint), and the last film's player and actions as markup.

    Attributes:
        choices: by the fingerprints of all candidates.
        pairs: by the fingerprints of both keyframes.
        made: the fingerprints of the last film's transitions, and its report.
        before: the cards and all values of the form (as `read_form` takes them) that were last replaced as a whole.
    """

    slots: tuple[Slot, ...]
    drawn: dict[str, Drawn] = field(default_factory=dict)
    ways: dict[str, Way] = field(default_factory=dict)
    choices: dict[tuple[str, ...], Chosen] = field(default_factory=dict)
    pairs: dict[tuple[str, str], Pair] = field(default_factory=dict)
    made: tuple[tuple[str, ...], Mapping[str, Any]] = ((), {})
    player: str = ""
    acts: str = ""
    more: str = ""
    before: tuple[tuple[Slot, ...], tuple[Any, ...]] | None = None


def chosen_of(rows: Sequence[Mapping[str, Any]], scorer: str) -> tuple[tuple[str, ...], Chosen] | None:
    """Return the fingerprints of the candidates that a result tells of, and how one was taken; None where it tells of none."""
    if not rows:
        return None
    scores = [float(row["score"]) for row in rows]
    pick = next(index for index, row in enumerate(rows) if row["taken"])
    margin = scores[pick] - max([score for index, score in enumerate(scores) if index != pick], default=0.0)
    limits = selection.LIMITS.get(scorer)
    tie = limits is not None and abs(margin) <= limits.tie
    return tuple(str(row["stage"]) for row in rows), Chosen(pick, tuple(rows), margin, tie)


def candidates_in(keyframe: KeyframeRecipe, board: Board) -> tuple[tuple[str, ...], Chosen | None]:
    """Return the fingerprints of the candidates of a keyframe, and how one of them was taken where that is known."""
    if not isinstance(keyframe, Selection):
        return (), None
    names = tuple(fingerprint(one) for one in keyframe.candidates)
    return names, board.choices.get(names)


def settle(film: VideoRecipe, board: Board) -> tuple[VideoRecipe, tuple[KeyframeRecipe, ...]]:
    """Return the film with the candidates that were taken in place of their selections, and the keyframes with those still in.

    A selection stays where it is not known yet which of its candidates will be taken. In a loop the first card is also the last.
    """
    names: dict[str, str] = {}
    settled: list[KeyframeRecipe] = []
    shown: list[KeyframeRecipe] = []
    for index, planned in enumerate(film.keyframes):
        shown.append(renamed(planned, names))
        settled.append(_taken(shown[-1], board.slots[index % len(board.slots)].pick, board))
        names.setdefault(fingerprint(planned), fingerprint(settled[-1]))
    prints = [fingerprint(keyframe) for keyframe in settled]
    ways = tuple(replace(way, start=prints[n], end=prints[n + 1]) for n, way in enumerate(film.transitions))
    return replace(film, keyframes=tuple(settled), transitions=ways), tuple(shown)


def _taken(keyframe: KeyframeRecipe, pick: int, board: Board) -> KeyframeRecipe:
    if not isinstance(keyframe, Selection):
        return keyframe
    if 1 <= pick <= len(keyframe.candidates):
        return keyframe.candidates[pick - 1]
    chosen = candidates_in(keyframe, board)[1]
    return keyframe if chosen is None else keyframe.candidates[chosen.pick]
