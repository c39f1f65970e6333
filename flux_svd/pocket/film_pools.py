"""Painted films and single frames of them as latents, kept to be trained on several times."""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from flux_svd.pocket.loop import Luck
from flux_svd.pocket.painter import Strokes, between, object_cells, paint, sample_paths
from flux_svd.pocket.rollouts import TrueFilm
from flux_svd.pocket.train_svd_vae import HEIGHT, WIDTH

POOL_FRAMES = 25  # a stored film; shorter ones are cut from it
OUTLINED = 0.25  # share of the objects that are outlined by choice, not by lot: they fade while the others already stay
STILLS = 4  # single frames kept of one film
_STEPS = 97  # a film as fine as this is what single frames are taken from


class FilmPool:
    """The latents of films, kept to be used several times; every batch adds new films and forgets the oldest."""

    def __init__(self, encoder: AutoencoderKL, capacity: int, device: torch.device) -> None:
        self.encoder = encoder.eval().requires_grad_(False).to(device)
        self.device = device
        self.latents = torch.empty(capacity, POOL_FRAMES, 8, HEIGHT // 8, WIDTH // 8, dtype=torch.float16)
        self.cells = torch.empty(capacity, POOL_FRAMES, HEIGHT // 8, WIDTH // 8)
        self.ends: list[tuple[Strokes, Strokes]] = [None] * capacity  # type: ignore[list-item]
        self.filled, self.next = 0, 0

    @torch.no_grad()
    def add(self, films: int, luck: Luck) -> None:
        """Paint and encode `films` new ones."""
        start, end = sample_paths(films, luck.words, luck.noise, outlined=OUTLINED)
        for number in range(films):
            only = torch.tensor([number])
            ends = start.pick(only), end.pick(only)
            film = between(*ends, POOL_FRAMES).to(self.device)
            _, self.latents[self.next], self.cells[self.next] = _painted(self.encoder, film)
            self.ends[self.next] = ends
            self.next = (self.next + 1) % len(self.latents)
            self.filled = min(self.filled + 1, len(self.latents))

    def draw(self, frames: int, luck: Luck) -> TrueFilm:
        """Return a film of so many frames, cut and turned."""
        number = luck.words.randrange(self.filled)
        begin = luck.words.randint(0, POOL_FRAMES - frames)
        indices = list(range(begin, begin + frames))
        if luck.words.random() < 0.5:  # a film played backwards is a film of the same world
            indices.reverse()
        latents, cells = self.latents[number, indices].float(), self.cells[number, indices]
        film = between(*self.ends[number], POOL_FRAMES)
        ends = paint(film.pick(torch.tensor([indices[0], indices[-1]])), WIDTH, HEIGHT)
        return TrueFilm(latents.to(self.device), cells.to(self.device), ends.to(self.device))


class StillPool:
    """Single frames of films with the films' first pictures, kept to be used several times; new ones replace the oldest."""

    def __init__(self, encoder: AutoencoderKL, width: int, capacity: int, device: torch.device) -> None:
        self.encoder, self.device = encoder, device
        cells = (HEIGHT // 8, WIDTH // 8)
        self.latents = torch.empty(capacity, 1 + STILLS, encoder.config.latent_channels, *cells, dtype=torch.float16)
        self.cells = torch.empty(capacity, STILLS, *cells)
        self.seen = torch.empty(capacity, width)
        self.filled, self.next = 0, 0

    @torch.no_grad()
    def add(self, films: int, luck: Luck, see: Callable[[Tensor], Tensor]) -> None:
        """Paint `films` new ones; `see` gives the embeddings (n, 1, width) of pictures."""
        starts, ends = sample_paths(films, luck.words, luck.noise, outlined=OUTLINED)
        for number in range(films):
            only = torch.tensor([number])
            start, end = starts.pick(only), ends.pick(only)
            if luck.words.random() < 0.5:
                start, end = end, start
            chosen = torch.tensor([0, *(luck.words.randrange(_STEPS) for _ in range(STILLS))])
            strokes: Strokes = between(start, end, _STEPS).pick(chosen).to(self.device)
            pictures, self.latents[self.next], cells = _painted(self.encoder, strokes)
            self.cells[self.next] = cells[1:]
            self.seen[self.next] = see(pictures[:1])[0, 0].cpu()
            self.next = (self.next + 1) % len(self.latents)
            self.filled = min(self.filled + 1, len(self.latents))

    def draw(self, n: int, luck: Luck) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return first frames and later ones (n, 1, 8, 12, 20) each, where the object is there, and embeddings (n, 1, width)."""
        films = torch.tensor([luck.words.randrange(self.filled) for _ in range(n)])
        frames = torch.tensor([luck.words.randrange(STILLS) for _ in range(n)])
        first, later = self.latents[films, 0], self.latents[films, 1 + frames]
        values = (first.float(), later.float(), self.cells[films, frames], self.seen[films])
        first, later, cells, seen = (value.unsqueeze(1).to(self.device) for value in values)
        return first, later, cells, seen


def _painted(encoder: AutoencoderKL, strokes: Strokes) -> tuple[Tensor, Tensor, Tensor]:
    """Return pictures (n, 3, 96, 160), their latents (n, 8, 12, 20), and 1 on and about the object (n, 12, 20)."""
    pictures = paint(strokes, WIDTH, HEIGHT)
    covered = object_cells(pictures, strokes.background, 8).float()
    with torch.autocast(pictures.device.type, torch.bfloat16):
        latents: Tensor = encoder.encode(pictures).latent_dist.mode()
    return pictures, latents.to("cpu", torch.float16), nn.functional.max_pool2d(covered, 3, stride=1, padding=1).cpu()
