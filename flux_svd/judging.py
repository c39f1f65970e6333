"""How what was made is judged: match, likeness and the report of a film, each kept by what was asked and never judged twice."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from flux_svd import __version__
from flux_svd.catalog import MODELS
from flux_svd.encode import iterate_film
from flux_svd.engines.warm import WarmEngines
from flux_svd.metrics.film import film_report
from flux_svd.plan import Plan
from flux_svd.recipe import VideoRecipe, fingerprint
from flux_svd.store import Store

SCORED_FRAMES = 64  # enough for a mean over a film; a long one is thinned evenly


class Judge:
    """Judges what one plan makes, with its scorer; stages are called by their names."""

    def __init__(self, store: Store, engines: WarmEngines, plan: Plan, begin: Callable[[], None]) -> None:
        """Take `begin` to be told before something is judged that was not before; it may raise `Cancelled`."""
        self._store, self._engines, self._plan, self._begin = store, engines, plan, begin

    def scores(
        self,
        names: Sequence[str],
        texts: Sequence[str],
        pictures: Callable[[], Sequence[Image.Image]],
    ) -> list[float]:
        """Return the cosine of each picture and its text, from the store if these stages were scored before.

        One text for all pictures stands for as many as there are.
        """
        scorer = self._plan.scorer

        def scored() -> list[float]:
            shown = pictures()
            cosines = self._engines.scorer(scorer).cosine(shown, texts if len(texts) == len(shown) else [*texts] * len(shown))
            return [rounded(float(value)) for value in cosines]

        scores: list[float] = self._judged(["score", scorer, MODELS[scorer].revision, [*names], [*texts]], scored)
        return scores

    def match(self, names: Sequence[str], texts: Sequence[str], pictures: Sequence[Image.Image]) -> list[float]:
        """Return the cosine of each picture at hand and its text; see `scores`."""
        return self.scores(names, texts, lambda: pictures)

    def likeness(self, names: Sequence[str], pictures: Sequence[Image.Image]) -> list[list[float]]:
        """Return the cosine of every picture with every picture, from the store if these were compared before."""
        scorer = self._plan.scorer

        def compared() -> list[list[float]]:
            return [[rounded(value) for value in row] for row in self._engines.scorer(scorer).likeness(pictures)]

        matrix: list[list[float]] = self._judged(["likeness", scorer, MODELS[scorer].revision, [*names]], compared)
        return matrix

    def film_report(self, keys: Sequence[Image.Image], recipe: VideoRecipe, ends: dict[str, Any] | None) -> dict[str, Any]:
        """Return the report of the film as a player shows it, from the store if it was made before."""
        film, scorer = fingerprint(recipe), self._plan.scorer

        def reported() -> dict[str, Any]:
            frames = iterate_film(self._store.stage_file(film, "mp4"))
            pictures = [np.asarray(key) for key in keys]
            likeness = self._engines.scorer(scorer).likeness
            made = film_report(frames, recipe.key_positions, keyframes=pictures, ends=ends, likeness=likeness)
            return {**made.as_json(), "scorer": scorer}

        report: dict[str, Any] = self._judged(["report", __version__, scorer, MODELS[scorer].revision, film], reported)
        return report

    def film_scores(self, keys: Sequence[Image.Image], recipe: VideoRecipe) -> dict[str, Any]:
        """Return the mean over the film's frames against its prompt, and each keyframe against its own stage."""
        film, prints = fingerprint(recipe), [fingerprint(key) for key in recipe.keyframes]
        own = self.scores(prints, [stage.prompt for stage in self._plan.stages], lambda: keys)
        every = thinning(recipe.frames)

        def shown() -> list[Image.Image]:
            frames = iterate_film(self._store.stage_file(film, "mp4"))
            return [Image.fromarray(frame) for frame in itertools.islice(frames, 0, None, every)]

        whole = self.scores([film], [self._plan.request.prompt], shown)
        return {"scorer": self._plan.scorer, "clip_cosine": mean(whole), "keyframes": own}

    def _judged(self, asked: list[Any], judge: Callable[[], Any]) -> Any:
        """Return the JSON value that answers `asked`, from the store if it was judged before."""
        name = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
        kept = self._store.find_stage(name, "json")
        if kept is not None:
            return json.loads(kept.data)
        self._begin()
        answer = judge()
        self._store.keep_stage(name, "json", json.dumps(answer).encode())
        return answer


def thinning(frames: int) -> int:
    """Return n, where every n-th of so many frames is scored: that are `SCORED_FRAMES` or more, and less than twice as many."""
    return max(1, frames // SCORED_FRAMES)


def mean(values: Sequence[float]) -> float:
    """Return the mean as `rounded` tells it."""
    return rounded(float(np.mean(values)))


def rounded(value: float) -> float:
    """Return a score with as many digits as are told and kept."""
    return round(value, 4)
