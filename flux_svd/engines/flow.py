"""FLUX's way from noise to latents, one step at a time, from any step on. Calls the stock transformers; decides nothing.

Equal to the loops of `FluxPipeline`, `FluxImg2ImgPipeline`, `Flux2Pipeline` and `Flux2KleinPipeline` of diffusers 0.42.1 bit for
bit; beyond them it begins at any step of a schedule and lets guidance change on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import FluxPipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift, retrieve_timesteps
from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu
from PIL import Image
from torch import Tensor

from flux_svd.engines.levers.modulation import FoldedModulation
from flux_svd.engines.trail import Halfway
from flux_svd.recipe import ImageRecipe

NO_GUIDANCE = 1.0  # of an embedded value and of a classifier-free scale alike: the prompt's own prediction, unchanged


@dataclass(frozen=True)
class Text:
    """What the text encoders make of one text.

    Attributes:
        tokens: (1, prompt tokens, features).
        pooled: (1, features) of FLUX.1's CLIP; empty for FLUX.2.
    """

    tokens: Tensor
    pooled: Tensor


@dataclass(frozen=True)
class Scene:
    """Reference pictures as FLUX.2 sees them: tokens (1, n, features) and their places (1, n, 4)."""

    tokens: Tensor
    places: Tensor


AfterStep = Callable[[int, Tensor], None]


def denoise(
    pipeline: Any,
    recipe: ImageRecipe,
    texts: Sequence[Text],
    device: torch.device,
    after_step: AfterStep,
    *,
    scene: Scene | None = None,
    start: Tensor | None = None,
    halfway: Halfway | None = None,
    folded: FoldedModulation | None = None,
) -> Tensor:
    """Return the packed latents (1, tokens, features) of the picture.

    Args:
        texts: the prompt and, where `needs_negative` says so, the negative prompt.
        after_step: called with the step's index in the schedule and the latents it left.
        start: clean latents (1, c, h/8, w/8) of the picture to begin at, as `encode_start` makes them.
        halfway: begin where this was left instead.
    """  # fmt: skip
    dtype = texts[0].tokens.dtype
    texts = [Text(text.tokens.to(device), text.pooled.to(device)) for text in texts]
    latents, places = _noise(pipeline, recipe, dtype, device)
    timesteps = _schedule(pipeline, recipe, places.shape[-2], device)
    first = recipe.first_step
    if halfway is not None:
        first, latents = halfway.steps, halfway.latents.to(device)
    elif start is not None:
        latents = _noisy_start(pipeline, recipe, start, timesteps, first)
    scheduler, transformer = pipeline.scheduler, pipeline.transformer
    scheduler.set_begin_index(first)
    scales = guidance_of_steps(recipe)
    calls = [_call(pipeline, text, places, scene) for text in texts]
    if folded is not None:
        folded.prepare(timesteps, [embedded for embedded, _ in scales], [text.pooled for text in texts], dtype)
    tokens = latents.shape[1]
    for step in range(first, recipe.steps):
        embedded, free = scales[step]
        moment = timesteps[step].expand(1).to(dtype) / 1000
        seen = latents if scene is None else torch.cat([latents, scene.tokens], dim=1)
        guidance = torch.full([1], embedded, device=device, dtype=torch.float32) if _embeds_guidance(transformer) else None
        branches = []
        for branch, call in enumerate(calls[: 2 if free > NO_GUIDANCE else 1]):
            if folded is not None:
                folded.select(step, branch)
            with transformer.cache_context("uncond" if branch else "cond"):
                predicted = transformer(hidden_states=seen, timestep=moment, guidance=guidance, **call, return_dict=False)[0]
            branches.append(predicted[:, :tokens])
        velocity = branches[0] if len(branches) == 1 else branches[1] + free * (branches[0] - branches[1])
        latents = scheduler.step(velocity, timesteps[step], latents, return_dict=False)[0]
        after_step(step, latents)
    return latents


def guidance_of_steps(recipe: ImageRecipe) -> list[tuple[float, float]]:
    """Return for each step the guidance that is embedded and the scale of classifier-free guidance."""
    curve = recipe.guidance_curve or (recipe.guidance,) * recipe.steps
    if recipe.guidance_kind == "embedded":
        return [(value, recipe.cfg_scale) for value in curve]
    # Where guidance is classifier-free the embedded value is switched off, else both kinds would multiply.
    return [(NO_GUIDANCE, value if recipe.guidance_kind == "classifier-free" else NO_GUIDANCE) for value in curve]


def needs_negative(recipe: ImageRecipe) -> bool:
    """Return whether a step is guided away from the negative prompt; an empty one counts: away from any picture."""
    return any(free > NO_GUIDANCE for _, free in guidance_of_steps(recipe))


def encode_scene(pipeline: Any, references: Sequence[Image.Image], pixels: int, device: torch.device) -> Scene:
    """Return reference pictures as FLUX.2 sees them; each is made no larger than so many pixels, by the stock pipeline's rule."""
    processor, multiple = pipeline.image_processor, pipeline.vae_scale_factor * 2
    pictures = []
    for reference in references:
        small = reference
        if reference.width * reference.height > pixels:
            small = processor._resize_to_target_area(reference, pixels)
        width, height = (side // multiple * multiple for side in small.size)
        pictures.append(processor.preprocess(small, height=height, width=width, resize_mode="crop"))
    tokens, places = pipeline.prepare_image_latents(
        images=pictures, batch_size=1, generator=None, device=device, dtype=pipeline.vae.dtype
    )
    return Scene(tokens, places)


def encode_start(pipeline: Any, recipe: ImageRecipe, picture: Image.Image, device: torch.device) -> Tensor:
    """Return the clean latents (1, c, h/8, w/8) of the picture to begin at."""
    pixels = pipeline.image_processor.preprocess(picture, height=recipe.height, width=recipe.width)
    vae = pipeline.vae
    spread = vae.encode(pixels.to(device, vae.dtype)).latent_dist.sample(_generator(recipe.seed))
    clean: Tensor = (spread - vae.config.shift_factor) * vae.config.scaling_factor
    return clean


def decode(pipeline: Any, recipe: ImageRecipe, latents: Tensor) -> Tensor:
    """Return the pixels (1, 3, height, width), 0 … 1, of packed latents (1, tokens, features)."""
    vae = pipeline.vae
    if isinstance(pipeline, FluxPipeline):
        unpacked = pipeline._unpack_latents(latents, recipe.height, recipe.width, pipeline.vae_scale_factor)
        unpacked = unpacked / vae.config.scaling_factor + vae.config.shift_factor
    else:
        side = pipeline.vae_scale_factor * 2
        rows, columns = recipe.height // side, recipe.width // side
        unpacked = latents.transpose(1, 2).reshape(1, -1, rows, columns)  # (1, features, h/16, w/16)
        mean = vae.bn.running_mean.view(1, -1, 1, 1).to(unpacked)
        spread = torch.sqrt(vae.bn.running_var.view(1, -1, 1, 1) + vae.config.batch_norm_eps).to(unpacked)
        unpacked = pipeline._unpatchify_latents(unpacked * spread + mean)  # (1, c, h/8, w/8)
    pixels: Tensor = pipeline.image_processor.postprocess(vae.decode(unpacked, return_dict=False)[0], output_type="pt")
    return pixels


def _generator(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)  # on the CPU, where the numbers are the same whatever device draws


def _noise(pipeline: Any, recipe: ImageRecipe, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return packed noise (1, tokens, features) and the tokens' places."""
    noise, places = _drawn(pipeline, recipe, dtype, device, _generator(recipe.seed))
    if recipe.variation == 0.0:
        return noise, places
    other, _ = _drawn(pipeline, recipe, dtype, device, _generator(recipe.variation_seed))
    return _turned(noise, other, recipe.variation), places


def _drawn(
    pipeline: Any, recipe: ImageRecipe, dtype: torch.dtype, device: torch.device, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    channels = pipeline.transformer.config.in_channels // 4
    drawn: tuple[Tensor, Tensor] = pipeline.prepare_latents(1, channels, recipe.height, recipe.width, dtype, device, generator)
    return drawn


def _turned(noise: Tensor, other: Tensor, share: float) -> Tensor:
    """Return noise turned by `share` of the angle towards `other`, on the sphere both lie on, so that it stays as strong.

    Source: Shoemake 1985, spherical linear interpolation.
    """
    a, b = noise.double().flatten(), other.double().flatten()
    angle = torch.arccos((a @ b / (a.norm() * b.norm())).clamp(-1, 1))
    mixed = (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)
    return mixed.reshape(noise.shape).to(noise.dtype)


def _schedule(pipeline: Any, recipe: ImageRecipe, tokens: int, device: torch.device) -> Tensor:
    """Set the scheduler to the recipe's steps and return their timesteps (steps,), 0 … 1000."""
    scheduler = pipeline.scheduler
    if isinstance(pipeline, FluxPipeline):
        names = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
        # what the pipeline takes where a scheduler's file does not say
        shift = calculate_shift(tokens, *map(scheduler.config.get, names, (256, 4096, 0.5, 1.15)))
    else:
        shift = compute_empirical_mu(image_seq_len=tokens, num_steps=recipe.steps)
    sigmas = None if scheduler.config.get("use_flow_sigmas") else np.linspace(1.0, 1 / recipe.steps, recipe.steps)
    timesteps: Tensor = retrieve_timesteps(scheduler, recipe.steps, device, sigmas=sigmas, mu=shift)[0]
    return timesteps


def _noisy_start(pipeline: Any, recipe: ImageRecipe, clean: Tensor, timesteps: Tensor, first: int) -> Tensor:
    """Return the latents of a picture with as much noise as step `first` begins with, packed."""
    generator = _generator(recipe.seed)
    torch.randn(clean.shape, generator=generator, dtype=clean.dtype)  # what `encode_start` drew
    noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype).to(clean.device)
    pipeline.scheduler.set_begin_index(first)
    noisy = pipeline.scheduler.scale_noise(clean, timesteps[first : first + 1], noise)
    packed: Tensor = pipeline._pack_latents(noisy, *noisy.shape)
    return packed


def _call(pipeline: Any, text: Text, places: Tensor, scene: Scene | None) -> dict[str, Any]:
    """Return what the transformer is given besides the latents, the step and the guidance."""
    if isinstance(pipeline, FluxPipeline):
        read = torch.zeros(text.tokens.shape[1], 3).to(text.tokens)  # the prompt's tokens have no place
        return {
            "encoder_hidden_states": text.tokens, "pooled_projections": text.pooled, "txt_ids": read, "img_ids": places,
        }  # fmt: skip
    all_places = places if scene is None else torch.cat([places, scene.places], dim=1)
    read = pipeline._prepare_text_ids(text.tokens).to(text.tokens.device)
    return {"encoder_hidden_states": text.tokens, "txt_ids": read, "img_ids": all_places}


def _embeds_guidance(transformer: Any) -> bool:
    return bool(transformer.config.guidance_embeds)
