"""Train the decoder of the autoencoder that all pocket models share; the encoder, and so what latents mean, stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from flux_svd.pocket.loop import Luck
from flux_svd.pocket.painter import between, object_cells, paint, sample_paths
from flux_svd.pocket.train_flux import SIZES_TRAINED

BATCH = 8
OUTLINED = 0.2  # share of the objects that are outlined by choice; of the others one in ten is
SIZE_CHANCES = (0.35, 0.65)  # of `SIZES_TRAINED`: in the wider pictures all is smaller
NOISE = 0.08  # deviation of scaled latents, at most: drawn ones are never quite as an encoder's
ON_OBJECT = 1.0  # weight of an object's pixels together, beside that of the whole picture: a small one covers a hundredth


class DecoderTask:
    """|error| + error² + half the gradients' error of pictures, given their latents, lightly noised."""

    name = "decoder"
    learning_rate = 4e-4
    average = 0.99
    matrices: Sequence[nn.Parameter] = ()

    def __init__(self, vae: AutoencoderKL, device: torch.device) -> None:
        self.vae, self.device = vae.to(device), device
        vae.requires_grad_(False)
        vae.decoder.requires_grad_(True)
        self.scale = float(vae.config.scaling_factor)
        self.modules: dict[str, nn.Module] = {"decoder": vae.decoder}

    def loss(self, luck: Luck, done: float) -> Tensor:
        """Return the error of one batch of one size."""
        [size] = luck.words.choices(SIZES_TRAINED, SIZE_CHANCES)
        pictures, near = sample_objects(BATCH, size, luck)
        pictures, near = pictures.to(self.device), near.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            with torch.no_grad():
                latents = self.vae.encode(pictures).latent_dist.mode().float()
            level = torch.rand(BATCH, 1, 1, 1, generator=luck.noise) * torch.randn(latents.shape, generator=luck.noise)
            decoded = self.vae.decode(latents + NOISE / self.scale * level.to(self.device)).sample.float()
        weight = object_weights(near)
        error = decoded - pictures
        across, down = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
        edges = (weight[..., 1:] * across.abs()).mean() + (weight[..., 1:, :] * down.abs()).mean()
        loss: Tensor = (weight * (error.abs() + error.pow(2))).mean() + 0.5 * edges
        return loss

    def save(self, folder: Path) -> None:
        """Write a folder for AutoencoderKL.from_pretrained, float16."""
        self.vae.to(torch.float16).save_pretrained(folder)
        self.vae.to(torch.float32)


def object_weights(near: Tensor) -> Tensor:
    """Return what errors weigh, (n, 1, height, width): 1, and more on objects, as much in all for small ones as for large."""
    return 1 + ON_OBJECT * near / near.mean((2, 3), keepdim=True)


def sample_objects(n: int, size: tuple[int, int], luck: Luck) -> tuple[Tensor, Tensor]:
    """Return pictures (n, 3, height, width) in −1..1 of objects anywhere on their ways, and 1 on and about them (n, 1, …)."""
    start, end = sample_paths(n, luck.words, luck.noise, outlined=OUTLINED)
    steps = 97
    chosen = torch.arange(n) * steps + torch.randint(steps, (n,), generator=luck.noise)
    strokes = between(start, end, steps).pick(chosen)
    pictures = paint(strokes, *size)
    covered = object_cells(pictures, strokes.background, 1).float().unsqueeze(1)
    return pictures, nn.functional.max_pool2d(covered, 5, stride=1, padding=2)
