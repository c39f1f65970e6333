"""Films between keyframes with Stable Video Diffusion: latents of one transition, and frames of a whole film."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from flux_svd.catalog import ModelSpec
from flux_svd.engines.decode import (
    DecodedFilm,
    Frame,
    Latents,
    decode_overlapping,
    decode_pictures,
    fade_to_keyframes,
    frames_of,
    match_colours,
)
from flux_svd.engines.inbetween import EncodedKeyframe, InbetweenPipeline, OnLatents, seeded_noise
from flux_svd.engines.joined import denoise_together
from flux_svd.engines.levers.phases import KeptOnDisk, Phases, working
from flux_svd.engines.levers.reading import read_part
from flux_svd.engines.placement import copy_on_cpu, load_pipeline, release, settle
from flux_svd.engines.preview import Preview, draw_strip
from flux_svd.engines.trail import Halfway
from flux_svd.errors import BadOutput
from flux_svd.memory import Placement
from flux_svd.pictures import psnr
from flux_svd.progress import OnStep
from flux_svd.recipe import Precision, TransitionRecipe, VideoRecipe

_BIG = ("image_encoder", "unet")  # what takes turns when parts wait on the disk; the VAE is small
AUGMENTATION_SEED = 0  # one noise for every keyframe of every film, so that a shared keyframe is encoded alike


class SvdEngine:
    """One loaded video model."""

    def __init__(self, spec: ModelSpec, folder: Path, placement: Placement, precision: Precision) -> None:
        """Load the model.

        Raises:
            ModelUnavailable, OutOfMemory: see `load_pipeline`.
        """
        self.spec = spec
        self._folder, self._precision, self._placement = folder, precision, placement
        self._phases = Phases({})
        parts = dict.fromkeys(_BIG) if placement.offload == "phases" else {}
        self._pipeline = load_pipeline(InbetweenPipeline, folder, placement, precision, parts=parts)
        if placement.offload == "phases":
            reads = {part: functools.partial(self._read, part) for part in _BIG}
            self._phases = Phases({part: KeptOnDisk(self._pipeline, part, read) for part, read in reads.items()})

    def follow(self, placement: Placement) -> None:
        """Obey a placement that differs from the present one only in what needs no loading."""
        self._placement = placement

    def sample(
        self,
        recipe: TransitionRecipe,
        start: Image.Image,
        end: Image.Image,
        on_step: OnStep,
        *,
        halfway: Halfway | None = None,
        on_latents: OnLatents | None = None,
        pin_ends: bool = True,
    ) -> NDArray[np.float32]:
        """Return the latents (kept frames, c, h, w) of one transition, scaled.

        Args:
            start, end: RGB keyframes at exactly the recipe's size.
            on_step: counts UNet calls (`recipe.unet_calls`), the even measure of time; may raise `Cancelled`.
            halfway, on_latents: see `InbetweenPipeline.__call__`.
            pin_ends: False only to measure what the ends would be without pinning.

        Raises:
            BadOutput: latents are not finite.
            OutOfMemory: the device could not hold the work.
        """
        pipeline = self._pipeline
        resident = self._placement.offload == "none"
        preview = Preview(self._decode_one, pipeline.vae_scale_factor) if resident else None

        def on_estimate(call: int, calls: int, estimate: Tensor) -> None:
            middle = estimate[:, recipe.frames // 2]  # (1, c, h, w)
            on_step(call, calls, preview.offer(lambda: middle) if preview and call < calls else None)

        with working(self._phases, "denoise", pipeline):
            self._phases.need("image_encoder")
            keys = [self._encode(picture, (recipe.width, recipe.height), recipe.noise_aug_strength) for picture in (start, end)]
            self._phases.need("unet")
            latents = pipeline(
                *keys, recipe, seeded_noise(recipe.seed), on_estimate, halfway=halfway, on_latents=on_latents, pin_ends=pin_ends
            )
            pipeline.maybe_free_model_hooks()
            kept: NDArray[np.float32] = latents[0, :: recipe.stride].cpu().numpy()
            return kept

    def strip(self, latents: NDArray[np.float32]) -> bytes | None:
        """Return a few small frames of a transition's latents (n, c, h, w) as WebP; None where that would move weights about."""
        if self._placement.offload != "none":
            return None
        with working(self._phases, "decode", self._pipeline):
            return draw_strip(self._decode_one, self._pipeline.vae_scale_factor, torch.from_numpy(latents))

    def sample_together(self, film: VideoRecipe, keyframes: Sequence[Image.Image], on_step: OnStep) -> NDArray[np.float32]:
        """Return the latents (F, c, h, w) of a film whose transitions are denoised together; see `joined`.

        Args:
            keyframes: all of them, RGB, at exactly the film's size.
            on_step: counts UNet calls (`film.unet_calls`); may raise `Cancelled`.

        Raises:
            BadOutput: latents are not finite.
            OutOfMemory: the device could not hold the work.
        """
        pipeline = self._pipeline
        strength = film.transitions[0].noise_aug_strength
        with working(self._phases, "denoise", pipeline):
            self._phases.need("image_encoder")
            keys = [self._encode(picture, (film.width, film.height), strength) for picture in keyframes]
            self._phases.need("unet")
            latents = denoise_together(pipeline, keys, film, lambda call, calls, estimate: on_step(call, calls, None))
            pipeline.maybe_free_model_hooks()
            whole: NDArray[np.float32] = latents[0].cpu().numpy()
            return whole

    def decode(
        self,
        latents: Iterable[Latents],
        keyframes: Sequence[Image.Image],
        positions: Sequence[int],
        recipe: VideoRecipe,
        on_step: OnStep,
    ) -> DecodedFilm:
        """Return the film of stitched latents, each keyframe exact at its position; the work is done as its frames are taken.

        Args:
            latents: of all frames in order, in pieces; taken one by one.
            positions: frame index of each keyframe, ascending, the first 0 and the last F − 1.
            on_step: counts frames.

        Raises, while frames are taken:
            BadOutput: a decoded value is not finite, or the whole film is one colour.
            OutOfMemory: the device could not hold the work.
        """
        keys = [frames_of(picture) for picture in keyframes]
        film = DecodedFilm(iter(()), [], [])
        frames = self._decode(latents, keyframes, dict(zip(positions, keys, strict=True)), recipe, on_step, film)
        if recipe.colour_match:
            frames = match_colours(frames, keys, positions)
        return replace(film, frames=fade_to_keyframes(frames, keys, positions, recipe.fade_frames))

    def round_trip(self, picture: Image.Image) -> Frame:
        """Return a keyframe (h, w, 3) as the VAE gives it back, encoded and decoded."""
        with working(self._phases, "decode", self._pipeline):
            self._phases.need()
            return self._round_trip(picture, self._decoder())

    def release(self) -> None:
        """Give the memory back; the engine is of no use afterwards."""
        release(self._pipeline)

    def _decode(
        self,
        latents: Iterable[Latents],
        keyframes: Sequence[Image.Image],
        keys: dict[int, Frame],
        recipe: VideoRecipe,
        on_step: OnStep,
        film: DecodedFilm,
    ) -> Iterator[Frame]:
        """Yield the frames as the VAE decodes them, and tell `film` how the keyframes, `keys` by position, came out."""
        darkest, brightest, at = 255, 0, 0
        with working(self._phases, "decode", self._pipeline):
            self._phases.need()
            vae = self._decoder()
            chunks = recipe.frames, recipe.decode_chunk, recipe.decode_overlap
            for frames in decode_overlapping(vae, latents, *chunks):
                for frame in frames:
                    if at in keys:
                        film.raw_psnr.append(psnr(frame, keys[at]))
                    yield frame
                    at += 1
                darkest, brightest = min(darkest, int(frames.min())), max(brightest, int(frames.max()))
                on_step(at, recipe.frames, None)
            best = (psnr(self._round_trip(picture, vae), frames_of(picture)) for picture in keyframes)
            film.round_trip_psnr.extend(best)
            self._pipeline.maybe_free_model_hooks()
        if darkest == brightest:
            raise BadOutput(f"The film is constant: every value is {darkest}. It was not saved.")

    def _read(self, part: str) -> Any:
        return settle(read_part(self._folder, part, self._precision), torch.device(self._placement.device))

    def _encode(self, picture: Image.Image, size: tuple[int, int], strength: float) -> EncodedKeyframe:
        if picture.size != size:
            raise ValueError(f"a keyframe of {picture.size} was given for a film of {size}")
        noise = seeded_noise(AUGMENTATION_SEED)("augmentation", (1, 3, picture.height, picture.width))
        key: EncodedKeyframe = self._pipeline.encode_keyframe(picture, strength, noise)
        return key

    def _decoder(self) -> Any:
        """Return the VAE that decodes films, where the placement has it decode."""
        return copy_on_cpu(self._pipeline.vae) if self._placement.decode_on_cpu else self._pipeline.vae

    def _round_trip(self, picture: Image.Image, vae: Any) -> Frame:
        """Return a keyframe as it comes out of the VAE; `vae` is the one that decodes the film."""
        anchor = self._pipeline.encode_anchor(picture)
        frames = next(decode_overlapping(vae, [anchor.cpu().numpy()], 1, 1, 0))
        alone: Frame = frames[0]
        return alone

    @torch.no_grad()
    def _decode_one(self, latents: Tensor) -> Tensor:
        return decode_pictures(self._pipeline.vae, latents)
