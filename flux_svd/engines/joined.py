"""All transitions of a film denoised together, with windows across its inner keyframes: an experiment, off by default.

Each transition goes its first steps alone. In the others both half steps also look at a window around each inner keyframe, half
a transition to each side, and what overlaps is averaged (windows: MultiDiffusion, arXiv:2302.08113; in time: arXiv:2412.11755).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from flux_svd.engines.inbetween import (
    EncodedKeyframe,
    InbetweenPipeline,
    OnEstimate,
    Way,
    half_step,
    in_time_of,
    pin,
    seeded_noise,
)
from flux_svd.errors import BadOutput
from flux_svd.recipe import TransitionRecipe, VideoRecipe, first_steps


@torch.no_grad()
def denoise_together(
    pipeline: InbetweenPipeline, keys: Sequence[EncodedKeyframe], film: VideoRecipe, on_estimate: OnEstimate
) -> Tensor:
    """Return the latents of the whole film, (1, F, c, h, w), float32, each keyframe pinned.

    Args:
        keys: all keyframes, one more than the film's transitions.
        film: its transitions differ only in their ends, seeds and numbers of frames, of which every one is kept.
        on_estimate: counts the film's UNet calls.

    Raises:
        BadOutput: latents are not finite.
    """
    sampling = _Together(pipeline, keys, film, on_estimate)
    x = sampling.go_alone()
    for step in range(sampling.alone, sampling.steps):
        x = sampling.renoise(sampling.half(x, step, backward=False), step)
        x = sampling.half(x, step, backward=True)
        if not torch.isfinite(x).all():
            raise BadOutput(f"The frames are not finite numbers after step {step + 1} of {sampling.steps}. Nothing was saved.")
    return x


class _Together:
    def __init__(
        self, pipeline: InbetweenPipeline, keys: Sequence[EncodedKeyframe], film: VideoRecipe, on_estimate: OnEstimate
    ) -> None:
        self._pipeline, self._keys, self._film, self._on_estimate = pipeline, keys, film, on_estimate
        self._recipe = film.transitions[0]
        self._positions = film.key_positions
        self.steps = self._recipe.steps
        self.alone = self.steps - first_steps(self.steps, film.join_share)
        pipeline.scheduler.set_timesteps(self.steps)
        self._sigmas: list[float] = pipeline.scheduler.sigmas.tolist()
        self._timesteps = pipeline.scheduler.timesteps
        self._calls = 0

    def go_alone(self) -> Tensor:
        """Return the film's latents (1, F, c, h, w) after the steps that each transition takes alone."""
        parts = []
        for n, recipe in enumerate(self._film.transitions):
            start, end = self._keys[n : n + 2]
            x = seeded_noise(recipe.seed)("start", self._shape(recipe)).to(start.anchor.device)
            x = x * float(self._pipeline.scheduler.init_noise_sigma)
            ways = Way(start, end, backward=False), Way(end, start, backward=True)
            parts.append(self._pipeline.denoise(x, ways, recipe, seeded_noise(recipe.seed), self._tell, until=self.alone))
        return _stitched(parts)

    def half(self, x: Tensor, step: int, *, backward: bool) -> Tensor:
        """Return x (1, F, c, h, w) after one half step, in film time."""
        weight = torch.zeros((1, x.shape[1], 1, 1, 1), device=x.device)
        estimate, unconditional = torch.zeros_like(x), torch.zeros_like(x)

        def look(begin: int, end: int, way: Way, own: Tensor, pinned: int | None) -> None:
            """Add what the UNet makes of frames `begin` to `end`; `own` (n,) are its weights, in film time."""
            free, bound = self._ask(in_time_of(way, x[:, begin : end + 1]), step, way)
            guided = free + self._recipe.guidance * (bound - free)
            if pinned is None:
                guided = pin(guided, way, self._recipe.pin_reach)
            else:
                guided[:, pinned] = way.target.anchor
            self._tell(0, 0, in_time_of(way, guided))
            share = own.view(1, -1, 1, 1, 1).to(x.device)
            estimate[:, begin : end + 1] += share * in_time_of(way, guided)
            unconditional[:, begin : end + 1] += share * in_time_of(way, free)
            weight[:, begin : end + 1] += share

        for n, (begin, end) in enumerate(zip(self._positions, self._positions[1:], strict=False)):
            first, last = self._keys[n : n + 2]
            way = Way(last, first, backward=True) if backward else Way(first, last, backward=False)
            look(begin, end, way, torch.ones(end - begin + 1), None)
        so_far = estimate / weight
        for n, middle in enumerate(self._positions[1:-1], 1):
            reach = min(middle - self._positions[n - 1], self._positions[n + 1] - middle) // 2
            begin, end = middle - reach, middle + reach
            source = self._seen_from(so_far[:, end if backward else begin], self._keys[n])
            look(begin, end, Way(source, self._keys[n], backward), triangle(reach), reach)
        estimate, unconditional = estimate / weight, unconditional / weight
        for key, position in zip(self._keys, self._positions, strict=True):
            estimate[:, position] = key.anchor
        return half_step(x, unconditional, estimate, *self._sigmas[step : step + 2])

    def renoise(self, x: Tensor, step: int) -> Tensor:
        """Return x put back from the next σ to the σ of `step`, with each transition's own noise."""
        spread = math.sqrt(self._sigmas[step] ** 2 - self._sigmas[step + 1] ** 2)
        parts = [seeded_noise(recipe.seed)(f"{step}/half", self._shape(recipe)) for recipe in self._film.transitions]
        return x + spread * _stitched(parts).to(x.device)

    def _seen_from(self, clean: Tensor, key: EncodedKeyframe) -> EncodedKeyframe:
        """Return the condition of a window that begins at a frame (1, c, h, w) not yet finished, with the subject of `key`."""
        return replace(key, condition=clean / self._pipeline.vae.config.scaling_factor)

    def _ask(self, x: Tensor, step: int, way: Way) -> tuple[Tensor, Tensor]:
        ids = self._pipeline.motion_ids(self._recipe)
        return self._pipeline.estimate_clean(x, self._sigmas[step], self._timesteps[step], way.source, ids)

    def _tell(self, call: int, calls: int, estimate: Tensor) -> None:
        self._calls += 1
        self._on_estimate(self._calls, self._film.unet_calls, estimate)

    def _shape(self, recipe: TransitionRecipe) -> tuple[int, ...]:
        return (1, recipe.frames, *self._keys[0].anchor.shape[1:])


def triangle(reach: int) -> Tensor:
    """Return the weights (2 · reach + 1,) of a window's frames: from nothing at its ends to 1 at the keyframe in its middle."""
    return 1 - torch.arange(-reach, reach + 1).abs() / reach


def _stitched(parts: Sequence[Tensor]) -> Tensor:
    """Return parts (1, n, …) as one film; of a shared frame the later part's is kept, as when they are made alone."""
    return torch.cat([*(part[:, :-1] for part in parts[:-1]), parts[-1]], dim=1)
