"""Stand-ins for our own engines: instant, deterministic, counting. Everything else in a session stays real."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from flux_svd import session as session_module
from flux_svd.progress import OnStep
from flux_svd.recipe import ImageRecipe, OnePassRecipe, TransitionRecipe, VideoRecipe
from flux_svd.session import Session


@dataclass
class Film:
    frames: Any
    raw_psnr: tuple[float, ...]
    round_trip_psnr: tuple[float, ...]


@dataclass
class FakeEngines:
    """Stands for `WarmEngines` and for the engines it hands out."""

    calls: list[str] = field(default_factory=list)
    before_step: Callable[[str, int], None] = lambda kind, step: None
    references: list[int] = field(default_factory=list)
    match_of: Callable[[Image.Image, str], float] = lambda image, text: 0.25
    likeness_of: Callable[[Image.Image, Image.Image], float] = lambda image, other: 1.0

    def flux(self, placement: Any, precision: str, model_file: str = "", text_encoder: str = "") -> FakeEngines:
        return self

    svd = flux
    one_pass = flux

    def scorer(self, model: str) -> FakeEngines:
        return self

    def models(self) -> tuple[str, ...]:
        return ("fake",)

    def release(self) -> None:
        self.calls.append("release")

    unload = release

    def held_bytes(self) -> tuple[int, int]:
        return 0, 0

    def peak_bytes(self, placement: Any) -> int:
        return 0

    def prompt_overflow(self, prompt: str) -> str:
        return prompt[100:]

    def draw(
        self, recipe: ImageRecipe, references: Sequence[Image.Image], on_step: OnStep, *,
        start: Image.Image | None = None, halfway: Any = None, on_latents: Any = None,
    ) -> Image.Image:  # fmt: skip
        assert start is None or start.size == (recipe.width, recipe.height)
        self.calls.append(f"draw {recipe.prompt}{' from a picture' if start else ''}")
        self.references.append(len(references))
        for step in range(halfway.steps + 1 if halfway else 1, recipe.steps + 1):
            self.before_step("draw", step)
            if on_latents:
                on_latents(step, torch.full((1,), float(step)))
            on_step(step, recipe.steps, None)
        digest = hashlib.sha256(f"{recipe.prompt}{recipe.seed}".encode()).digest()
        picture = Image.new("RGB", (recipe.width, recipe.height), tuple(digest[:3]))
        picture.paste(tuple(digest[3:6]), (0, 0, recipe.width // 2, recipe.height // 2))
        return picture

    def sample(
        self, recipe: TransitionRecipe, start: Image.Image, end: Image.Image, on_step: OnStep, *,
        halfway: Any = None, on_latents: Any = None,
    ) -> Any:  # fmt: skip
        self.calls.append("sample")
        each = recipe.unet_calls / recipe.steps
        for call in range(round(halfway.steps * each) + 1 if halfway else 1, recipe.unet_calls + 1):
            self.before_step("animate", call)
            if on_latents and call % each < 1:
                on_latents(int(call // each), torch.full((1,), float(call)))
            on_step(call, recipe.unet_calls, None)
        return _mixed(start, end, recipe)

    def sample_together(self, film: VideoRecipe, keyframes: Sequence[Image.Image], on_step: OnStep) -> Any:
        self.calls.append("sample together")
        for call in range(1, film.unet_calls + 1):
            on_step(call, film.unet_calls, None)
        parts = [_mixed(*keyframes[n : n + 2], part) for n, part in enumerate(film.transitions)]
        return np.concatenate([*(part[:-1] for part in parts[:-1]), parts[-1]])

    def make(self, recipe: OnePassRecipe, keyframes: Sequence[Image.Image], on_step: OnStep) -> Any:
        self.calls.append("pass")
        for step in range(1, recipe.steps + 1):
            self.before_step("animate", step)
            on_step(step, recipe.steps, None)
        places = np.arange(recipe.frames)[:, None]
        nearest = np.abs(places - np.array(recipe.positions)[None]).argmin(axis=1)
        return np.stack([np.asarray(keyframes[index]) // 2 for index in nearest])

    def round_trip(self, picture: Image.Image) -> Any:
        return np.asarray(picture)

    def strip(self, latents: Any) -> bytes:
        return b"strip of " + str(latents.shape).encode()

    def decode(
        self, latents: Any, keyframes: Sequence[Image.Image], positions: Sequence[int], recipe: VideoRecipe, on_step: OnStep
    ) -> Film:
        self.calls.append("decode")
        latents = np.concatenate(list(latents))
        assert latents.shape == (recipe.frames, 3, recipe.height // 8, recipe.width // 8)
        frames = latents.transpose(0, 2, 3, 1).repeat(8, axis=1).repeat(8, axis=2).round().astype(np.uint8)
        return Film(frames, (30.0,) * len(keyframes), (30.0,) * len(keyframes))

    def cosine(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
        assert len(images) == len(texts)
        return [self.match_of(image, text) for image, text in zip(images, texts, strict=True)]

    def likeness(self, images: Sequence[Image.Image]) -> list[list[float]]:
        return [[self.likeness_of(image, other) for other in images] for image in images]


def _mixed(start: Image.Image, end: Image.Image, recipe: TransitionRecipe) -> Any:
    ends = [np.asarray(key.resize((recipe.width // 8, recipe.height // 8)), np.float32) for key in (start, end)]
    shares = np.linspace(0, 1, recipe.kept_frames, dtype=np.float32)
    return np.stack([(1 - share) * ends[0] + share * ends[1] for share in shares]).transpose(0, 3, 1, 2)


def fake_programs(home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngines:
    """Let commands of this process run in `folder`, their data in `home`, with these fakes as their engines."""
    engines = FakeEngines()
    monkeypatch.setenv("FLUX_SVD_HOME", str(home))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(session_module, "WarmEngines", lambda home: engines)
    return engines


def fake_session(home: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Session, FakeEngines]:
    """Return a session whose engines are fakes."""
    engines = FakeEngines()
    session = Session(home=home, output_dir=outputs)
    monkeypatch.setattr(session, "_engines", engines)
    return session, engines
