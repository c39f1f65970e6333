"""What engines share that make a stretch of film in one pass: watching steps, checking sizes and frames, the VAE's round trip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from diffusers.utils.torch_utils import get_module_execution_device
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from flux_svd.engines.decode import DecodedFilm, Frame, Frames, fade_to_keyframes, frames_of, match_colours
from flux_svd.errors import BadOutput
from flux_svd.pictures import psnr
from flux_svd.progress import OnStep
from flux_svd.recipe import OnePassRecipe, VideoRecipe


def watch(recipe: OnePassRecipe, on_step: OnStep) -> Callable[..., dict[str, Any]]:
    """Return a callback for diffusers that tells each step and refuses latents that are not finite."""

    def after_step(pipeline: Any, step: int, timestep: Tensor, state: dict[str, Any]) -> dict[str, Any]:
        if not torch.isfinite(state["latents"]).all():
            raise BadOutput(f"Latents after step {step + 1} of {recipe.steps} are not finite numbers. Nothing was saved.")
        on_step(step + 1, recipe.steps, None)
        return state

    return after_step


def check_size(keyframes: Sequence[Image.Image], recipe: OnePassRecipe) -> None:
    """Refuse keyframes of another number or size: the pipelines would squash them."""
    sizes = {picture.size for picture in keyframes}
    if len(keyframes) != len(recipe.positions) or sizes != {(recipe.width, recipe.height)}:
        raise ValueError(f"{len(keyframes)} keyframes of {sizes} for a stretch of {len(recipe.positions)}")


def frames_from(pixels: NDArray[np.floating[Any]], recipe: OnePassRecipe) -> Frames:
    """Return pixels (n, height, width, 3) in 0 … 1 as frames.

    Raises:
        BadOutput: they are not finite, or not as many or as large as the recipe says.
    """
    if pixels.shape != (recipe.frames, recipe.height, recipe.width, 3):
        said = f"{recipe.frames} frames of {recipe.width} × {recipe.height}"
        raise BadOutput(f"The model made {' × '.join(map(str, pixels.shape))} values, not {said}.")
    if not np.isfinite(pixels).all():
        raise BadOutput("Frames of the film are not finite numbers. Nothing was saved.")
    frames: Frames = (pixels * 255).round().astype(np.uint8)
    return frames


@torch.no_grad()
def round_trip(pipeline: Any, picture: Image.Image, *times: Tensor) -> Frame:
    """Return decode(encode(picture)) of a video VAE, as one frame; `times` goes to a decoder that wants one."""
    vae = pipeline.vae
    pixels = torch.from_numpy(np.asarray(picture, np.float32) / 127.5 - 1).permute(2, 0, 1)[None, :, None]  # (1, 3, 1, H, W)
    device = get_module_execution_device(vae)
    latents = vae.encode(pixels.to(device, vae.dtype)).latent_dist.mode()
    decoded = vae.decode(latents, *(one.to(device) for one in times), return_dict=False)[0]  # (1, 3, 1, H, W)
    values = ((decoded[0, :, 0].float().clamp(-1, 1) + 1) * 127.5).round().byte()
    frame: Frame = values.permute(1, 2, 0).cpu().numpy()
    return frame


def exact_film(
    stretches: Iterable[Frames], keyframes: Sequence[Image.Image], round_trips: Sequence[Frame], recipe: VideoRecipe
) -> DecodedFilm:
    """Return the film of its stretches, each keyframe exact at its position; the frame two stretches share is kept once."""
    keys = [frames_of(picture) for picture in keyframes]
    best = [psnr(alone, key) for alone, key in zip(round_trips, keys, strict=True)]
    film = DecodedFilm(iter(()), [], best)
    places = dict(zip(recipe.key_positions, keys, strict=True))

    def joined() -> Iterator[Frame]:
        at = 0
        for stretch in stretches:
            for frame in stretch[1:] if at else stretch:
                if at in places:
                    film.raw_psnr.append(psnr(frame, places[at]))
                yield frame
                at += 1

    frames: Iterable[Frame] = joined()
    if recipe.colour_match:
        frames = match_colours(frames, keys, recipe.key_positions)
    return DecodedFilm(fade_to_keyframes(frames, keys, recipe.key_positions, recipe.fade_frames), film.raw_psnr, best)
