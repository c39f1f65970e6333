"""One plan on its way to artifacts: stages in order, each from the store if it was made before; reports, stops and saves."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import io
import itertools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flux_svd import __version__, artifact
from flux_svd.artifact import Artifact, ImageArtifact, JobTag, RunFacts, VideoArtifact
from flux_svd.catalog import MODELS
from flux_svd.clock import Clock
from flux_svd.encode import encode_film, iterate_film
from flux_svd.engines.warm import WarmEngines
from flux_svd.errors import Cancelled, OutOfMemory, StorageFailed, shorten
from flux_svd.ladder import Failure, next_rung
from flux_svd.metrics.film import film_report
from flux_svd.pictures import cover, encode_png
from flux_svd.plan import Plan
from flux_svd.pocket.world import unknown_words
from flux_svd.progress import OnStep, Phase, Progress
from flux_svd.recipe import (
    AnyRecipe,
    GivenPicture,
    ImageRecipe,
    KeyframeRecipe,
    TransitionRecipe,
    VideoRecipe,
    fingerprint,
    latents_name,
)
from flux_svd.store import Stage, Store

if TYPE_CHECKING:
    from flux_svd.engines.trail import Trail

_LOG = logging.getLogger(__name__)
Made = TypeVar("Made")
SCORED_FRAMES = 64  # enough for a mean over a film; a long one is thinned evenly
OnProgress = Callable[[Progress], None]


class Run:
    """One plan on its way: counts, times and stops it. With a job its results have the job's names."""

    def __init__(
        self, store: Store, engines: WarmEngines, output_dir: Path, plan: Plan, report: OnProgress, stop: threading.Event,
        job: JobTag | None = None,
    ) -> None:
        self.store, self.engines, self.output_dir = store, engines, output_dir
        self.plan, self.report, self.stop, self.job = plan, report, stop, job
        self.given, self.at = plan.recipes, 0
        self.clock = Clock(store, plan)
        self.started = time.monotonic()
        self.reused = 0
        self.notes: dict[str, None] = {}  # in order, each once

    def make(self, recipe: ImageRecipe | VideoRecipe) -> Artifact:
        """Make what `recipe`, one of the plan, describes. Where memory runs out the plan goes on a rung lower."""
        self.started, self.reused, self.notes = time.monotonic(), 0, {}
        self.at = self.given.index(recipe)
        if isinstance(recipe, VideoRecipe):
            return self._make_film()
        items = len(self.given)
        return self._make_image(self.at + 1 if items > 1 else 0, items if items > 1 else 0)

    def _make_image(self, item: int, items: int) -> ImageArtifact:
        picture = self._picture(self._image_recipe, item, items)
        recipe = self._image_recipe()
        scores = self._scores([fingerprint(recipe)], [recipe.prompt], lambda: [picture])
        run = self._facts(recipe.model, {"scorer": self.plan.scorer, "clip_cosine": _mean(scores)})
        name = self._named(artifact.file_stem(recipe.prompt, recipe.seed)) + (f"-{item}" if self.job and items else "")
        return self._save_image(picture, recipe, run, name)

    def _make_film(self) -> VideoArtifact:
        wanted = self._film_recipe().keyframes
        firsts = [wanted.index(key) for key in wanted]  # a loop ends where it began
        keys: list[Image.Image] = []
        for n, first in enumerate(firsts):
            drawn = len(set(firsts[: n + 1]))
            keys.append(keys[first] if first < n else self._picture(self._keyframe(n), drawn, len(set(firsts))))
        film = self._enduring(self._film_recipe, lambda: self._film(self._film_recipe(), keys))
        recipe = self._film_recipe()
        ends = film.facts.get("ends")
        report = self._film_report(keys, recipe, ends)
        run = self._facts(recipe.transitions[0].model, self._film_scores(keys, recipe))
        return self._save_film(film.data, keys, recipe, dataclasses.replace(run, ends=ends, report=report))

    def _film(self, recipe: VideoRecipe, keys: Sequence[Image.Image]) -> Stage:
        """Return the encoded film of these keyframes, from the store if it was made before."""
        name = fingerprint(recipe)
        kept = self.store.find_stage(name, "mp4")
        if kept is not None:
            self.reused += 1
            return kept
        for n, part in enumerate(recipe.transitions):  # each is kept, so that decoding takes them one by one
            self._animate(part, keys[n], keys[n + 1], n + 1, len(recipe.transitions))
        self._tell("decode")
        engine = self.engines.svd(self.plan.placement_of(recipe.transitions[0].model), recipe.transitions[0].precision)
        from flux_svd.engines.decode import stitch  # with torch, which the engine has loaded by now

        latents = stitch(map(self._latents, recipe.transitions))
        film = engine.decode(latents, keys, recipe.key_positions, recipe, self._on_step("decode", 0, 0, ""))
        data = encode_film(self._to_encode(film.frames), fps=recipe.fps, crf=recipe.crf, scratch=self.store.scratch)
        ends = {
            "raw_psnr": [_rounded(value) for value in film.raw_psnr],
            "round_trip_psnr": [_rounded(value) for value in film.round_trip_psnr],
        }
        stage = Stage(data, {"ends": ends})
        self.store.keep_stage(name, "mp4", stage.data, stage.facts)
        return stage

    def _picture(self, current: Callable[[], KeyframeRecipe], item: int, items: int) -> Image.Image:
        """Return the picture of the current recipe: a given one fitted, any other from the store if it was drawn before."""
        recipe = current()
        if isinstance(recipe, GivenPicture):
            with Image.open(self.store.picture(recipe.sha256)) as given:
                return cover(given, recipe.width, recipe.height)
        name = fingerprint(recipe)
        kept = self.store.find_stage(name, "png")
        if kept is not None:
            self.reused += 1
            self.store.drop_stage(latents_name(recipe), "latents")  # a crash may have left it
            self._note(recipe, str(kept.facts.get("unread", "")))
            with Image.open(io.BytesIO(kept.data), formats=["PNG"]) as opened:
                return opened.convert("RGB")
        trail = self._trail(recipe, "draw")
        picture = self._enduring(current, lambda: self._drawn(current(), trail, item, items))
        self.store.drop_stage(latents_name(recipe), "latents")
        return picture

    def _drawn(self, recipe: KeyframeRecipe, trail: Trail, item: int, items: int) -> Image.Image:
        """Draw and keep a picture, from where its trail ends."""
        assert isinstance(recipe, ImageRecipe)
        self._tell("load", item, items)
        engine = self.engines.flux(self.plan.placement_of(recipe.model), recipe.precision)
        references = [Image.open(self.store.picture(reference)) for reference in recipe.references]
        unread = engine.prompt_overflow(recipe.prompt)
        self._note(recipe, unread)
        picture: Image.Image = engine.draw(
            recipe, references, self._on_step("draw", item, items, "draw"), halfway=trail.halfway, on_latents=trail.keep
        )
        self.store.keep_stage(fingerprint(recipe), "png", encode_png(picture), {"unread": unread})
        return picture

    def _note(self, recipe: ImageRecipe, unread: str) -> None:
        """Note what of the prompt has no effect on its picture."""
        if unread:
            said = f"{recipe.model} reads {recipe.prompt_tokens} tokens of a prompt; not read: {shorten(unread, 120)}"
            self.notes[said] = None
        unknown = unknown_words(recipe.prompt) if MODELS[recipe.model].pocket else ()
        if unknown:
            self.notes[f"{recipe.model} does not know, and ignored: {', '.join(unknown)}"] = None

    def _to_encode(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames; encoding goes along with decoding, and what is left of it after the last frame is told."""
        yield from frames
        self._tell("encode")

    def _animate(self, recipe: TransitionRecipe, start: Image.Image, end: Image.Image, item: int, items: int) -> None:
        """Make and keep the latents of the way between two keyframes, unless they were made before."""
        name = fingerprint(recipe)
        if self.store.find_stage(name, "npy") is not None:
            self.reused += 1
            self.store.drop_stage(latents_name(recipe), "latents")  # a crash may have left it
            return
        trail = self._trail(recipe, "animate")

        def animated() -> NDArray[np.float32]:
            self._tell("load", item, items)
            engine = self.engines.svd(self.plan.placement_of(recipe.model), recipe.precision)
            on_step = self._on_step("animate", item, items, "animate")
            return engine.sample(recipe, start, end, on_step, halfway=trail.halfway, on_latents=trail.keep)

        buffer = io.BytesIO()
        np.save(buffer, self._enduring(lambda: recipe, animated), allow_pickle=False)
        self.store.keep_stage(name, "npy", buffer.getvalue())
        self.store.drop_stage(latents_name(recipe), "latents")

    def _latents(self, recipe: TransitionRecipe) -> NDArray[np.float32]:
        """Return the kept latents (kept frames, c, h/8, w/8) of a transition.

        Raises:
            StorageFailed: they are no longer there.
        """
        kept = self.store.find_stage(fingerprint(recipe), "npy")
        if kept is None:
            raise StorageFailed(f"a finished transition is gone from {self.store.stages}; run again to make it anew")
        loaded: NDArray[np.float32] = np.load(io.BytesIO(kept.data), allow_pickle=False)
        return loaded

    def _trail(self, recipe: ImageRecipe | TransitionRecipe, kind: str) -> Trail:
        """Return the checkpoints of the recipe's latents; what they hold already is not to do any more."""
        from flux_svd.engines.trail import Trail

        trail = Trail(self.store, latents_name(recipe))
        if trail.halfway is not None:
            calls = recipe.unet_calls if isinstance(recipe, TransitionRecipe) else recipe.steps
            self.clock.skip(kind, calls * trail.halfway.steps // recipe.steps)
        return trail

    def _enduring(self, current: Callable[[], AnyRecipe], work: Callable[[], Made]) -> Made:
        """Return what `work` makes; each time memory runs out, the plan goes on a rung lower and the work begins again.

        Raises:
            DoesNotFit: no rung is left.
        """
        while True:
            try:
                return work()
            except OutOfMemory as error:
                recipe = current()
                model = recipe.transitions[0].model if isinstance(recipe, VideoRecipe) else getattr(recipe, "model", "")
                self.plan = next_rung(self.plan, Failure(model, error.phase, fingerprint(recipe)))
            change = self.plan.decisions[-1]
            said = f"{change.what} {change.why}: {change.value}"
            _LOG.warning(said)
            self.notes[said] = None
            self.report(Progress("load", note=said))

    def _image_recipe(self) -> ImageRecipe:
        recipe = self.plan.recipes[self.at]
        assert isinstance(recipe, ImageRecipe)
        return recipe

    def _film_recipe(self) -> VideoRecipe:
        recipe = self.plan.recipes[self.at]
        assert isinstance(recipe, VideoRecipe)
        return recipe

    def _keyframe(self, number: int) -> Callable[[], KeyframeRecipe]:
        return lambda: self._film_recipe().keyframes[number]

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

    def _scores(
        self, names: Sequence[str], texts: Sequence[str],
        pictures: Callable[[], Sequence[Image.Image]],
    ) -> list[float]:
        """Return the cosine of each picture and its text, from the store if these stages were scored before.

        One text for all pictures stands for as many as there are.
        """
        scorer = self.plan.scorer

        def scored() -> list[float]:
            shown = pictures()
            cosines = self.engines.scorer(scorer).cosine(shown, texts if len(texts) == len(shown) else [*texts] * len(shown))
            return [_rounded(float(value)) for value in cosines]

        scores: list[float] = self._judged(["score", scorer, MODELS[scorer].revision, [*names], [*texts]], scored)
        return scores

    def _film_report(self, keys: Sequence[Image.Image], recipe: VideoRecipe, ends: dict[str, Any] | None) -> dict[str, Any]:
        """Return the report of the film as a player shows it, from the store if it was made before."""
        film, scorer = fingerprint(recipe), self.plan.scorer

        def reported() -> dict[str, Any]:
            frames = iterate_film(self.store.stage_file(film, "mp4"))
            pictures = [np.asarray(key) for key in keys]
            likeness = self.engines.scorer(scorer).likeness
            made = film_report(frames, recipe.key_positions, keyframes=pictures, ends=ends, likeness=likeness)
            return {**made.as_json(), "scorer": scorer}

        report: dict[str, Any] = self._judged(["report", __version__, scorer, MODELS[scorer].revision, film], reported)
        return report

    def _judged(self, asked: list[Any], judge: Callable[[], Any]) -> Any:
        """Return the JSON value that answers `asked`, from the store if it was judged before."""
        name = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
        kept = self.store.find_stage(name, "json")
        if kept is not None:
            return json.loads(kept.data)
        self._tell("score")
        answer = judge()
        self.store.keep_stage(name, "json", json.dumps(answer).encode())
        return answer

    def _film_scores(self, keys: Sequence[Image.Image], recipe: VideoRecipe) -> dict[str, Any]:
        """Return the mean over the film's frames against its prompt, and each keyframe against its own stage."""
        film, prints = fingerprint(recipe), [fingerprint(key) for key in recipe.keyframes]
        own = self._scores(prints, [stage.prompt for stage in self.plan.stages], lambda: keys)
        every = max(1, recipe.frames // SCORED_FRAMES)

        def shown() -> list[Image.Image]:
            frames = iterate_film(self.store.stage_file(film, "mp4"))
            return [Image.fromarray(frame) for frame in itertools.islice(frames, 0, None, every)]

        whole = self._scores([film], [self.plan.request.prompt], shown)
        return {"scorer": self.plan.scorer, "clip_cosine": _mean(whole), "keyframes": own}

    def _facts(self, model: str, scores: dict[str, Any]) -> RunFacts:
        placement = self.plan.placement_of(model)
        seconds, peak = round(time.monotonic() - self.started, 3), self.engines.peak_bytes(placement)
        return RunFacts(seconds, placement.device, peak, scores, self.reused, notes=tuple(self.notes))

    def _save_image(self, picture: Image.Image, recipe: ImageRecipe, run: RunFacts, name: str) -> ImageArtifact:
        data = artifact.encode_image(picture, self.plan.request, recipe)
        path = self._save(data, ".png", recipe, run, name)
        return ImageArtifact(path, self.plan.request, recipe, run)

    def _save_film(self, data: bytes, keys: Sequence[Image.Image], recipe: VideoRecipe, run: RunFacts) -> VideoArtifact:
        request = self.plan.request
        stem = self._named(artifact.file_stem(request.prompt, self.plan.seed))
        own = run.scores["keyframes"]
        files = []
        for n, (key, part) in enumerate(zip(keys, recipe.keyframes, strict=True)):
            if isinstance(part, GivenPicture):  # the user's own picture: neither made here nor marked as made by a model
                name = f"{stem}_keyframe-{n + 1}"
                files.append(artifact.place(encode_png(key), ".png", self._folder(), name=name, job=self.job))
                continue
            facts = dataclasses.replace(run, scores={"scorer": self.plan.scorer, "clip_cosine": own[n]}, ends=None, report=None)
            files.append(self._save_image(key, part, facts, f"{stem}_keyframe-{n + 1}").path)
        path = self._save(artifact.mark_film(data, request, recipe), ".mp4", recipe, run, stem)
        return VideoArtifact(path, tuple(files), request, recipe, run)

    def _save(self, data: bytes, suffix: str, recipe: ImageRecipe | VideoRecipe, run: RunFacts, name: str) -> Path:
        self._tell("save")
        return artifact.save(
            data, suffix, self._folder(), self.plan.request, recipe, run, name=name, placement=self._placements(), job=self.job
        )

    def _folder(self) -> Path:
        return self.output_dir / (self.job.day if self.job else datetime.date.today().isoformat())

    def _named(self, stem: str) -> str:
        return f"{stem}_{self.job.id}" if self.job else stem

    def _placements(self) -> list[dict[str, Any]]:
        return [dataclasses.asdict(placement) for placement in self.plan.placements]


def thin(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Return at most about `SCORED_FRAMES` frames, evenly spread."""
    return list(frames[:: max(1, len(frames) // SCORED_FRAMES)])


def _rounded(value: float) -> float:
    return round(value, 4)


def _mean(values: Sequence[float]) -> float:
    return _rounded(float(np.mean(values)))
