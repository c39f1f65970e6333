"""The keyframes of one plan: drawn in order, the best of their candidates taken, compared with subject and neighbours.

Knows how pictures are had and compared only through the functions it is given; which is best is arithmetic in `selection`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from flux_svd import selection
from flux_svd.plan import Plan
from flux_svd.recipe import GivenPicture, ImageRecipe, KeyframeRecipe, candidates_of, fingerprint, renamed, stage_named
from flux_svd.selection import Choice, Limits

Drawn = tuple[ImageRecipe, Image.Image]
Match = Callable[[Sequence[str], Sequence[str], Sequence[Image.Image]], list[float]]
Likeness = Callable[[Sequence[str], Sequence[Image.Image]], list[list[float]]]


@dataclass(frozen=True)
class Keyframe:
    """A keyframe as it is.

    Attributes:
        recipe: of the picture that was taken.
        candidates: (recipe, picture) of all that were drawn for it, the taken one among them.
        choice: how it was taken; None where there was one candidate.
    """

    recipe: ImageRecipe | GivenPicture
    picture: Image.Image
    candidates: tuple[Drawn, ...] = ()
    choice: Choice | None = None

    @property
    def name(self) -> str:
        return fingerprint(self.recipe)


@dataclass(frozen=True)
class Means:
    """What the keyframes of a run are made and compared with.

    Attributes:
        open_given: gives a given picture in the film's shape.
        draw: gives the picture of a recipe, and the recipe it was made by: another where memory ran out on the way.
        is_drawn: whether that needs no drawing.
        match: cosine of each picture (named first) with the text at the same place.
        likeness: cosine of every picture with every picture.
    """

    open_given: Callable[[GivenPicture], Image.Image]
    draw: Callable[[ImageRecipe], Drawn]
    is_drawn: Callable[[ImageRecipe], bool]
    match: Match
    likeness: Likeness
    limits: Limits


@dataclass
class Keyframes:
    """The keyframes of one run of `plan`, each made once; what was taken stands for its selection from then on."""

    plan: Plan
    means: Means
    names: dict[str, str] = field(default_factory=dict)  # fingerprint in the plan → fingerprint of what was taken
    _made: dict[str, Keyframe] = field(default_factory=dict)

    def make(self, planned: KeyframeRecipe) -> Keyframe:
        """Return the keyframe of a recipe of the plan, and what it is drawn after before it."""
        name = fingerprint(planned)
        if name not in self._made:
            for subject in self._drawn_before(planned):
                self.make(subject)
            made = self._take(planned)
            self._made[name] = made
            self.names[name] = made.name
        return self._made[name]

    def subject_of(self, planned: KeyframeRecipe) -> list[tuple[str, Image.Image]]:
        """Return what a keyframe is to look like, named: the request's references, else the first keyframe unless it is that."""
        request, first = self.plan.request, self.plan.keyframes[:1]
        if request.references:
            given = [GivenPicture(one, planned.width, planned.height) for one in request.references]
            return [(one.sha256, self.means.open_given(one)) for one in given]
        if not first or first[0] == planned or not self._at_hand(first[0]):
            return []
        made = self.make(first[0])
        return [(made.name, made.picture)]

    def likeness(self, planned: KeyframeRecipe) -> float | None:
        """Return the cosine of a keyframe with the nearest picture of its subject; None where it is the subject itself."""
        subject = self.subject_of(planned)
        return self._nearest(self.make(planned), subject) if subject else None

    def pairs(self, planned: KeyframeRecipe | None = None) -> dict[int, float]:
        """Return the cosine of both keyframes of each gap (from 0) that are at hand; with `planned` of the gaps beside it."""
        found = {}
        for gap, (before, after) in enumerate(itertools.pairwise(self.plan.keyframes)):
            if (planned is None or planned in (before, after)) and self._at_hand(before) and self._at_hand(after):
                ours, theirs = self.make(before), self.make(after)
                found[gap] = self._nearest(ours, [(theirs.name, theirs.picture)])
        return found

    def _take(self, planned: KeyframeRecipe) -> Keyframe:
        recipe = renamed(planned, self.names)
        if isinstance(recipe, GivenPicture):
            return Keyframe(recipe, self.means.open_given(recipe))
        drawn = [self.means.draw(one) for one in candidates_of(recipe)]
        if len(drawn) == 1:
            return Keyframe(*drawn[0], candidates=tuple(drawn))
        choice = self._choose(planned, drawn)
        return Keyframe(*drawn[choice.pick], candidates=tuple(drawn), choice=choice)

    def _choose(self, planned: KeyframeRecipe, drawn: Sequence[Drawn]) -> Choice:
        names, pictures = [fingerprint(recipe) for recipe, _ in drawn], [picture for _, picture in drawn]
        match = self.means.match(names, [recipe.prompt for recipe, _ in drawn], pictures)
        keeps_subject = getattr(self.plan.request, "keep_subject", True)
        subject, neighbour = self.subject_of(planned) if keeps_subject else [], self._neighbour(planned)
        alike = [self._nearest_of(*one, subject) for one in zip(names, pictures, strict=True)] if subject else []
        copies = [self._nearest_of(*one, neighbour) for one in zip(names, pictures, strict=True)] if neighbour else []
        return selection.choose(match, alike, copies, self.means.limits)

    def _neighbour(self, planned: KeyframeRecipe) -> list[tuple[str, Image.Image]]:
        """Return the keyframe before this one, where it is at hand."""
        before = self.plan.keyframes[: self.plan.keyframes.index(planned)][-1:] if planned in self.plan.keyframes else ()
        return [(made.name, made.picture) for made in map(self.make, filter(self._at_hand, before))]

    def _nearest(self, keyframe: Keyframe, others: Sequence[tuple[str, Image.Image]]) -> float:
        return self._nearest_of(keyframe.name, keyframe.picture, others)

    def _nearest_of(self, name: str, picture: Image.Image, others: Sequence[tuple[str, Image.Image]]) -> float:
        """Return the highest cosine of a picture with one of the others."""
        matrix = self.means.likeness([name, *(other for other, _ in others)], [picture, *(shown for _, shown in others)])
        return max(matrix[0][1:])

    def _at_hand(self, planned: KeyframeRecipe) -> bool:
        """Return whether a keyframe can be had without drawing."""
        if fingerprint(planned) in self._made or isinstance(planned, GivenPicture):
            return True
        known = dict(self.names)
        for subject in self._drawn_before(planned):
            if not self._at_hand(subject):
                return False
            known[fingerprint(subject)] = self.make(subject).name
        return all(self.means.is_drawn(one) for one in candidates_of(renamed(planned, known)))

    def _drawn_before(self, planned: KeyframeRecipe) -> Iterator[KeyframeRecipe]:
        """Yield the keyframes of the plan that this one is drawn after."""
        wanted = {stage_named(reference) for recipe in candidates_of(planned) for reference in recipe.references}
        yield from (one for one in dict.fromkeys(self.plan.keyframes) if fingerprint(one) in wanted)


def explain_choice(keyframe: Keyframe) -> list[dict[str, Any]]:
    """Return what is known of each candidate as JSON values, in the order they were drawn."""
    if keyframe.choice is None:
        return []
    rows = zip(keyframe.candidates, keyframe.choice.rows, strict=True)
    return [
        {"stage": fingerprint(recipe), "seed": recipe.seed, **row, "taken": recipe == keyframe.recipe}
        for (recipe, _), row in rows
    ]
