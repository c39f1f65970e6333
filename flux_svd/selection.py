"""Candidates of a keyframe, which of them is best, and which neighbours are too far apart. Pure arithmetic; sees no picture.

CLIP is a weak judge: all candidates are kept, the margin is told, and what lies closer than a tie is called one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flux_svd.recipe import (
    GivenPicture,
    ImageRecipe,
    KeyframeRecipe,
    Selection,
    derive_seed,
    drawn_after,
    fingerprint,
)


@dataclass(frozen=True)
class Limits:
    """What the cosines of one scorer mean.

    Attributes:
        likeness_weight: of the likeness to the subject beside the match to the prompt, so that both tell candidates apart alike.
        near_copy: above this cosine two keyframes show the same, and nothing would move between them, so more likeness is no
            gain; `copy_weight`: the cost of each cosine beyond.
        tie: scores closer than this say nothing.
        too_far: below this two neighbours have little in common that could be bridged.
    """

    likeness_weight: float
    near_copy: float
    copy_weight: float
    tie: float
    too_far: float


LIMITS: dict[str, Limits] = {
    # docs/benchmarks/storyboard_scores.json: of 200 pairs of one moved object 5 % lie below .40, half below .78 and 5 % above
    # .94; a picture moved by one pixel changes its match by .012 at most in 95 % of 64; over candidates match and likeness
    # spread by .008 and .009. A full copy costs .48, twice what a moved object of the middle loses in likeness beside it.
    "pocket-clip": Limits(likeness_weight=1.0, near_copy=0.94, copy_weight=8.0, tie=0.012, too_far=0.40),
    # Not measured, for want of weights: two photographs of a cat have .8 to .9 by the README of zer0int/CLIP-XAI-GAME, so under
    # .75 is not even the same kind of subject; likeness varies more there than the match to a text does.
    "clip-vit-b-32": Limits(likeness_weight=0.3, near_copy=0.97, copy_weight=10.0, tie=0.01, too_far=0.75),
}


@dataclass(frozen=True)
class Choice:
    """Which candidate was taken, and how clearly.

    Attributes:
        pick: its place, from 0.
        margin: its score over the best of the others; of a tie up to −`Limits.tie`, since the first of those tied is taken.
        tie: another candidate is as good, as far as these scores can tell.
        rows: for each candidate "match", "likeness" and "copy" where there was something to compare with, and "score".
    """

    pick: int
    margin: float
    tie: bool
    rows: tuple[dict[str, float], ...]


def best_of(recipe: ImageRecipe, candidates: int) -> ImageRecipe | Selection:
    """Return a choice of `candidates` pictures: the recipe itself, and others with seeds derived from its own."""
    role = f"candidate {recipe.prompt}"  # keyframes of one film share the film's seed, but no candidates beyond the first
    others = (replace(recipe, seed=derive_seed(recipe.seed, role, index)) for index in range(1, candidates))
    return recipe if candidates == 1 else Selection((recipe, *others))


def after_subject(recipe: ImageRecipe, subject: KeyframeRecipe) -> ImageRecipe:
    """Return the recipe drawn after the picture of `subject`, beside its other references."""
    reference = subject.sha256 if isinstance(subject, GivenPicture) else drawn_after(fingerprint(subject))
    return replace(recipe, references=(reference, *recipe.references))


def choose(match: Sequence[float], likeness: Sequence[float], copies: Sequence[float], limits: Limits) -> Choice:
    """Return which candidate is best: match to its prompt, plus likeness to the subject, minus being a copy of its neighbour.

    Of those that tie with the best, the first is taken: it is nearest to the seed that was asked for.

    Args:
        match: cosine of each candidate with its prompt.
        likeness: with the subject; empty where there is none.
        copies: with the keyframe before it; empty where there is none.
    """
    rows = []
    for index, value in enumerate(match):
        row = {"match": value}
        score = value
        if likeness:
            row["likeness"] = likeness[index]
            score += limits.likeness_weight * min(likeness[index], limits.near_copy)
        if copies:
            row["copy"] = copies[index]
            score -= limits.copy_weight * max(0.0, copies[index] - limits.near_copy)
        rows.append({**row, "score": round(score, 4)})
    scores = [row["score"] for row in rows]
    pick = next(index for index, score in enumerate(scores) if score >= max(scores) - limits.tie)
    margin = scores[pick] - max(score for index, score in enumerate(scores) if index != pick)
    return Choice(pick, round(margin, 4), abs(margin) <= limits.tie, tuple(rows))
