"""From latents in the making to a small picture for people who wait. Never touches what is being made."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from flux_svd.engines.placement import engine_errors
from flux_svd.errors import OutOfMemory

LONG_SIDE = 256  # pixels; enough to recognise a scene, and 1/16 of the work of decoding 1024 × 1024
INTERVAL = 0.5  # seconds between two previews at least: a page polls about once a second
STRIP_FRAMES = 4
WORK_SHARE = 0.03  # of the time may go into previews; host overhead as a whole is to stay within 5 %


class Preview:
    """Decodes an estimate of the clean latents now and then, within `INTERVAL` and `WORK_SHARE`.

    Where memory does not suffice for one, there are no more: a preview is worth no rung.

    Args:
        decode: unscaled latents (1, c, h, w) → picture (1, 3, H, W) in −1 … 1.
        scale: pixels of a side for one latent of it.
    """

    def __init__(self, decode: Callable[[Tensor], Tensor], scale: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._decode, self._scale, self._clock = decode, scale, clock
        self._due = clock() + INTERVAL

    def offer(self, estimate: Callable[[], Tensor]) -> bytes | None:
        """Return a WebP picture of the estimated clean latents (1, c, h, w), or None if it is too early for one.

        `estimate` is called only when a preview is due.
        """
        begun = self._clock()
        if begun < self._due:
            return None
        try:
            with engine_errors():
                picture = to_webp(self._decode(_folded(estimate(), self._scale)))
        except OutOfMemory:
            self._due = math.inf
            return None
        ended = self._clock()
        self._due = ended + max(INTERVAL, (ended - begun) * (1 / WORK_SHARE - 1))
        return picture


def to_webp(pixels: Tensor) -> bytes | None:
    """Return (1, 3, h, w) in −1 … 1 as WebP bytes; None where a value is not finite."""
    if not torch.isfinite(pixels).all():
        return None
    values = ((pixels[0].float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    stored = io.BytesIO()
    Image.fromarray(values.permute(1, 2, 0).cpu().numpy()).save(stored, "WEBP", quality=70)
    return stored.getvalue()


def draw_strip(decode: Callable[[Tensor], Tensor], scale: int, latents: Tensor) -> bytes | None:
    """Return `STRIP_FRAMES` frames of a transition, evenly spread between its ends, side by side as WebP.

    Each is decoded by itself: a temporal decoder given frames that are far apart would mix them.

    Args:
        latents: (n, c, h, w), scaled as `decode` wants them.
    """
    last = len(latents) - 1
    places = sorted({round(last * n / (STRIP_FRAMES + 1)) for n in range(1, STRIP_FRAMES + 1)})
    frames = [decode(_folded(latents[place][None], scale)) for place in places]  # (1, 3, h', w') each
    return to_webp(torch.cat(frames, dim=3))


def _folded(latents: Tensor, scale: int) -> Tensor:
    """Return latents (1, c, h, w) small enough for a picture of `LONG_SIDE` pixels."""
    fold = -(-max(latents.shape[-2:]) * scale // LONG_SIDE)
    return functional.avg_pool2d(latents.float(), fold).to(latents.dtype)  # (1, c, h // fold, w // fold)


class FluxPreview:
    """Previews of a FLUX pipeline from its own Euler latents.

    Two consecutive latents of a rectified flow give the model's velocity, and with it the clean estimate, exactly:
    v = (x′ − x) / (σ′ − σ), x₀ = x′ − σ′ v. So the model is not asked again; the first step has no estimate yet.
    """

    def __init__(self, pipeline: Any, width: int, height: int) -> None:
        self._pipeline = pipeline
        scale = pipeline.vae_scale_factor
        self._grid = height // (2 * scale), width // (2 * scale)  # tokens are 2 × 2 latents
        self._before: Tensor | None = None
        self._preview = Preview(self._decode, scale)

    def after_step(self, step: int, latents: Tensor) -> bytes | None:
        """Return a preview after step `step` (from 0) left `latents` (1, tokens, features), or None."""
        before, self._before = self._before, latents
        sigmas = self._pipeline.scheduler.sigmas
        if before is None or step + 2 >= len(sigmas):  # the last step is followed by the picture itself
            return None
        return self._preview.offer(lambda: self._estimate(before, latents, sigmas[step].item(), sigmas[step + 1].item()))

    def _estimate(self, before: Tensor, after: Tensor, sigma: float, sigma_next: float) -> Tensor:
        velocity = (after.float() - before.float()) / (sigma_next - sigma)
        clean = (after.float() - sigma_next * velocity).to(after.dtype)  # (1, tokens, 4·c)
        vae = self._pipeline.vae
        if hasattr(vae, "bn"):  # FLUX.2 normalises tokens by the statistics of a batch norm
            spread = torch.sqrt(vae.bn.running_var + vae.config.batch_norm_eps)
            clean = clean * spread.to(clean) + vae.bn.running_mean.to(clean)
        else:
            clean = clean / vae.config.scaling_factor + vae.config.shift_factor
        return unpack(clean, *self._grid)

    def _decode(self, latents: Tensor) -> Tensor:
        pixels: Tensor = self._pipeline.vae.decode(latents, return_dict=False)[0]
        return pixels


def unpack(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Return tokens (1, rows·columns, c·2·2) as latents (1, c, 2·rows, 2·columns); FLUX.1 and FLUX.2 pack alike."""
    patches = tokens.reshape(1, rows, columns, -1, 2, 2)  # (1, rows, columns, c, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(1, -1, 2 * rows, 2 * columns)
