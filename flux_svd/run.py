"""One plan on its way to artifacts: stages in order, each from the store if it was made before; reports, stops and saves."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flux_svd import artifact
from flux_svd.artifact import Artifact, ImageArtifact, JobTag, RunFacts, VideoArtifact
from flux_svd.catalog import MODELS
from flux_svd.clock import Clock
from flux_svd.encode import encode_film
from flux_svd.engines.warm import WarmEngines
from flux_svd.errors import Cancelled, InvalidRequest, OutOfMemory, StorageFailed, shorten
from flux_svd.judging import Judge, mean, rounded
from flux_svd.keyframes import Keyframes, Means, explain_choice
from flux_svd.ladder import Failure, at_precision, next_rung
from flux_svd.pictures import cover, encode_png
from flux_svd.plan import Plan, drawings_of, film_stage_names
from flux_svd.pocket.world import unknown_words
from flux_svd.progress import OnStep, Phase, Progress
from flux_svd.recipe import (
    AnyRecipe,
    GivenPicture,
    ImageRecipe,
    KeyframeRecipe,
    OnePassRecipe,
    PlannedRecipe,
    Selection,
    TransitionRecipe,
    VideoRecipe,
    drawing_of,
    fingerprint,
    latents_name,
    stage_named,
    to_json,
    with_keyframes,
)
from flux_svd.saving import Saver, choice_fact
from flux_svd.selection import LIMITS
from flux_svd.store import Stage, Store

if TYPE_CHECKING:
    from flux_svd.engines.decode import DecodedFilm
    from flux_svd.engines.trail import Trail

_LOG = logging.getLogger(__name__)
Made = TypeVar("Made")
OnProgress = Callable[[Progress], None]


class Run:
    """One plan on its way: counts, times and stops it. With a job its results have the job's names."""

    def __init__(
        self, store: Store, engines: WarmEngines, output_dir: Path, plan: Plan, report: OnProgress, stop: threading.Event,
        job: JobTag | None = None,
    ) -> None:
        self.store, self.engines = store, engines
        self.plan, self.report, self.stop, self.job = plan, report, stop, job
        self.tile = 0  # pixels of the parts decoded at once since memory ran out, 0 as planned
        self.clock = Clock(store, plan)
        self.started = time.monotonic()
        self.reused = 0
        self.notes: dict[str, None] = {}  # in order, each once
        self.saver = Saver(output_dir, job, lambda: self.plan, lambda: self._tell("save"))
        self.judge = Judge(store, engines, plan, lambda: self._tell("score"))
        means = Means(self._open_given, self._draw, self._is_drawn, self.judge.match, self.judge.likeness, LIMITS[plan.scorer])
        self.keyframes = Keyframes(plan, means)
        self._to_draw = drawings_of(plan)

    def make(self, recipe: PlannedRecipe) -> Artifact:
        """Make what `recipe`, one of the plan, describes. Where memory runs out the plan goes on a rung lower."""
        self.started, self.reused, self.notes = time.monotonic(), 0, {}
        return self._make_film(recipe) if isinstance(recipe, VideoRecipe) else self._make_image(recipe)

    def _make_image(self, planned: ImageRecipe | Selection) -> ImageArtifact:
        key = self.keyframes.make(planned)
        recipe = key.recipe
        assert isinstance(recipe, ImageRecipe)
        scores = self.judge.scores([key.name], [recipe.prompt], lambda: [key.picture])
        pairs = self._told_pairs(self.keyframes.pairs(planned))
        facts = {"scorer": self.plan.scorer, "clip_cosine": mean(scores), **self._likeness_fact(planned)}
        run = self._facts(recipe.model, {**facts, **pairs, **choice_fact(key)})
        number = f"-{self.plan.recipes.index(planned) + 1}" if self.job and len(self.plan.recipes) > 1 else ""
        name = self.saver.named(artifact.file_stem(recipe.prompt, recipe.seed)) + number
        made = self.saver.image(key.picture, recipe, run, name)
        return dataclasses.replace(made, candidates=self.saver.candidates(key, name, run))

    def _make_film(self, planned: VideoRecipe) -> VideoArtifact:
        made = [self.keyframes.make(key) for key in planned.keyframes]
        drawing_peak = self.engines.peak_bytes(self.plan.placements[0])  # from here on it is that of the video model
        pairs = self._told_pairs(self.keyframes.pairs())
        recipe, keys = with_keyframes(planned, [key.recipe for key in made]), [key.picture for key in made]
        self.clock.settle(recipe)
        with self.store.pinned(film_stage_names(recipe)):
            with self._alone(recipe):
                film = self._enduring(self._film_recipe, lambda: self._film(self._film_recipe(), keys))
                recipe = self._film_recipe()
            ends = film.facts.get("ends")
            report = self.judge.film_report(keys, recipe, ends)
            likeness = [self.keyframes.likeness(key) for key in planned.keyframes]
            told = [_rounded_or_none(value) for value in likeness]
            scores = {**self.judge.film_scores(keys, recipe), **pairs, "likeness": told}
            scores |= {"choices": rows} if any(rows := [explain_choice(key) for key in made]) else {}
        run = self._facts(recipe.model, scores)
        if self.plan.model != recipe.model:  # else every keyframe was given
            run = dataclasses.replace(run, drawing_peak_bytes=drawing_peak)
        return self.saver.film(film.data, made, recipe, dataclasses.replace(run, ends=ends, report=report))

    def _film(self, recipe: VideoRecipe, keys: Sequence[Image.Image]) -> Stage:
        """Return the encoded film of these keyframes, from the store if it was made before."""
        name = fingerprint(recipe)
        kept = self.store.find_stage(name, "mp4")
        if kept is not None:
            self.reused += 1
            return kept
        if recipe.passes:
            return self._keep_film(name, recipe, self._film_of_passes(recipe, keys))
        if recipe.join_share:
            self._animate_together(recipe, keys)
        else:
            for n, part in enumerate(recipe.transitions):  # each is kept, so that decoding takes them one by one
                self._animate(part, keys[n], keys[n + 1], n + 1, len(recipe.transitions))
        self._tell("decode")
        engine = self.engines.svd(self.plan.placement_of(recipe.transitions[0].model), recipe.transitions[0].precision)
        from flux_svd.engines.decode import stitch  # with torch, which the engine has loaded by now

        latents = stitch(map(self._kept_array, [recipe] if recipe.join_share else recipe.transitions))
        return self._keep_film(
            name, recipe, engine.decode(latents, keys, recipe.key_positions, recipe, self._on_step("decode", 0, 0, "decode"))
        )

    def _keep_film(self, name: str, recipe: VideoRecipe, film: DecodedFilm) -> Stage:
        """Encode and keep a film as its frames come."""
        self.clock.begin()
        data = encode_film(self._to_encode(film.frames), fps=recipe.fps, crf=recipe.crf, scratch=self.store.scratch)
        self.clock.reach(recipe.frames, recipe.frames)
        ends = {
            "raw_psnr": [rounded(value) for value in film.raw_psnr],
            "round_trip_psnr": [rounded(value) for value in film.round_trip_psnr],
        }
        stage = Stage(data, {"ends": ends})
        self.store.keep_stage(name, "mp4", stage.data, stage.facts)
        return stage

    def _picture(self, current: Callable[[], ImageRecipe], item: int, items: int) -> Image.Image:
        """Return the picture of the current recipe, from the store if it was drawn before."""
        recipe = current()
        name = fingerprint(recipe)
        kept = self.store.find_stage(name, "png")
        if kept is not None:
            self.reused += 1
            self.store.drop_stage(latents_name(recipe), "latents")  # a crash may have left it
            self._note(recipe, str(kept.facts.get("unread", "")))
            with Image.open(io.BytesIO(kept.data), formats=["PNG"]) as opened:
                return opened.convert("RGB")
        trails: dict[str, Trail] = {}
        picture = self._enduring(current, lambda: self._drawn(current(), trails, item, items))
        for name in trails:
            self.store.drop_stage(name, "latents")
        return picture

    def _drawn(self, recipe: ImageRecipe, trails: dict[str, Trail], item: int, items: int) -> Image.Image:
        """Draw and keep a picture, from where the trail of its latents ends."""
        if latents_name(recipe) not in trails:
            trails[latents_name(recipe)] = self._trail(recipe, "draw")
        trail = trails[latents_name(recipe)]
        self._tell("load", item, items)
        engine = self.engines.flux(self.plan.placement_of(recipe.model), recipe.precision, recipe.model_file, recipe.text_encoder)
        references = [self._reference(reference) for reference in recipe.references]
        start = self._start(recipe)
        unread = engine.prompt_overflow(recipe.prompt)
        self._note(recipe, unread)
        on_step = self._on_step("draw", item, items, "draw")
        picture: Image.Image = engine.draw(
            recipe, references, on_step, start=start, halfway=trail.halfway, on_latents=trail.keep
        )
        facts = {"unread": unread, "recipe": json.loads(to_json(recipe))}  # a lock brings the recipe back
        self.store.keep_stage(fingerprint(recipe), "png", encode_png(picture), facts)
        return picture

    def _start(self, recipe: ImageRecipe) -> Image.Image | None:
        """Return the picture the recipe begins at, cut to its shape."""
        if not recipe.start:
            return None
        with Image.open(self.store.picture(recipe.start, field="start")) as given:
            return cover(given, recipe.width, recipe.height)

    def _open_given(self, recipe: GivenPicture) -> Image.Image:
        with Image.open(self.store.picture(recipe.sha256, field="picture")) as given:
            return cover(given, recipe.width, recipe.height)

    def _draw(self, recipe: ImageRecipe) -> tuple[ImageRecipe, Image.Image]:
        """Return a picture, told as one of as many as this plan draws, and its recipe: in smaller parts where memory ran out."""
        own = drawing_of(recipe)
        item = self._to_draw.index(own) + 1 if own in self._to_draw and len(self._to_draw) > 1 else 0
        with self._alone(self._lowered(recipe)):
            picture, made = self._picture(self._image_recipe, item, len(self._to_draw) if item else 0), self._image_recipe()
        self.tile = made.decode_tile if made.decode_tile != recipe.decode_tile else self.tile
        return made, picture

    def _is_drawn(self, recipe: ImageRecipe) -> bool:
        return self.store.find_stage(fingerprint(self._lowered(recipe)), "png") is not None

    def _lowered(self, recipe: ImageRecipe) -> ImageRecipe:
        """Return the recipe as it is made since memory ran out: in smaller parts, at the precision that is left.

        A picture that is finished keeps its recipe.
        """
        lowered = [row for row in self.plan.placements if row.model == recipe.model and row.lowered]
        if not (lowered or self.tile) or self.store.find_stage(fingerprint(recipe), "png") is not None:
            return recipe
        now = at_precision(recipe, lowered[0]) if lowered else recipe
        assert isinstance(now, ImageRecipe)
        return dataclasses.replace(now, decode_tile=self.tile) if self.tile else now

    @contextmanager
    def _alone(self, recipe: ImageRecipe | VideoRecipe) -> Iterator[None]:
        """Let the plan be for this recipe alone while the block runs, as it is now that all it names is known."""
        recipes = self.plan.recipes
        self.plan = dataclasses.replace(self.plan, recipes=(recipe,))
        try:
            yield
        finally:
            self.plan = dataclasses.replace(self.plan, recipes=recipes)

    def _reference(self, reference: str) -> Image.Image:
        """Return the picture a recipe names: a stored one, or one that is a stage of its own.

        Raises:
            InvalidRequest: it is not here any more.
        """
        name = stage_named(reference)
        if not name:
            return Image.open(self.store.picture(reference))
        kept = self.store.find_stage(name, "png")
        if kept is None:
            raise InvalidRequest("references", reference, "a keyframe that is still kept on this machine; make its film again, "
                                 "or draw this one without a lock")
        return Image.open(io.BytesIO(kept.data), formats=["PNG"])

    def _note(self, recipe: ImageRecipe, unread: str) -> None:
        """Note what of the prompt has no effect on its picture."""
        if unread:
            said = f"{recipe.model} reads {recipe.prompt_tokens} tokens of a prompt; not read: {shorten(unread, 120)}"
            self.notes[said] = None
        spec = MODELS[recipe.model]
        unknown = unknown_words(recipe.prompt, edits="references" in spec.obeys) if spec.pocket else ()
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
            self._show_way(recipe, item, items)
            return
        trail = self._trail(recipe, "animate")

        def animated() -> NDArray[np.float32]:
            self._tell("load", item, items, of="transition")
            engine = self.engines.svd(self.plan.placement_of(recipe.model), recipe.precision)
            on_step = self._on_step("animate", item, items, "animate")
            return engine.sample(recipe, start, end, on_step, halfway=trail.halfway, on_latents=trail.keep)

        latents = self._enduring(lambda: recipe, animated)
        self._keep_array(name, latents)
        self.store.drop_stage(latents_name(recipe), "latents")
        with suppress(OutOfMemory):  # a strip is worth no rung
            strip = self.engines.svd(self.plan.placement_of(recipe.model), recipe.precision).strip(latents)
            if strip is not None:
                self.store.keep_stage(name, "webp", strip)
        self._show_way(recipe, item, items)

    def _show_way(self, recipe: TransitionRecipe, item: int, items: int) -> None:
        """Tell that a transition is finished, and show a few frames of it where they are kept."""
        kept, calls = self.store.find_stage(fingerprint(recipe), "webp"), recipe.unet_calls
        self.report(Progress("animate", item, items, calls, calls, self.clock.left(), strip=kept.data if kept else None))

    def _animate_together(self, recipe: VideoRecipe, keys: Sequence[Image.Image]) -> None:
        """Make and keep the latents of a whole film whose transitions are made together, unless they were made before."""
        name = latents_name(recipe)
        if self.store.find_stage(name, "npy") is not None:
            self.reused += 1
            return
        self._tell("load")
        first = recipe.transitions[0]
        engine = self.engines.svd(self.plan.placement_of(first.model), first.precision)
        self._keep_array(name, engine.sample_together(recipe, keys, self._on_step("animate", 0, 0, "animate")))

    def _film_of_passes(self, recipe: VideoRecipe, keys: Sequence[Image.Image]) -> DecodedFilm:
        """Return the film of a model that takes several keyframes at once; each stretch is a stage."""
        from flux_svd.engines.onepass import exact_film  # with torch, which an engine needs anyway

        begin = 0
        for n, part in enumerate(recipe.passes, 1):
            self._pass(part, keys[begin : begin + len(part.keyframes)], n, len(recipe.passes))
            begin += len(part.keyframes) - 1
        self._tell("decode")
        first = recipe.passes[0]
        engine = self.engines.one_pass(self.plan.placement_of(first.model), first.precision)
        return exact_film(map(self._kept_array, recipe.passes), keys, [engine.round_trip(key) for key in keys], recipe)

    def _pass(self, recipe: OnePassRecipe, keys: Sequence[Image.Image], item: int, items: int) -> None:
        """Make and keep the frames of a stretch, unless they were made before."""
        if self.store.find_stage(fingerprint(recipe), "npy") is not None:
            self.reused += 1
            return

        def made() -> NDArray[np.uint8]:
            self._tell("load", item, items, of="transition")
            engine = self.engines.one_pass(self.plan.placement_of(recipe.model), recipe.precision)
            return engine.make(recipe, keys, self._on_step("animate", item, items, "animate"))

        self._keep_array(fingerprint(recipe), self._enduring(lambda: recipe, made))

    def _keep_array(self, name: str, array: NDArray[Any]) -> None:
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        self.store.keep_stage(name, "npy", buffer.getvalue())

    def _kept_array(self, recipe: TransitionRecipe | OnePassRecipe | VideoRecipe) -> NDArray[Any]:
        """Return the kept latents (frames, c, h/8, w/8) of a transition, or of a film whose transitions are made together; of a
        stretch its frames (n, height, width, 3).

        Raises:
            StorageFailed: they are no longer there.
        """
        kept = self.store.find_stage(latents_name(recipe), "npy")
        if kept is None:
            raise StorageFailed(f"a finished transition is gone from {self.store.stages}; run again to make it anew")
        array: NDArray[Any] = np.load(io.BytesIO(kept.data), allow_pickle=False)
        return array

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
                model = recipe.model if isinstance(recipe, VideoRecipe) else getattr(recipe, "model", "")
                self.plan = next_rung(self.plan, Failure(model, error.phase))
            change = self.plan.decisions[-1]
            said = f"{change.what} {change.why}: {change.value}"
            _LOG.warning(said)
            self.notes[said] = None
            self.report(Progress("load", note=said, lowered=True))

    def _image_recipe(self) -> ImageRecipe:
        recipe = self.plan.recipes[0]
        assert isinstance(recipe, ImageRecipe)
        return recipe

    def _film_recipe(self) -> VideoRecipe:
        recipe = self.plan.recipes[0]
        assert isinstance(recipe, VideoRecipe)
        return recipe

    def _tell(self, phase: Phase, item: int = 0, items: int = 0, *, of: Literal["", "transition"] = "") -> None:
        if self.stop.is_set():
            raise Cancelled("stopped; finished parts are kept")
        self.report(Progress(phase, item, items, seconds_left=self.clock.left(), of=of))

    def _on_step(self, phase: Phase, item: int, items: int, timed: str) -> OnStep:
        self.clock.begin()

        def on_step(step: int, steps: int, preview: bytes | None) -> None:
            if self.stop.is_set():
                raise Cancelled("stopped; finished parts are kept")
            if timed == "decode":
                self.clock.reach(step, steps)
            elif timed:
                self.clock.step(timed)
            self.report(Progress(phase, item, items, step, steps, self.clock.left(), preview))

        return on_step

    def _likeness_fact(self, planned: KeyframeRecipe) -> dict[str, Any]:
        likeness = self.keyframes.likeness(planned) if self.plan.keyframes or self.plan.request.references else None
        return {} if likeness is None else {"likeness": rounded(likeness)}

    def _told_pairs(self, pairs: dict[int, float]) -> dict[str, Any]:
        """Return the likeness of neighbours as a fact, and tell at once which are too far apart to be bridged."""
        limit = LIMITS[self.plan.scorer].too_far
        for gap in [gap for gap, likeness in pairs.items() if likeness < limit]:
            said = (
                f"keyframes {gap + 1} and {gap + 2} look too different to be bridged well (likeness {pairs[gap]:.2f}, limit "
                f"{limit:.2f}): put one halfway between them (--midpoint {gap + 1}), or draw one of them again"
            )
            self.notes[said] = None
            self.report(Progress("score", note=said))
        rows = [
            {"between": [gap + 1, gap + 2], "likeness": rounded(value), "too_far": value < limit} for gap, value in pairs.items()
        ]
        return {"pairs": rows} if rows else {}

    def _facts(self, model: str, scores: dict[str, Any]) -> RunFacts:
        placement = self.plan.placement_of(model)
        seconds, peak = round(time.monotonic() - self.started, 3), self.engines.peak_bytes(placement)
        return RunFacts(seconds, placement.device, peak, scores, self.reused, notes=tuple(self.notes))


def _rounded_or_none(value: float | None) -> float | None:
    return None if value is None else rounded(value)
