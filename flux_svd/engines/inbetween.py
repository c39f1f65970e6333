"""Two-ended Stable Video Diffusion: frames that start at one keyframe and end at the next, with the stock components.

The stock pipeline sees only its first picture. Here every step is two half steps: forward in time under the first
keyframe, and backward in time under the second one (bidirectional sampling with CFG++, arXiv:2410.05651), with both ends
pinned. In the first steps the backward motion is aligned to the forward one (motion prior distillation, arXiv:2602.12679).
"fusion" goes both ways at once and mixes what they see (time-reversal fusion, arXiv:2403.14611). All is written from the papers.
Latents live in "sigma space" (clean + σ · noise) and in float32, since 700² overflows float16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from flux_svd.engines.trail import Halfway
from flux_svd.errors import BadOutput
from flux_svd.recipe import TransitionRecipe, derive_seed, first_steps

NoiseSource = Callable[[str, tuple[int, ...]], Tensor]
"""Draws standard normal noise for one place of the sampling ("start", "7/half" …); the same place gives the same noise."""

OnEstimate = Callable[[int, int, Tensor], None]
"""Called after each UNet call with (call from 1, calls, estimate of the clean latents (1, n, c, h, w))."""

OnLatents = Callable[[int, Tensor], None]
"""Called after each step with (steps done, latents (1, n, c, h, w))."""


def seeded_noise(seed: int) -> NoiseSource:
    """Return a noise source without state: each place has a generator of its own, on the CPU, for every device alike."""

    def draw(place: str, shape: tuple[int, ...]) -> Tensor:
        generator = torch.Generator("cpu").manual_seed(derive_seed(seed, f"noise {place}", 0))
        return torch.randn(shape, generator=generator)

    return draw


@dataclass(frozen=True)
class EncodedKeyframe:
    """What the sampler needs of one picture. Two latents of it, never to be mixed up:

    Attributes:
        clip: (1, 1, d), embedding for the cross-attention.
        condition: (1, c, h, w), *unscaled* mode of the picture plus augmentation noise; the UNet sees it beside each frame.
        anchor: (1, c, h, w), *scaled* latents of the clean picture; what a pinned frame is set to.
    """

    clip: Tensor
    condition: Tensor
    anchor: Tensor


@dataclass(frozen=True)
class Way:
    """One direction of a transition: conditioned on `source`, bound for `target`; `backward` runs against time."""

    source: EncodedKeyframe
    target: EncodedKeyframe
    backward: bool


class InbetweenPipeline(StableVideoDiffusionPipeline):  # type: ignore[misc]
    """Samples the latents of one transition. Loads from any folder of the stock pipeline; the VAE may be one of pictures."""

    def __init__(
        self,
        vae: AutoencoderKLTemporalDecoder | AutoencoderKL,  # diffusers warns of what is not named here; pocket-svd has the latter
        image_encoder: CLIPVisionModelWithProjection,
        unet: UNetSpatioTemporalConditionModel,
        scheduler: EulerDiscreteScheduler,
        feature_extractor: CLIPImageProcessor,
    ) -> None:
        super().__init__(vae, image_encoder, unet, scheduler, feature_extractor)

    @torch.no_grad()
    def encode_keyframe(self, picture: Image.Image, noise_aug_strength: float, noise: Tensor) -> EncodedKeyframe:
        """Return the conditions and the anchor of one picture.

        Args:
            picture: RGB, at exactly the film's size.
            noise: (1, 3, height, width), the augmentation noise; the same for all keyframes of a film.
        """
        device = self._execution_device
        clip = self._encode_image(picture, device, 1, do_classifier_free_guidance=False)  # (1, 1, d)
        pixels = self.video_processor.preprocess(picture, height=picture.height, width=picture.width)  # −1 … 1
        with self._accurate_vae():
            condition = self._encode(pixels + noise_aug_strength * noise)
            anchor = self._anchor(pixels)
        return EncodedKeyframe(clip, condition, anchor)

    @torch.no_grad()
    def encode_anchor(self, picture: Image.Image) -> Tensor:
        """Return the scaled latents of a clean picture, (1, c, h, w); of the model only the VAE works."""
        pixels = self.video_processor.preprocess(picture, height=picture.height, width=picture.width)  # −1 … 1
        with self._accurate_vae():
            return self._anchor(pixels)

    def _anchor(self, pixels: Tensor) -> Tensor:
        return self._encode(pixels) * float(self.vae.config.scaling_factor)

    @torch.no_grad()
    def __call__(
        self,
        start: EncodedKeyframe,
        end: EncodedKeyframe,
        recipe: TransitionRecipe,
        noise: NoiseSource,
        on_estimate: OnEstimate,
        *,
        halfway: Halfway | None = None,
        on_latents: OnLatents | None = None,
        pin_ends: bool = True,
    ) -> Tensor:
        """Return the latents of all frames, (1, frames, c, h, w), float32.

        Args:
            halfway: go on from what `on_latents` was given, with a bit-equal result.
            pin_ends: False leaves the first and last frame as the model makes them: the measure of what pinning does.
                The method "plain" pins nothing in any case, and never sees `end`.

        Raises:
            BadOutput: latents are not finite.
        """
        self.scheduler.set_timesteps(recipe.steps)
        device, first = start.anchor.device, 0
        if halfway is not None:
            x, first = halfway.latents.to(device), halfway.steps
        else:
            x = noise("start", (1, recipe.frames, *start.anchor.shape[1:])).to(device) * float(self.scheduler.init_noise_sigma)
        ways = Way(start, end, backward=False), Way(end, start, backward=True)
        return self.denoise(
            x, ways, recipe, noise, on_estimate, first_step=first, on_latents=on_latents, pin_ends=pin_ends
        )

    @torch.no_grad()
    def denoise(
        self,
        x: Tensor,
        ways: tuple[Way, Way],
        recipe: TransitionRecipe,
        noise: NoiseSource,
        on_estimate: OnEstimate,
        *,
        first_step: int = 0,
        until: int | None = None,
        on_latents: OnLatents | None = None,
        pin_ends: bool = True,
    ) -> Tensor:
        """Return `x` (1, n, c, h, w) denoised from step `first_step` on, to the end or before step `until`.

        The ways are gone in the given order.

        Args:
            on_latents: is told (steps done, latents) after every step; what it keeps it must copy.

        Raises:
            BadOutput: latents are not finite.
        """
        run = _Run(self, recipe, noise, on_estimate, pin_ends)
        run.calls = run.calls_until(first_step)
        for step in range(first_step, recipe.steps if until is None else until):
            x = run.take_step(x, step, ways)
            if not torch.isfinite(x).all():
                raise BadOutput(f"The frames are not finite numbers after step {step + 1} of {recipe.steps}. Nothing was saved.")
            if on_latents is not None:
                on_latents(step + 1, x)
        return x

    def estimate_clean(
        self, x: Tensor, sigma: float, timestep: Tensor, key: EncodedKeyframe, ids: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the (unconditional, conditional) estimates of the clean frames, float32, each (1, n, c, h, w).

        Source: EDM preconditioning for v-prediction, Karras et al. 2022, arXiv:2206.00364; c_noise = ln(σ) / 4.
        """
        spread = math.sqrt(sigma**2 + 1)
        condition = torch.cat([torch.zeros_like(key.condition), key.condition])[:, None]  # (2, 1, c, h, w)
        condition = condition.expand(-1, x.shape[1], -1, -1, -1)
        beside = torch.cat([torch.cat([x, x]) / spread, condition], dim=2)  # (2, n, 2·c, h, w)
        velocity = self.unet(
            beside.to(self.unet.dtype),
            timestep.to(x.device),
            encoder_hidden_states=torch.cat([torch.zeros_like(key.clip), key.clip]),  # (2, 1, d)
            added_time_ids=ids.to(x.device),
            return_dict=False,
        )[0].float()  # (2, n, c, h, w)
        unconditional, conditional = (x / spread**2 - sigma / spread * velocity).chunk(2)
        return unconditional, conditional

    def motion_ids(self, recipe: TransitionRecipe) -> Tensor:
        """Return what the UNet is told of the motion, (2, 3): frames a second less one (as SVD was trained), bucket, noise."""
        ids: Tensor = self._get_add_time_ids(
            recipe.conditioning_fps - 1, recipe.motion_bucket_id, recipe.noise_aug_strength, torch.float32, 1, 1, True
        )
        return ids

    def _encode(self, pixels: Tensor) -> Tensor:
        """Return the mode of the VAE's latents, unscaled, float32: (1, 3, H, W) → (1, c, h, w)."""
        mode = self.vae.encode(pixels.to(self._execution_device, self.vae.dtype)).latent_dist.mode()
        return mode.float()  # type: ignore[no-any-return]

    @contextmanager
    def _accurate_vae(self) -> Iterator[None]:
        """Hold the VAE in float32 where its configuration asks for it: half precision overflows in its encoder."""
        stored = self.vae.dtype
        if stored == torch.float32 or not self.vae.config.force_upcast:
            yield
            return
        # `Module.to` itself: the override of diffusers warns about every change of precision.
        torch.nn.Module.to(self.vae, torch.float32)
        try:
            yield
        finally:
            torch.nn.Module.to(self.vae, stored)


