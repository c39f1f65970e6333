"""Stretches of film between any number of keyframes with LTX-Video, in one pass. Run with tiny random weights only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import LTXConditionPipeline
from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition
from PIL import Image

from flux_svd.catalog import ModelSpec
from flux_svd.engines.decode import Frame, Frames
from flux_svd.engines.onepass import check_size, frames_from, round_trip, watch
from flux_svd.engines.placement import engine_errors, load_pipeline, release
from flux_svd.memory import Placement
from flux_svd.progress import OnStep
from flux_svd.recipe import OnePassRecipe, Precision

# diffusers documentation of LTX-Video: "For timestep-aware VAE variants (LTX-Video 0.9.1 and above)"
DECODE_TIMESTEP, IMAGE_NOISE = 0.05, 0.025


class LtxEngine:
    """One loaded LTX-Video."""

    def __init__(self, spec: ModelSpec, folder: Path, placement: Placement, precision: Precision) -> None:
        """Load the model.

        Raises:
            ModelUnavailable, OutOfMemory: see `load_pipeline`.
        """
        self.spec = spec
        self._pipeline = load_pipeline(LTXConditionPipeline, folder, placement, precision)

    def follow(self, placement: Placement) -> None:
        """Obey a placement that differs from the present one only in what needs no loading: nothing here."""

    def make(self, recipe: OnePassRecipe, keyframes: Sequence[Image.Image], on_step: OnStep) -> Frames:
        """Return the frames (n, height, width, 3) of a stretch, as the model makes them: keyframes are near, not exact.

        Args:
            keyframes: RGB, at exactly the recipe's size, one for each of its positions.
            on_step: may raise `Cancelled`.

        Raises:
            BadOutput: latents or frames are not finite.
            OutOfMemory: the device could not hold the work.
        """
        check_size(keyframes, recipe)
        conditions = [
            LTXVideoCondition(image=picture, frame_index=place)
            for picture, place in zip(keyframes, recipe.positions, strict=True)
        ]
        aware = self._pipeline.vae.config.timestep_conditioning
        with engine_errors(self._pipeline), torch.no_grad():
            made = self._pipeline(
                conditions=conditions, prompt=recipe.prompt, negative_prompt="", width=recipe.width, height=recipe.height,
                num_frames=recipe.frames, frame_rate=recipe.frame_rate, num_inference_steps=recipe.steps,
                guidance_scale=recipe.guidance, image_cond_noise_scale=IMAGE_NOISE,
                decode_timestep=DECODE_TIMESTEP if aware else 0.0, max_sequence_length=recipe.prompt_tokens,
                generator=torch.Generator("cpu").manual_seed(recipe.seed), output_type="np",
                callback_on_step_end=watch(recipe, on_step),
            ).frames[0]  # fmt: skip
        return frames_from(np.asarray(made), recipe)

    def round_trip(self, picture: Image.Image) -> Frame:
        """Return what the VAE makes of a picture alone: the nearest a keyframe can come."""
        vae = self._pipeline.vae
        with engine_errors(self._pipeline):
            times = (torch.tensor([DECODE_TIMESTEP], dtype=vae.dtype),) if vae.config.timestep_conditioning else ()
            alone = round_trip(self._pipeline, picture, *times)
            self._pipeline.maybe_free_model_hooks()
        return alone

    def release(self) -> None:
        """Give the memory back; the engine is of no use afterwards."""
        release(self._pipeline)
