"""Judge pocket-svd: films between two held-out keyframes of one moved object, against the plain cross-fade."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from flux_svd.engines.decode import decode_pictures
from flux_svd.engines.inbetween import InbetweenPipeline, seeded_noise
from flux_svd.planner import PIN_REACH
from flux_svd.pocket.checker import Reading, read_picture
from flux_svd.pocket.figures import Figure, mean, share
from flux_svd.pocket.painter import Strokes, between, paint, sample_paths
from flux_svd.pocket.train_svd_vae import FILM_FRAMES, HEIGHT, WIDTH
from flux_svd.recipe import TransitionRecipe, derive_seed

_LEAST_WAY = 0.15  # over width and height: films with a shorter way say nothing about the path


@dataclass(frozen=True)
class FilmCase:
    """One film to judge: its true frames (n, 3, 96, 160) in −1..1, and where its object begins and ends."""

    frames: Tensor
    begin: NDArray[np.float64]
    end: NDArray[np.float64]


def film_cases(n: int, seed: int, frames: int = FILM_FRAMES) -> list[FilmCase]:
    """Return `n` held-out films whose objects go somewhere, straight and evenly; the same ones whatever their length."""
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    cases: list[FilmCase] = []
    while len(cases) < n:
        start, end = sample_paths(1, rng, generator, held_out=True)
        begin, finish = _place(start), _place(end)
        if np.linalg.norm(finish - begin) >= _LEAST_WAY:
            cases.append(FilmCase(paint(between(start, end, frames), WIDTH, HEIGHT), begin, finish))
    return cases


def transition_recipe(seed: int, steps: int, *, method: str = "bidirectional", frames: int = FILM_FRAMES) -> TransitionRecipe:
    """Return a recipe as the planner makes it for pocket-svd."""
    plain = TransitionRecipe(
        model="pocket-svd",
        revision="",
        method="bidirectional",
        start="",
        end="",
        seed=seed,
        width=WIDTH,
        height=HEIGHT,
        frames=frames,
        stride=1,
        steps=steps,
        guidance=1.0,
        motion_bucket_id=127,
        conditioning_fps=7,
        noise_aug_strength=0.02,
        motion_alignment=0.2,
        alignment_rounds=3,
        renoise_share=0.2,
        precision="fp32",
        versions=(),
        pin_reach=PIN_REACH,
    )
    return replace(plain, method=method)  # type: ignore[arg-type]


@torch.no_grad()
def sample_film(pipeline: Any, first: Tensor, last: Tensor, recipe: TransitionRecipe) -> Tensor:
    """Return frames (23, 3, 96, 160) in −1..1 between two pictures (3, 96, 160)."""
    noise = seeded_noise(0)("augmentation", (1, 3, HEIGHT, WIDTH))
    keys = [pipeline.encode_keyframe(to_picture(one), recipe.noise_aug_strength, noise) for one in (first, last)]
    latents = pipeline(*keys, recipe, seeded_noise(recipe.seed), lambda call, calls, estimate: None)
    return decode_film(pipeline.vae, latents[0])


@torch.no_grad()
def decode_film(vae: Any, latents: Tensor) -> Tensor:
    """Return frames (n, 3, 96, 160) in −1..1 of scaled latents (n, 8, 12, 20), decoded in one piece."""
    return decode_pictures(vae, latents).clamp(-1, 1)


def to_picture(frame: Tensor) -> Image.Image:
    """Return (3, height, width) in −1..1 as an RGB picture."""
    return Image.fromarray(((frame + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())


@torch.no_grad()
def judge_films(folder: Path, n: int, seed: int, shuffled: bool = False, steps: int = 10) -> list[Figure]:
    """Return the figures of `n` films of 23 frames and of cross-fades between the same keyframes.

    With `shuffled` each film is judged against another film's path: the score of chance.
    """
    pipeline = InbetweenPipeline.from_pretrained(folder, dtype=torch.float32)
    cases = film_cases(n, seed)
    films, fades, ends = [], [], []
    weight = torch.linspace(0, 1, FILM_FRAMES).view(-1, 1, 1, 1)
    for number, case in enumerate(cases):
        first, last = case.frames[0], case.frames[-1]
        film = sample_film(pipeline, first, last, transition_recipe(derive_seed(seed, "film", number), steps))
        films.append(film)
        fades.append(first * (1 - weight) + last * weight)
        latents = torch.cat([pipeline.vae.encode(one[None]).latent_dist.mode() for one in (first, last)])
        alone = torch.cat([decode_film(pipeline.vae, one[None] * pipeline.vae.config.scaling_factor) for one in latents])
        ends += [psnr(a, k) - psnr(b, k) for a, b, k in zip((film[0], film[-1]), alone, (first, last), strict=True)]
    if shuffled:
        cases = cases[1:] + cases[:1]
    return [
        mean("raw ends over the round trip", ends, "dB"),
        *path_figures("film", cases, films),
        *path_figures("cross-fade", cases, fades),
    ]


def path_figures(name: str, cases: Sequence[FilmCase], films: Sequence[Tensor]) -> list[Figure]:
    """Return how well films follow the straight, even way from the first place to the last."""
    found, away, monotone, single, kept = [], [], [], [], []
    for case, film in zip(cases, films, strict=True):
        readings = [read_film_frame(frame) for frame in film]
        truth = read_film_frame(case.frames[0])
        places = np.array([(one.x, one.y) for one in readings])  # (23, 2), NaN where nothing was found
        way = case.end - case.begin
        even = case.begin + np.linspace(0, 1, len(film))[:, None] * way
        found += [one.objects > 0 for one in readings]
        away.append(float(np.nanmean(np.linalg.norm(places - even, axis=1))) if found[-1] else float("nan"))
        progress = (places - case.begin) @ way / float(way @ way)
        monotone.append(bool(np.all(np.diff(progress) > -0.03)))  # the checker reads a still centre to within 0.01
        middle = readings[len(film) // 2 - 2 : len(film) // 2 + 3]
        single.append(all(one.objects == 1 for one in middle))
        kept += [(one.color, one.shape) == (truth.color, truth.shape) for one in readings]
    return [
        share(f"{name}: frames with an object", found),
        mean(f"{name}: distance to the even straight path", away, "of the size"),
        share(f"{name}: centre moves on in every frame", monotone),
        share(f"{name}: one object in the middle five frames", single),
        share(f"{name}: frames with the object's colour and shape", kept),
    ]


@torch.no_grad()
def judge_vae(folder: Path, n: int, seed: int) -> list[Figure]:
    """Return the round trip of four frames of `n` held-out films through the autoencoder of pocket-svd."""
    vae = InbetweenPipeline.from_pretrained(folder, dtype=torch.float32).vae
    quality, kept = [], []
    for case in film_cases(n, seed):
        frames = case.frames[::7]  # (4, 3, 96, 160)
        latents = vae.encode(frames).latent_dist.mode() * vae.config.scaling_factor
        decoded = decode_film(vae, latents)
        quality += [psnr(a, b) for a, b in zip(decoded, frames, strict=True)]
        for a, b in zip(decoded, frames, strict=True):
            read, true = read_film_frame(a), read_film_frame(b)
            kept.append((read.color, read.shape, read.background) == (true.color, true.shape, true.background))
    return [mean("round trip", quality, "dB"), share("colour, shape and background kept", kept)]


def read_film_frame(frame: Tensor) -> Reading:
    """Return what the checker reads in (3, height, width) in −1..1."""
    return read_picture(((frame + 1) / 2).permute(1, 2, 0).numpy())


def psnr(picture: Tensor, truth: Tensor) -> float:
    """Return the peak signal to noise ratio in dB of pictures in −1..1."""
    return float(-10 * (((picture - truth) / 2) ** 2).mean().log10())


def _place(strokes: Strokes) -> NDArray[np.float64]:
    return np.array([float(strokes.x[0]), float(strokes.y[0])])
