"""Train the temporal autoencoder of pocket-svd on the latents of pocket-flux's autoencoder, so both speak one language."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MethodType

import torch
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder
from torch import Tensor, nn

from flux_svd.pocket.loop import Luck
from flux_svd.pocket.painter import between, paint, sample_paths

WIDTH, HEIGHT = 160, 96  # films, pixels
FILM_FRAMES = 23  # of a transition; sets how far an object moves from frame to frame


def make_vae(scaling_factor: float) -> AutoencoderKLTemporalDecoder:
    """Return a new temporal autoencoder: 8 latent channels, 1/8 of the width and height.

    Its GroupNorm has 32 hard-coded groups: the outermost level needs three channels a group (96), because a group of one
    forgets the height of a flat colour and a group of two all but its sign.
    """
    vae = AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 4,
        block_out_channels=(96, 64, 64, 96),
        layers_per_block=1,
        latent_channels=8,
        sample_size=HEIGHT,
        scaling_factor=scaling_factor,
        force_upcast=False,
    )
    with torch.no_grad():  # the sampled latents stay close to the mode
        vae.quant_conv.weight[8:].zero_()
        vae.quant_conv.bias[8:].fill_(-6.0)
    return vae


def flatten_convolutions(model: nn.Module) -> None:
    """Let the (3, 1, 1) Conv3d layers of `model` work as Conv2d over (time, height · width); the weights stay as they are.

    oneDNN's bfloat16 weight gradient of Conv3d is not finite for two frames (torch 2.14.1, CPU, 2026-11-20).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv3d) and module.kernel_size == (3, 1, 1):
            module.forward = MethodType(_flat_convolution, module)  # type: ignore[method-assign]


def _flat_convolution(layer: nn.Conv3d, video: Tensor) -> Tensor:
    batch, channels, frames, height, width = video.shape
    flat = video.reshape(batch, channels, frames, height * width)
    weight = layer.weight.flatten(3)  # (out, in, 3, 1)
    mixed = nn.functional.conv2d(flat, weight, layer.bias, padding=(1, 0))
    return mixed.reshape(batch, -1, frames, height, width)


class VaeTask:
    """Decoder: picture from the teacher's latents, lightly noised. Encoder: the teacher's latents from the picture."""

    name = "svd-vae"
    learning_rate = 2e-3
    average = 0.995
    matrices: Sequence[nn.Parameter] = ()

    def __init__(self, teacher: AutoencoderKL, vae: AutoencoderKLTemporalDecoder, device: torch.device) -> None:
        self.teacher = teacher.eval().requires_grad_(False).to(device)
        self.vae, self.device = vae, device
        flatten_convolutions(vae)
        self.scale = float(teacher.config.scaling_factor)
        self.modules: dict[str, nn.Module] = {"vae": vae}

    def loss(self, luck: Luck, done: float) -> Tensor:
        """Return |error| + error² + half the gradients' error of the pictures, plus the latents' squared error."""
        whole = luck.words.random() < (0.08 if done < 0.6 else 0.5)  # GroupNorm sees other statistics in crops
        films, frames = (2, 1 + luck.words.randrange(2)) if whole else (4, 2)
        pictures = sample_pictures(films, frames, luck).to(self.device)  # (films · frames, 3, 96, 160)
        if not whole:
            pictures = _crops(pictures, films, 64, luck)
        with torch.autocast(self.device.type, torch.bfloat16):
            with torch.no_grad():
                latents = self.teacher.encode(pictures).latent_dist.mode().float()
                noise = torch.randn(latents.shape, generator=luck.noise).to(self.device)
                level = torch.rand(len(latents), 1, 1, 1, generator=luck.noise).to(self.device)
                noisy = latents + 0.06 / self.scale * level * noise
            some = pictures[::frames]
            matched = self.vae.encode(some).latent_dist.mean.float()
            decoded = self.vae.decode(noisy, num_frames=frames).sample.float()
        error = decoded - pictures
        across = (error[..., 1:] - error[..., :-1]).abs().mean()
        down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
        latent_error = (matched - latents[::frames]) * self.scale
        loss: Tensor = error.abs().mean() + error.pow(2).mean() + 0.5 * (across + down) + latent_error.pow(2).mean()
        return loss

    def save(self, folder: Path) -> None:
        """Write a folder for AutoencoderKLTemporalDecoder.from_pretrained, float16."""
        self.vae.to(torch.float16).save_pretrained(folder)
        self.vae.to(torch.float32)


def sample_pictures(films: int, frames: int, luck: Luck) -> Tensor:
    """Return neighbouring frames (films · frames, 3, 96, 160) out of random places of random films."""
    start, end = sample_paths(films, luck.words, luck.noise)
    strokes = between(start, end, FILM_FRAMES)
    first = torch.randint(FILM_FRAMES - frames + 1, (films, 1), generator=luck.noise)
    index = torch.arange(films).view(-1, 1) * FILM_FRAMES + first + torch.arange(frames)
    return paint(strokes.pick(index.flatten()), WIDTH, HEIGHT)


def _crops(pictures: Tensor, films: int, size: int, luck: Luck) -> Tensor:
    """Return one square window a film, about its object, the same in all its frames, on the latents' grid of 8 pixels."""
    cut = []
    for film in pictures.chunk(films):
        odd = (film[0] - film[0, :, :1, :1]).abs().sum(0) > 0.2  # (height, width), the object: corners are background
        rows, columns = odd.any(1).nonzero().flatten().tolist(), odd.any(0).nonzero().flatten().tolist()
        top = _window(rows, HEIGHT, size, luck)
        left = _window(columns, WIDTH, size, luck)
        cut.append(film[..., top : top + size, left : left + size])
    return torch.cat(cut)


def _window(covered: list[int], length: int, size: int, luck: Luck) -> int:
    middle = (covered[0] + covered[-1]) // 2 if covered else length // 2
    begin = middle - size // 2 + luck.words.randint(-24, 24)
    return min(max(0, begin), length - size) // 8 * 8
