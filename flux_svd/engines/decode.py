"""From the latents of a whole film to its frames: overlapping chunks, exact keyframes. Knows no sampler."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.utils.torch_utils import get_module_execution_device
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from flux_svd.errors import BadOutput

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class DecodedFilm:
    """A film's frames, and how well its keyframes came out by themselves.

    Attributes:
        frames: (F, height, width, 3), after the fade: each keyframe is exact.
        raw_psnr: for each keyframe, of the decoded frame before the fade, in dB (99 where nothing differs).
        round_trip_psnr: the same for decode(encode(keyframe)) alone: what the VAE can do at best.
    """

    frames: Frames
    raw_psnr: tuple[float, ...]
    round_trip_psnr: tuple[float, ...]


def stitch(transitions: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the latents (F, c, h, w) of a film from its transitions; the frame two neighbours share is kept once."""
    return np.concatenate([part[:-1] for part in transitions[:-1]] + [transitions[-1]])


def decode_windows(frames: int, chunk: int, overlap: int) -> list[tuple[int, int]]:
    """Return (begin, end) of the chunks: at most `chunk` long, neighbours share at least `overlap`, spread evenly.

    Raises:
        ValueError: the overlap is not smaller than the chunk.
    """
    if not 0 <= overlap < chunk:
        raise ValueError(f"overlap {overlap} must be from 0 to chunk − 1 = {chunk - 1}")
    if frames <= chunk:
        return [(0, frames)]
    count = math.ceil((frames - overlap) / (chunk - overlap))
    begins = [round(index * (frames - chunk) / (count - 1)) for index in range(count)]
    return [(begin, begin + chunk) for begin in begins]


@torch.no_grad()
def decode_overlapping(vae: Any, latents: NDArray[np.float32], chunk: int, overlap: int) -> Iterator[Frames]:
    """Yield the frames of a film (m, height, width, 3) in order, as soon as no later chunk changes them.

    A temporal decoder sees only its own chunk, so chunk ends are its worst frames: neighbours are cross-faded over what
    they share. Working memory is that of a chunk, whatever the film's length.

    Args:
        latents: (F, c, h, w), scaled.

    Raises:
        BadOutput: a decoded value is not finite.
    """
    windows = decode_windows(len(latents), chunk, overlap)
    total = torch.zeros(0)  # weighted pictures (m, 3, H, W) of the frames from `begin` on, not final yet
    weight = torch.zeros(0)
    for index, (begin, end) in enumerate(windows):
        pictures = decode_pictures(vae, torch.from_numpy(latents[begin:end])).cpu()  # (end − begin, 3, H, W)
        if not torch.isfinite(pictures).all():
            raise BadOutput(f"Frames {begin} to {end - 1} of the film are not finite numbers. Nothing was saved.")
        share = _window_weight(windows, index)
        kept = len(total)
        total = torch.cat([total, torch.zeros(end - begin - kept, *pictures.shape[1:])]) if kept else torch.zeros_like(pictures)
        weight = torch.cat([weight, torch.zeros(end - begin - kept)])
        total += pictures * share[:, None, None, None]
        weight += share
        final = (windows[index + 1][0] if index + 1 < len(windows) else end) - begin
        yield _to_frames(total[:final] / weight[:final, None, None, None])
        total, weight = total[final:], weight[final:]


@torch.no_grad()
def decode_pictures(vae: Any, latents: Tensor) -> Tensor:
    """Return pictures (n, 3, H, W) in −1 … 1, float32, of scaled latents (n, c, h, w) decoded together."""
    # The image VAE of the pocket model takes no number of frames.
    counts = {"num_frames": len(latents)} if "num_frames" in inspect.signature(type(vae).decode).parameters else {}
    unscaled = latents / vae.config.scaling_factor
    unscaled = unscaled.to(get_module_execution_device(vae), vae.dtype)
    pictures: Tensor = vae.decode(unscaled, **counts, return_dict=False)[0]
    return pictures.float()


def fade_to_keyframes(frames: Frames, keyframes: Sequence[Frames], positions: Sequence[int], reach: int) -> None:
    """Change `frames` (F, H, W, 3) in place: each keyframe is exact, and its correction fades out over `reach` frames a side.

    A correction never reaches another keyframe.
    """
    corrections = [key.astype(np.float32) - frames[at] for key, at in zip(keyframes, positions, strict=True)]
    for index, (correction, at) in enumerate(zip(corrections, positions, strict=True)):
        before = min(reach, at - positions[index - 1] - 1) if index else min(reach, at)
        last = index + 1 == len(positions)
        after = min(reach, len(frames) - 1 - at if last else positions[index + 1] - at - 1)
        for offset in range(-before, after + 1):
            side = before if offset < 0 else after
            faded = frames[at + offset] + correction * (1 - abs(offset) / (side + 1))
            frames[at + offset] = faded.round().clip(0, 255).astype(np.uint8)


def frames_of(picture: Image.Image) -> Frames:
    """Return an RGB picture as (height, width, 3)."""
    return np.asarray(picture.convert("RGB"))


def _window_weight(windows: list[tuple[int, int]], index: int) -> Tensor:
    """Return the weights of a window's frames, in (0, 1]: linear ramps over what it shares with its neighbours."""
    begin, end = windows[index]
    place = torch.arange(1, end - begin + 1, dtype=torch.float32)  # counted from the window's first frame
    weight = torch.ones(end - begin)
    if index > 0:
        weight = torch.minimum(weight, place / (windows[index - 1][1] - begin + 1))
    if index + 1 < len(windows):
        weight = torch.minimum(weight, place.flip(0) / (end - windows[index + 1][0] + 1))
    return weight


def _to_frames(pictures: Tensor) -> Frames:
    values = ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    frames: Frames = values.permute(0, 2, 3, 1).numpy()
    return frames
