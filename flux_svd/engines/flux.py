"""Pictures with FLUX.1 and FLUX.2 through the stock diffusers pipelines. Draws what a recipe says; decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import Flux2KleinPipeline, Flux2Pipeline, FluxPipeline
from diffusers.pipelines.flux2.pipeline_flux2 import format_input
from PIL import Image
from torch import Tensor

from flux_svd.catalog import Family, ModelSpec
from flux_svd.engines.placement import engine_errors, load_pipeline, release
from flux_svd.engines.preview import FluxPreview
from flux_svd.errors import BadOutput, InvalidRequest
from flux_svd.memory import Placement
from flux_svd.progress import OnStep
from flux_svd.recipe import ImageRecipe, Precision

PIPELINES: dict[Family, Any] = {
    "flux1": FluxPipeline,
    "flux2-klein": Flux2KleinPipeline,
    "flux2": Flux2Pipeline,
}
NO_GUIDANCE = 1.0  # of an embedded value and of a classifier-free scale alike: the prompt's own prediction, unchanged


class FluxEngine:
    """One loaded image model. Sizes, prompts, steps and seeds change from picture to picture; weights stay."""

    def __init__(self, spec: ModelSpec, folder: Path, placement: Placement, precision: Precision) -> None:
        """Load the model.

        Raises:
            ModelUnavailable, OutOfMemory: see `load_pipeline`.
        """
        self.spec = spec
        self._resident = placement.offload == "none"
        self._pipeline = load_pipeline(PIPELINES[spec.family], folder, placement, precision)

    def draw(self, recipe: ImageRecipe, references: Sequence[Image.Image], on_step: OnStep) -> Image.Image:
        """Return the picture of `recipe`; the same recipe gives the same picture.

        Args:
            references: RGB pictures in the recipe's order (FLUX.2 only).
            on_step: may raise `Cancelled`; the engine stays usable.

        Raises:
            BadOutput: latents or pixels are not finite, or the picture is constant.
            InvalidRequest: a negative prompt or a reference that this recipe has no use for.
            OutOfMemory: the device could not hold the work.
        """
        pipeline = self._pipeline
        with engine_errors(pipeline), torch.no_grad():
            _decode_in_tiles(pipeline.vae, recipe.tiled_decode)
            pixels = pipeline(
                **self._arguments(recipe, references),
                height=recipe.height,
                width=recipe.width,
                num_inference_steps=recipe.steps,
                max_sequence_length=recipe.prompt_tokens,
                # On the CPU, where the stream of numbers is the same whatever device draws.
                generator=torch.Generator("cpu").manual_seed(recipe.seed),
                callback_on_step_end=self._watch(recipe, on_step),
                output_type="pt",
            ).images  # (1, 3, height, width), 0 … 1
            return _to_picture(pixels)

    def prompt_overflow(self, prompt: str) -> str:
        """Return the tail of `prompt` that the encoder carrying the meaning does not read; "" if it reads all."""
        text, tokenizer = self._as_encoded(prompt)
        offsets = tokenizer(text, truncation=True, max_length=self.spec.prompt_tokens, return_offsets_mapping=True)[
            "offset_mapping"
        ]
        read = max(end for _, end in offsets)
        begin = text.find(prompt.strip())
        end = begin + len(prompt.strip()) if begin >= 0 else len(text)  # what follows is the chat template's
        return text[read:end].strip()

    def release(self) -> None:
        """Give the memory back; the engine is of no use afterwards."""
        release(self._pipeline)

    def _arguments(self, recipe: ImageRecipe, references: Sequence[Image.Image]) -> dict[str, Any]:
        """Return what differs between the families: prompt, guidance and references."""
        free = recipe.guidance_kind == "classifier-free"
        if recipe.negative_prompt and not free:
            raise InvalidRequest("negative_prompt", recipe.negative_prompt, "only with classifier-free guidance")
        arguments: dict[str, Any] = {"prompt": recipe.prompt}
        scale = recipe.guidance if recipe.guidance_kind != "none" else NO_GUIDANCE
        if self.spec.family == "flux1":
            if references:
                raise InvalidRequest("references", len(references), f"none with {self.spec.name}")
            if free:
                # The empty string counts: guidance away from the empty prompt. The embedded value is switched off,
                # else both kinds of guidance would multiply.
                return arguments | {
                    "guidance_scale": NO_GUIDANCE, "true_cfg_scale": scale, "negative_prompt": recipe.negative_prompt,
                }  # fmt: skip
            return arguments | {"guidance_scale": scale}
        for picture in references:
            _check_reference(picture)
        arguments |= {"guidance_scale": scale, "image": list(references) or None}
        if self.spec.family == "flux2-klein" and free and scale > NO_GUIDANCE:
            arguments["negative_prompt_embeds"] = self._pipeline.encode_prompt(
                prompt=recipe.negative_prompt, max_sequence_length=recipe.prompt_tokens
            )[0]
        return arguments

    def _watch(self, recipe: ImageRecipe, on_step: OnStep) -> Callable[..., dict[str, Any]]:
        previews = FluxPreview(self._pipeline, recipe.width, recipe.height) if self._resident else None

        def after_step(pipeline: Any, step: int, timestep: Tensor, state: dict[str, Any]) -> dict[str, Any]:
            latents = state["latents"]
            # Waiting for this answer also keeps the host from running ahead of the device: progress stays true.
            if not torch.isfinite(latents).all():
                raise BadOutput(_what_is_wrong(latents, f"latents after step {step + 1} of {recipe.steps}"))
            on_step(step + 1, recipe.steps, previews.after_step(step, latents) if previews else None)
            return state

        return after_step

    def _as_encoded(self, prompt: str) -> tuple[str, Any]:
        """Return the text the meaning encoder gets for `prompt`, and its tokenizer."""
        pipeline = self._pipeline
        if self.spec.family == "flux1":
            return prompt, pipeline.tokenizer_2
        if self.spec.family == "flux2-klein":
            chat = [{"role": "user", "content": prompt}]
            text = pipeline.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True, enable_thinking=False)
            return text, pipeline.tokenizer
        chat = format_input([prompt], system_message=pipeline.system_message)[0]
        return pipeline.tokenizer.apply_chat_template(chat, tokenize=False), pipeline.tokenizer.tokenizer


def _decode_in_tiles(vae: Any, tiled: bool) -> None:
    """Set, for this picture alone, whether the VAE works in tiles and slices."""
    if tiled:
        vae.enable_tiling()
        vae.enable_slicing()
    else:
        vae.disable_tiling()
        vae.disable_slicing()


def _check_reference(picture: Image.Image) -> None:
    """Check what the FLUX.2 pipelines accept: `Flux2ImageProcessor.check_image_input` of diffusers 0.42.1."""
    short, long = sorted(picture.size)
    if short < 64 or long > 8 * short:
        raise InvalidRequest("references", f"{picture.width}×{picture.height}", "64 pixels a side or more, 8:1 at most")


def _to_picture(pixels: Tensor) -> Image.Image:
    """Return (1, 3, h, w) in 0 … 1 as a picture, rounded as diffusers rounds.

    Raises:
        BadOutput: a value is not finite, or all pixels are the same.
    """
    if not torch.isfinite(pixels).all():
        raise BadOutput(_what_is_wrong(pixels, "decoded pixels"))
    values = (pixels[0].permute(1, 2, 0).float().cpu().numpy() * 255).round().astype(np.uint8)  # (h, w, 3)
    if (values == values[0, 0]).all():
        raise BadOutput(f"The picture is constant: every pixel is {tuple(int(v) for v in values[0, 0])}. It was not saved.")
    return Image.fromarray(values)


def _what_is_wrong(values: Tensor, what: str) -> str:
    share = 1 - torch.isfinite(values).float().mean().item()
    return f"{share:.0%} of the {what} are not finite numbers. Nothing was saved; try another precision or seed."
