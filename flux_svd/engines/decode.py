"""From the latents of a film to its frames, a few at a time: overlapping chunks, exact keyframes. Knows no sampler.

Everything here is an iterator, so that a long film takes no more memory than a short one.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.utils.torch_utils import get_module_execution_device
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from flux_svd.errors import BadOutput

Frames = NDArray[np.uint8]  # (m, height, width, 3)
Frame = NDArray[np.uint8]  # (height, width, 3)
Latents = NDArray[np.float32]  # (m, c, h, w), scaled
MATCH_GAIN = 0.5, 2.0  # contrast is at most halved or doubled: a frame that went grey would only show its noise


@dataclass(frozen=True)
class DecodedFilm:
    """A film as it is decoded, and how well its keyframes came out by themselves.

    Attributes:
        frames: comes once, frame by frame, after the fade: each keyframe is exact.
        raw_psnr: for each keyframe, of the decoded frame before the fade, in dB (99 where nothing differs); whole when the
            frames are through.
        round_trip_psnr: the same for decode(encode(keyframe)) alone: what the VAE can do at best.
    """

    frames: Iterator[Frame]
    raw_psnr: list[float]
    round_trip_psnr: list[float]


def stitch(transitions: Iterable[Latents]) -> Iterator[Latents]:
    """Yield the latents of a film, piece by piece, from its transitions; the frame two neighbours share is kept once."""
    before: Latents | None = None
    for part in transitions:
        if before is not None:
            yield before[:-1]
        before = part
    if before is not None:
        yield before


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
def decode_overlapping(vae: Any, latents: Iterable[Latents], frames: int, chunk: int, overlap: int) -> Iterator[Frames]:
    """Yield the frames of a film (m, height, width, 3) in order, as soon as no later chunk changes them.

    A temporal decoder sees only its own chunk, so chunk ends are its worst frames: neighbours are cross-faded over what
    they share. Working memory is that of a chunk, whatever the film's length.

    Args:
        latents: of all frames, in pieces; one is held at a time.
        frames: of the whole film.

    Raises:
        BadOutput: a decoded value is not finite.
        ValueError: there are fewer latents than frames.
    """
    windows = decode_windows(frames, chunk, overlap)
    pieces = iter(latents)
    held = next(pieces)  # latents of the frames from `begin` on
    passed = 0
    total = torch.zeros(0)  # weighted pictures (m, 3, H, W) of the frames from `begin` on, not final yet
    weight = torch.zeros(0)
    for index, (begin, end) in enumerate(windows):
        held, passed = held[begin - passed :], begin
        while len(held) < end - begin:
            more = next(pieces, None)
            if more is None:
                raise ValueError(f"latents end at frame {begin + len(held)} of {frames}")
            held = np.concatenate([held, more])
        pictures = decode_pictures(vae, torch.from_numpy(held[: end - begin])).cpu()  # (end − begin, 3, H, W)
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


def fade_to_keyframes(
    frames: Iterable[Frame], keyframes: Sequence[Frame], positions: Sequence[int], reach: int
) -> Iterator[Frame]:
    """Yield the frames with each keyframe exact, and its correction faded out over `reach` frames a side.

    A correction never reaches another keyframe. At most `reach` frames are held back.
    """
    waiting: list[Frame] = []  # the frames just before `at` that the next keyframe's correction reaches
    correction = np.zeros(0, np.float32)  # of the keyframe before `at`, the `index`-th less one
    index = 0
    for at, frame in enumerate(frames):
        between = 0 < index < len(positions)
        side = min(reach, positions[index] - positions[index - 1] - 1) if between else reach
        if index and at - positions[index - 1] <= side:
            frame = _corrected(frame, correction, at - positions[index - 1], side)
        if index == len(positions) or positions[index] - at > side:
            yield frame
        elif positions[index] > at:
            waiting.append(frame)
        else:
            correction = keyframes[index].astype(np.float32) - frame
            side = len(waiting)
            yield from (_corrected(before, correction, side - n, side) for n, before in enumerate(waiting))
            yield _corrected(frame, correction, 0, 0)
            waiting, index = [], index + 1


def match_colours(frames: Iterable[Frame], keyframes: Sequence[Frame], positions: Sequence[int]) -> Iterator[Frame]:
    """Yield the frames with the mean and the spread of each colour brought to where they are between the two keyframes' own.

    Takes off a tint that a transition drifts into. What enters or leaves the picture between two keyframes counts as a tint too.

    Source: statistics matched channel by channel, Reinhard et al. 2001, "Color transfer between images", here in RGB.
    """
    means = [key.mean(axis=(0, 1), dtype=np.float32) for key in keyframes]
    spreads = [key.std(axis=(0, 1), dtype=np.float32) for key in keyframes]
    index = 0
    for at, frame in enumerate(frames):
        if at > positions[index + 1]:
            index += 1
        share = (at - positions[index]) / (positions[index + 1] - positions[index])
        mean, spread = ((1 - share) * two[index] + share * two[index + 1] for two in (means, spreads))
        gain = spread / np.maximum(frame.std(axis=(0, 1), dtype=np.float32), 1)  # a plain colour has no spread to enlarge
        matched = (frame - frame.mean(axis=(0, 1), dtype=np.float32)) * np.clip(gain, *MATCH_GAIN) + mean
        yield matched.round().clip(0, 255).astype(np.uint8)


def frames_of(picture: Image.Image) -> Frames:
    """Return an RGB picture as (height, width, 3)."""
    return np.asarray(picture.convert("RGB"))


def _corrected(frame: Frame, correction: NDArray[np.float32], offset: int, reach: int) -> Frame:
    """Return the frame with a share of the correction: all of it `offset` 0 frames away, none beyond `reach`.

    The share falls as a raised cosine. A straight fall has its sharpest bend at the keyframe itself, which is seen as a flash.
    """
    share = 0.5 + 0.5 * math.cos(math.pi * offset / (reach + 1))
    faded: Frame = (frame + correction * share).round().clip(0, 255).astype(np.uint8)
    return faded


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
