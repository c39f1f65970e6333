"""How long a plan still takes on this machine: counts steps, learns what one takes, remembers it for the next plan."""

from __future__ import annotations

import time

from flux_svd.plan import Plan
from flux_svd.recipe import (
    ImageRecipe,
    OnePassRecipe,
    PlannedRecipe,
    TransitionRecipe,
    VideoRecipe,
    candidates_of,
    fingerprint,
    latents_name,
)
from flux_svd.store import StageKind, Store


class Clock:
    """Counts the steps of a plan, learns what one takes on this machine, and tells how long is left."""

    def __init__(self, store: Store, plan: Plan) -> None:
        self.store = store
        self.keys: dict[str, str] = {}
        self.steps_left = {"draw": 0, "animate": 0, "decode": 0}  # of the last: frames to decode and encode
        self.seconds: dict[str, float | None] = {"draw": None, "animate": None, "decode": None}
        for recipe in plan.recipes:
            self._count(recipe, plan)
        for kind, key in self.keys.items():
            self.seconds[kind] = store.learned_seconds(key)
        self._last = time.monotonic()
        self._times: list[float] = []

    def predict(self) -> float | None:
        left = self.left()
        return None if left is None else round(left, 1)

    def left(self) -> float | None:
        """Return the seconds of the steps still to do, or None while some kind of step was never timed here.

        Frames that were never decoded here count nothing: they take far less time than the steps before them.
        """
        total = 0.0
        for kind, steps in self.steps_left.items():
            seconds = self.seconds[kind]
            if steps and seconds is None and kind != "decode":
                return None
            total += steps * (seconds or 0.0)
        return total

    def begin(self) -> None:
        self._last, self._times = time.monotonic(), []

    def step(self, kind: str) -> None:
        now = time.monotonic()
        self._times.append(now - self._last)
        self._last = now
        self.steps_left[kind] = max(0, self.steps_left[kind] - 1)
        warmed_up = self._times[1:] or self._times  # a first step also compiles, allocates and tunes
        self.seconds[kind] = sum(warmed_up) / len(warmed_up)
        if len(self._times) == 4:
            self.store.learn_seconds(self.keys[kind], self.seconds[kind] or 0.0)

    def reach(self, frames: int, total: int) -> None:
        """Note that a film is decoded and encoded up to so many frames since `begin`."""
        seconds = (time.monotonic() - self._last) / frames
        self.seconds["decode"] = seconds
        self.steps_left["decode"] = max(0, total - frames)
        if frames == total:
            self.store.learn_seconds(self.keys["decode"], seconds)

    def skip(self, kind: str, steps: int) -> None:
        """Leave out steps that a checkpoint has done already."""
        self.steps_left[kind] = max(0, self.steps_left[kind] - steps)

    def settle(self, film: VideoRecipe) -> None:
        """Count a film anew, now that its keyframes are known: it or transitions between ones taken before may be kept."""
        self.steps_left["animate"] = self._calls_left(film)
        self.steps_left["decode"] = self._frames_left(film)

    def _count(self, recipe: PlannedRecipe, plan: Plan) -> None:
        """Count the steps of the stages that are not in the store yet."""
        if isinstance(recipe, VideoRecipe):
            for candidate in dict.fromkeys(one for keyframe in recipe.keyframes for one in candidates_of(keyframe)):
                self._count_picture(candidate, plan)
            first = recipe.parts[0]
            method = "one pass" if isinstance(first, OnePassRecipe) else first.method
            self.keys["animate"] = f"{_place_key(plan, first.model)}/{first.width}x{first.height}x{first.frames}/{method}"
            self.steps_left["animate"] += self._calls_left(recipe)
            self.keys["decode"] = f"{_place_key(plan, first.model)}/{first.width}x{first.height}/frame"
            self.steps_left["decode"] += self._frames_left(recipe)
        else:
            for candidate in candidates_of(recipe):
                self._count_picture(candidate, plan)

    def _calls_left(self, film: VideoRecipe) -> int:
        """Return the UNet calls of the transitions that are not in the store yet."""
        if self._is_kept(film, "mp4"):
            return 0
        parts = [film] if film.join_share else film.parts
        return sum(part.unet_calls for part in parts if not self._is_kept(part, "npy"))

    def _frames_left(self, film: VideoRecipe) -> int:
        return 0 if self._is_kept(film, "mp4") else film.frames

    def _count_picture(self, recipe: ImageRecipe, plan: Plan) -> None:
        self.keys["draw"] = f"{_place_key(plan, recipe.model)}/{recipe.width}x{recipe.height}/{len(recipe.references)}"
        if recipe.cfg_scale > 1:  # two calls a step; models with classifier-free guidance of their own always take them
            self.keys["draw"] += "/cfg"
        if not self._is_kept(recipe, "png"):
            self.steps_left["draw"] += recipe.steps - recipe.first_step

    def _is_kept(self, recipe: ImageRecipe | TransitionRecipe | OnePassRecipe | VideoRecipe, kind: StageKind) -> bool:
        name = latents_name(recipe) if kind == "npy" else fingerprint(recipe)
        return self.store.stage_file(name, kind).exists()


def _place_key(plan: Plan, model: str) -> str:
    placement = plan.placement_of(model)
    return f"{model}/{placement.device}/{placement.offload}"
