"""One plan on its way to artifacts: stages in order, each from the store if it was made before; reports, stops and saves."""

from __future__ import annotations

import dataclasses
import datetime
import io
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flux_svd import artifact
from flux_svd.artifact import Artifact, ImageArtifact, RunFacts, VideoArtifact
from flux_svd.clock import Clock
from flux_svd.encode import encode_film
from flux_svd.engines.warm import WarmEngines
from flux_svd.errors import Cancelled
from flux_svd.pictures import encode_png
from flux_svd.plan import Plan
from flux_svd.progress import OnStep, Phase, Progress
from flux_svd.recipe import ImageRecipe, TransitionRecipe, VideoRecipe, fingerprint
from flux_svd.store import Store

SCORED_FRAMES = 64  # enough for a mean over a film; a long one is thinned evenly
OnProgress = Callable[[Progress], None]


class Run:
    """One plan on its way: counts, times and stops it."""

    def __init__(
        self, store: Store, engines: WarmEngines, output_dir: Path, plan: Plan, report: OnProgress, stop: threading.Event
    ) -> None:
        self.store, self.engines, self.output_dir = store, engines, output_dir
        self.plan, self.report, self.stop = plan, report, stop
        self.clock = Clock(store, plan)
        self.started = time.monotonic()
        self.reused = 0

    def make(self, recipe: ImageRecipe | VideoRecipe) -> Artifact:
        self.started, self.reused = time.monotonic(), 0
        if isinstance(recipe, VideoRecipe):
            return self._make_film(recipe)
        items = len(self.plan.recipes)
        return self._make_image(recipe, self.plan.recipes.index(recipe) + 1 if items > 1 else 0, items if items > 1 else 0)

    def _make_image(self, recipe: ImageRecipe, item: int, items: int) -> ImageArtifact:
        picture = self._picture(recipe, item, items)
        self._tell("score", item, items)
        scores = self._scores([picture], [recipe.prompt])
        run = self._facts(recipe.model, scores)
        return self._save_image(picture, recipe, run, artifact.file_stem(recipe.prompt, recipe.seed))

    def _make_film(self, recipe: VideoRecipe) -> VideoArtifact:
        keys = [self._picture(key, n, len(recipe.keyframes)) for n, key in enumerate(recipe.keyframes, 1)]
        parts = [
            self._transition(part, keys[n], keys[n + 1], n + 1, len(recipe.transitions))
            for n, part in enumerate(recipe.transitions)
        ]
        self._tell("decode")
        latents = np.concatenate([part[:-1] for part in parts[:-1]] + [parts[-1]])  # (frames, c, h/8, w/8)
        engine = self.engines.svd(self.plan.placement_of(recipe.transitions[0].model), recipe.transitions[0].precision)
        film = engine.decode(latents, keys, recipe.key_positions, recipe, self._on_step("decode", 0, 0, ""))
        self._tell("encode")
        data = encode_film(film.frames, fps=recipe.fps, crf=recipe.crf)
        self._tell("score")
        scores = self._film_scores(film.frames, keys, recipe)
        ends = {
            "raw_psnr": [_rounded(value) for value in film.raw_psnr],
            "round_trip_psnr": [_rounded(value) for value in film.round_trip_psnr],
        }
        run = dataclasses.replace(self._facts(recipe.transitions[0].model, scores), ends=ends)
        return self._save_film(data, keys, recipe, run)

    def _picture(self, recipe: ImageRecipe, item: int, items: int) -> Image.Image:
        """Return the picture of `recipe`, from the store if it was drawn before."""
        name = fingerprint(recipe)
        kept = self.store.find_stage(name, "png")
        if kept is not None:
            self.reused += 1
            self.clock.skip("draw", recipe.steps)
            with Image.open(io.BytesIO(kept), formats=["PNG"]) as opened:
                return opened.convert("RGB")
        self._tell("load", item, items)
        engine = self.engines.flux(self.plan.placement_of(recipe.model), recipe.precision)
        references = [Image.open(self.store.picture(reference)) for reference in recipe.references]
        picture: Image.Image = engine.draw(recipe, references, self._on_step("draw", item, items, "draw"))
        self.store.keep_stage(name, "png", encode_png(picture))
        return picture

    def _transition(
        self, recipe: TransitionRecipe, start: Image.Image, end: Image.Image, item: int, items: int
    ) -> NDArray[np.float32]:
        """Return latents (kept frames, c, h/8, w/8) of the way between two keyframes, from the store if made before."""
        name = fingerprint(recipe)
        kept = self.store.find_stage(name, "npy")
        if kept is not None:
            self.reused += 1
            self.clock.skip("animate", recipe.unet_calls)
            loaded: NDArray[np.float32] = np.load(io.BytesIO(kept), allow_pickle=False)
            return loaded
        self._tell("load", item, items)
        engine = self.engines.svd(self.plan.placement_of(recipe.model), recipe.precision)
        latents: NDArray[np.float32] = engine.sample(recipe, start, end, self._on_step("animate", item, items, "animate"))
        buffer = io.BytesIO()
        np.save(buffer, latents, allow_pickle=False)
        self.store.keep_stage(name, "npy", buffer.getvalue())
        return latents

    def _tell(self, phase: Phase, item: int = 0, items: int = 0) -> None:
        if self.stop.is_set():
            raise Cancelled("stopped; finished parts are kept")
        self.report(Progress(phase, item, items, seconds_left=self.clock.left()))

    def _on_step(self, phase: Phase, item: int, items: int, timed: str) -> OnStep:
        self.clock.begin()

        def on_step(step: int, steps: int, preview: bytes | None) -> None:
            if self.stop.is_set():
                raise Cancelled("stopped; finished parts are kept")
            if timed:
                self.clock.step(timed)
            self.report(Progress(phase, item, items, step, steps, self.clock.left(), preview))

        return on_step

    def _scores(self, pictures: Sequence[Image.Image], texts: Sequence[str]) -> dict[str, Any]:
        cosines = self.engines.scorer(self.plan.scorer).cosine(pictures, texts)
        return {"scorer": self.plan.scorer, "clip_cosine": _rounded(float(np.mean(cosines)))}

    def _film_scores(
        self, frames: NDArray[np.uint8], keys: Sequence[Image.Image], recipe: VideoRecipe
    ) -> dict[str, Any]:
        """Return the mean over the frames against the film's prompt, and each keyframe against its own stage."""
        pictures = thin([Image.fromarray(frame) for frame in frames])
        scorer = self.engines.scorer(self.plan.scorer)
        own = scorer.cosine(list(keys), [key.prompt for key in recipe.keyframes])
        whole = self._scores(pictures, [self.plan.request.prompt] * len(pictures))
        return {**whole, "keyframes": [_rounded(value) for value in own]}

    def _facts(self, model: str, scores: dict[str, Any]) -> RunFacts:
        placement = self.plan.placement_of(model)
        seconds = round(time.monotonic() - self.started, 3)
        return RunFacts(seconds, placement.device, self.engines.peak_bytes(placement), scores, self.reused)

    def _save_image(self, picture: Image.Image, recipe: ImageRecipe, run: RunFacts, name: str) -> ImageArtifact:
        data = artifact.encode_image(picture, self.plan.request, recipe)
        path = artifact.save(
            data, ".png", self._today(), self.plan.request, recipe, run, name=name, placement=self._placements()
        )
        return ImageArtifact(path, self.plan.request, recipe, run)

    def _save_film(self, data: bytes, keys: Sequence[Image.Image], recipe: VideoRecipe, run: RunFacts) -> VideoArtifact:
        request, stem = self.plan.request, artifact.file_stem(self.plan.request.prompt, self.plan.seed)
        own = run.scores["keyframes"]
        files = []
        for n, (key, part) in enumerate(zip(keys, recipe.keyframes, strict=True)):
            facts = dataclasses.replace(run, scores={"scorer": self.plan.scorer, "clip_cosine": own[n]}, ends=None)
            files.append(self._save_image(key, part, facts, f"{stem}_keyframe-{n + 1}").path)
        marked = artifact.mark_film(data, request, recipe)
        path = artifact.save(marked, ".mp4", self._today(), request, recipe, run, name=stem, placement=self._placements())
        return VideoArtifact(path, tuple(files), request, recipe, run)

    def _placements(self) -> list[dict[str, Any]]:
        return [dataclasses.asdict(placement) for placement in self.plan.placements]

    def _today(self) -> Path:
        self._tell("save")
        return self.output_dir / datetime.date.today().isoformat()


def thin(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Return at most about `SCORED_FRAMES` frames, evenly spread."""
    return list(frames[:: max(1, len(frames) // SCORED_FRAMES)])


def _rounded(value: float) -> float:
    return round(value, 4)
