"""Made-up films with one fault each: 45 frames of 160 × 96, keyframes at 0, 22 and 44, a soft disc over a texture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flux_svd.encode import encode_film, iterate_film

Frames = NDArray[np.uint8]
Values = NDArray[np.float64]

LENGTH, JOIN = 45, 22
POSITIONS = (0, JOIN, LENGTH - 1)
_Y, _X = np.mgrid[:96, :160]


def disc(x: float, *, radius: float = 10, colour: tuple[float, float, float] = (250, 210, 40), shift: float = 0) -> Values:
    """Return one frame (96, 160, 3) with the disc's centre at x; `shift` moves the texture behind it."""
    texture = 60 + 25 * np.sin((_X + shift) / 9) + 20 * np.cos(_Y / 7 + (_X + shift) / 23)
    inside = 1 / (1 + np.exp((np.hypot(_X - x, _Y - 48) - radius) / 1.5))[..., None]
    mixed: Values = np.stack([texture * 0.6, texture * 0.8, texture * 1.2], -1) * (1 - inside) + np.array(colour) * inside
    return mixed


def _places(fault: str) -> Values:
    t = np.arange(LENGTH, dtype=float)
    if fault == "kink":
        return np.where(t <= JOIN, 20 + 2.5 * t, 75 - 2.5 * (t - JOIN))
    if fault == "speed":
        return np.where(t <= JOIN, 20 + 1.25 * t, 20 + 1.25 * JOIN + 3.75 * (t - JOIN))
    if fault == "dup":
        return np.where(t <= JOIN, 20 + 2.5 * t, 20 + 2.5 * (t - 1))
    if fault == "jump":
        return np.where(t < JOIN, 20 + 2.5 * t, 32 + 2.5 * t)
    return 20 + 2.5 * t


def _cross_fade() -> list[Values]:
    keys = [disc(20), disc(75), disc(130)]
    shares = [(n // JOIN, (n % JOIN) / JOIN) if n < LENGTH - 1 else (1, 1.0) for n in range(LENGTH)]
    return [keys[way] * (1 - share) + keys[way + 1] * share for way, share in shares]


def film(fault: str) -> Frames:
    """Return the film with this fault; "smooth", "light", "colour", "pan" and "grow" have none."""
    frames = {
        "cross-fade": _cross_fade,
        "ghost": lambda: [(a + b) / 2 for a, b in zip(_cross_fade(), map(disc, _places("")), strict=True)],
        "light": lambda: [disc(60) * (1 - 0.6 * n / 44) for n in range(LENGTH)],
        "colour": lambda: [disc(60, colour=(250 - 200 * n / 44, 60, 40 + 200 * n / 44)) for n in range(LENGTH)],
        "pan": lambda: [disc(60, shift=2 * n) for n in range(LENGTH)],
        "grow": lambda: [disc(80, radius=5 + 0.7 * n) for n in range(LENGTH)],
        "still": lambda: [disc(60)] * LENGTH,
        "cut": lambda: [disc(20 if n < 11 else 75 if n < 33 else 130) for n in range(LENGTH)],
        "flicker": lambda: [disc(x) + 3 * (-1) ** n for n, x in enumerate(_places(""))],
    }.get(fault, lambda: [disc(x) for x in _places(fault)])()
    values = np.stack(frames)
    if fault == "flash":
        values[JOIN] += 12
    return np.clip(values.round(), 0, 255).astype(np.uint8)


def through_h264(frames: Frames, folder: Path) -> Frames:
    """Return the frames as a player sees them."""
    path = folder / "through.mp4"
    path.write_bytes(encode_film(frames, fps=12, crf=18))
    return np.stack(list(iterate_film(path)))