def half_step(x: Tensor, residual_of: Tensor, estimate: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """Return the Euler step from σ to σ′ towards `estimate`, with the noise that `residual_of` leaves in x.

    With the estimate itself as the residual's origin it is plain Euler; with the unconditional one it is CFG++
    (Chung et al. 2024, arXiv:2406.08070).
    """
    return estimate + (x - residual_of) * (sigma_next / sigma)


def pin(estimate: Tensor, way: Way, reach: int = 1) -> Tensor:
    """Return the estimate (1, n, c, h, w), in the way's own time, with its first and last frame set to the keyframes.

    What that changes at an end fades out over `reach` frames, the end counted, as a raised cosine: an exact frame beside others
    that miss it is a jump.
    """
    fading = fading_of(estimate.shape[1], reach, estimate.device)
    first, last = way.source.anchor - estimate[:, 0], way.target.anchor - estimate[:, -1]
    pinned = estimate + (fading * first[:, None] + fading.flip(1) * last[:, None])  # so bracketed its mirror is bit-equal
    pinned[:, 0], pinned[:, -1] = way.source.anchor, way.target.anchor
    return pinned


def fading_of(frames: int, reach: int, device: torch.device) -> Tensor:
    """Return weights (1, frames, 1, 1, 1): 1 at the first frame, falling as a raised cosine to 0 at frame `reach`."""
    away = torch.arange(frames, device=device) / reach
    return torch.where(away < 1, 0.5 + 0.5 * torch.cos(math.pi * away), 0.0).view(1, -1, 1, 1, 1)


def align_to_end(estimate: Tensor, anchor: Tensor) -> Tensor:
    """Return the forward estimate (1, n, c, h, w) shifted as a whole so that its last frame is `anchor` (1, c, h, w).

    This is what rebuilding the backward motion from the forward noise residuals comes to (arXiv:2602.12679): their
    running sum telescopes to one constant.
    """
    return estimate + (anchor - estimate[:, -1])[:, None]


def in_time_of(way: Way, frames: Tensor) -> Tensor:
    """Return frames (1, n, …) turned from film time into the way's own time, or back."""
    return torch.flip(frames, (1,)) if way.backward else frames


def along_frames(first: float, last: float, frames: Tensor) -> Tensor:
    """Return numbers from `first` to `last`, one for each of the frames (1, n, …): (1, n, 1, 1, 1)."""
    return torch.linspace(first, last, frames.shape[1], device=frames.device).view(1, -1, 1, 1, 1)


class _Run:
    """One sampling: its recipe, its noise and its table of sigmas.

    The Euler steps are our own: the scheduler's `step()` counts every call, so two half steps would walk off the table.
    """

    def __init__(
        self, pipeline: InbetweenPipeline, recipe: TransitionRecipe, noise: NoiseSource, on_estimate: OnEstimate, pin_ends: bool
    ) -> None:
        pipeline.scheduler.set_timesteps(recipe.steps)
        self._sigmas: list[float] = pipeline.scheduler.sigmas.tolist()  # steps + 1 of them, the last 0
        self._timesteps = pipeline.scheduler.timesteps
        self._ids = pipeline.motion_ids(recipe)
        self._pipeline, self._recipe, self._noise = pipeline, recipe, noise
        self._tell, self._pins = on_estimate, pin_ends
        self._aligned = first_steps(recipe.steps, recipe.motion_alignment) if recipe.method == "bidirectional" else 0
        self._repeated = first_steps(recipe.steps, recipe.renoise_share) if recipe.method == "fusion" else 0
        self.calls = 0

    def calls_until(self, step: int) -> int:
        """Return how many UNet calls the steps before `step` take."""
        each = 1 if self._recipe.method == "plain" else 2
        return each * (step + min(step, self._repeated)) + min(step, self._aligned) * self._recipe.alignment_rounds

    def take_step(self, x: Tensor, step: int, ways: tuple[Way, Way]) -> Tensor:
        """Return x (1, n, c, h, w) taken from σ of `step` to the next one."""
        if self._recipe.method == "plain":
            estimate = self._rising(x, step, ways[0])
            return half_step(x, estimate, estimate, *self._sigmas[step : step + 2])
        if self._recipe.method == "fusion":
            if step < self._repeated:
                x = self._renoise(self._fused_step(x, step, ways), step, "again")
            return self._fused_step(x, step, ways)
        for turn in range(self._recipe.alignment_rounds if step < self._aligned else 0):
            x = self._half(x, step, ways[0], align=True)
            x = self._renoise(x, step, f"align {turn}")
        x = self._half(x, step, ways[0])
        x = self._renoise(x, step, "half")
        return self._half(x, step, ways[1])

    def _half(self, x: Tensor, step: int, way: Way, *, align: bool = False) -> Tensor:
        x = in_time_of(way, x)
        unconditional, conditional = self._ask(x, step, way)
        estimate = unconditional + self._recipe.guidance * (conditional - unconditional)
        if align:
            estimate = align_to_end(estimate, way.target.anchor)
        if self._pins:
            estimate = pin(estimate, way, self._recipe.pin_reach)
        self._count(in_time_of(way, estimate))
        return in_time_of(way, half_step(x, unconditional, estimate, *self._sigmas[step : step + 2]))

    def _fused_step(self, x: Tensor, step: int, ways: tuple[Way, Way]) -> Tensor:
        """Step towards the mixture of both ways' estimates; each counts fully at its own keyframe and not at the other."""
        fused = torch.zeros_like(x)
        for way in ways:
            estimate = self._rising(in_time_of(way, x), step, way)
            if self._pins:
                estimate = pin(estimate, way, self._recipe.pin_reach)
            falling = along_frames(1, 0, estimate)
            fused += in_time_of(way, falling * estimate)
        return half_step(x, fused, fused, *self._sigmas[step : step + 2])

    def _rising(self, x: Tensor, step: int, way: Way) -> Tensor:
        """Return the estimate of x, in the way's own time, under the stock pipeline's guidance: from 1 at the first frame to the
        recipe's at the last."""
        unconditional, conditional = self._ask(x, step, way)
        estimate = unconditional + along_frames(1, self._recipe.guidance, x) * (conditional - unconditional)
        self._count(in_time_of(way, estimate))
        return estimate

    def _ask(self, x: Tensor, step: int, way: Way) -> tuple[Tensor, Tensor]:
        return self._pipeline.estimate_clean(x, self._sigmas[step], self._timesteps[step], way.source, self._ids)

    def _renoise(self, x: Tensor, step: int, place: str) -> Tensor:
        """Return x put back from the next σ to the σ of `step`."""
        spread = math.sqrt(self._sigmas[step] ** 2 - self._sigmas[step + 1] ** 2)
        return x + spread * self._noise(f"{step}/{place}", tuple(x.shape)).to(x.device)

    def _count(self, estimate: Tensor) -> None:
        self.calls += 1
        self._tell(self.calls, self._recipe.unet_calls, estimate)
