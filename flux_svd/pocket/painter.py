"""Paint scenes of the pocket world with torch: antialiased shapes, round at any width and height; knows no models."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from flux_svd.pocket.world import COLORS, PLACES, SHAPES, SIZES, Scene, sample_scene

PALETTE = torch.tensor(list(COLORS.values()), dtype=torch.float32) / 255  # (colors, 3), 0..1


@dataclass(frozen=True)
class Strokes:
    """What a brush needs for n pictures. Positions are over (width, height), radii over the shorter side."""

    background: Tensor  # (n, 3), 0..1
    color: Tensor  # (n, 3), 0..1
    shape: Tensor  # (n,), index into SHAPES
    x: Tensor  # (n,)
    y: Tensor  # (n,)
    radius: Tensor  # (n,)
    outlined: Tensor  # (n,), bool

    def to(self, device: torch.device | str) -> Strokes:
        """Return the same strokes on `device`."""
        return Strokes(*(getattr(self, field.name).to(device) for field in fields(self)))

    def pick(self, index: Tensor) -> Strokes:
        """Return the strokes of pictures `index` (m,)."""
        return Strokes(*(getattr(self, field.name)[index] for field in fields(self)))


def strokes_of(scenes: Sequence[Scene], generator: torch.Generator | None) -> Strokes:
    """Return strokes for `scenes`, each a little displaced, resized and tinted; exact ones without a generator."""
    n = len(scenes)

    def jitter(*shape: int) -> Tensor:
        return torch.zeros(shape) if generator is None else torch.rand(shape, generator=generator) * 2 - 1

    def colors(names: list[str]) -> Tensor:
        return (PALETTE[[list(COLORS).index(name) for name in names]] + 0.025 * jitter(n, 3)).clamp(0, 1)

    centres = torch.tensor([scene.centre for scene in scenes]) + 0.025 * jitter(n, 2)  # (n, 2)
    return Strokes(
        background=colors([scene.background for scene in scenes]),
        color=colors([scene.color for scene in scenes]),
        shape=torch.tensor([SHAPES.index(scene.shape) for scene in scenes]),
        x=centres[:, 0],
        y=centres[:, 1],
        radius=torch.tensor([SIZES[scene.size] for scene in scenes]) * (1 + 0.08 * jitter(n)),
        outlined=torch.tensor([scene.outlined for scene in scenes]),
    )


def paint(strokes: Strokes, width: int, height: int) -> Tensor:
    """Return pictures (n, 3, height, width) in −1..1."""
    device = strokes.x.device
    unit = min(width, height)
    columns = torch.arange(width, device=device) + 0.5
    rows = torch.arange(height, device=device) + 0.5
    radius = strokes.radius.view(-1, 1, 1) * unit  # pixels
    x = (columns.view(1, 1, -1) - strokes.x.view(-1, 1, 1) * width) / radius
    y = (rows.view(1, -1, 1) - strokes.y.view(-1, 1, 1) * height) / radius
    x, y = x.expand(-1, height, -1), y.expand(-1, -1, width)  # (n, height, width), in radii
    distance = _signed_distance(strokes.shape, x, y) * radius  # pixels
    pen = (0.085 * radius).clamp(min=1.2 * unit / 128)  # half the width of an outline, pixels
    distance = torch.where(strokes.outlined.view(-1, 1, 1), (distance + pen).abs() - pen, distance)
    cover = (0.5 - distance).clamp(0, 1).unsqueeze(1)  # (n, 1, height, width), antialiased over one pixel
    background, color = strokes.background[..., None, None], strokes.color[..., None, None]
    return (background * (1 - cover) + color * cover) * 2 - 1


def paint_scenes(scenes: Sequence[Scene], width: int, height: int, generator: torch.Generator | None = None) -> Tensor:
    """Return pictures (n, 3, height, width) of `scenes` in −1..1; jittered when there is a generator."""
    return paint(strokes_of(scenes, generator), width, height)


def object_cells(pictures: Tensor, background: Tensor, cell: int) -> Tensor:
    """Return where the object is on a grid: (n, height / cell, width / cell), bool.

    Args:
        pictures: (n, 3, height, width) in −1..1.
        background: (n, 3) in 0..1.
    """
    away = (pictures - (background * 2 - 1)[..., None, None]).abs().sum(dim=1, keepdim=True)
    return nn.functional.max_pool2d((away > 0.1).float(), cell).squeeze(1) > 0


def sample_paths(
    n: int, rng: random.Random, generator: torch.Generator, *, held_out: bool = False, outlined: float = 0.0
) -> tuple[Strokes, Strokes]:
    """Return first and last strokes (n each) of one object that goes straight from one place to another.

    Ends are places or points half-way between two places, as the keyframes of a film in three stages have them. The two
    ends are jittered apart in place, size and tint, as two generated keyframes are. In a quarter the size changes, and
    every sixteenth object rests. A share `outlined` of the objects is drawn by lot until it is outlined; of the others one
    in ten is, as everywhere in the world.
    """
    scenes = [_moving_scene(rng, held_out, outlined=outlined > 0 and rng.random() < outlined) for _ in range(n)]
    first, last = strokes_of(scenes, generator), strokes_of(scenes, generator)
    ends = torch.tensor([_path_ends(scene, rng) for scene in scenes])  # (n, 2 ends, 2)
    places = ends + 0.025 * (torch.rand(n, 2, 2, generator=generator) * 2 - 1)
    resized = torch.tensor([SIZES[rng.choice(list(SIZES))] if rng.random() < 0.25 else 0.0 for _ in scenes])
    radius = torch.where(resized > 0, resized, last.radius)
    start = Strokes(first.background, first.color, first.shape, places[:, 0, 0], places[:, 0, 1], first.radius, first.outlined)
    end = Strokes(last.background, last.color, last.shape, places[:, 1, 0], places[:, 1, 1], radius, last.outlined)
    return start, end


def _moving_scene(rng: random.Random, held_out: bool, *, outlined: bool) -> Scene:
    while True:
        scene = sample_scene(rng, held_out=held_out, kind="moving")
        if scene.outlined or not outlined:
            return scene


def _path_ends(scene: Scene, rng: random.Random) -> tuple[tuple[float, float], tuple[float, float]]:
    assert scene.move is not None
    (ax, ay), (bx, by) = PLACES[scene.move[0]], PLACES[scene.move[1]]
    middle = ((ax + bx) / 2, (ay + by) / 2)
    way = rng.random()
    if way < 0.06:
        return (ax, ay), (ax, ay)
    if way < 0.5:
        return (ax, ay), (bx, by)
    return ((ax, ay), middle) if way < 0.75 else (middle, (bx, by))


def between(start: Strokes, end: Strokes, frames: int) -> Strokes:
    """Return strokes (n · frames) that go evenly from `start` to `end`, each film's frames together."""
    way = torch.linspace(0, 1, frames, device=start.x.device)

    def mixed(a: Tensor, b: Tensor) -> Tensor:
        steps = way.view(1, frames, *[1] * (a.ndim - 1))
        return (a.unsqueeze(1) * (1 - steps) + b.unsqueeze(1) * steps).flatten(0, 1)

    return Strokes(
        background=mixed(start.background, end.background),
        color=mixed(start.color, end.color),
        shape=start.shape.repeat_interleave(frames),
        x=mixed(start.x, end.x),
        y=mixed(start.y, end.y),
        radius=mixed(start.radius, end.radius),
        outlined=start.outlined.repeat_interleave(frames),
    )


def _signed_distance(shape: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return about the distance to the edge in radii, negative inside; `shape` (n,), x and y (n, height, width)."""
    distance = torch.empty_like(x)
    for index, name in enumerate(SHAPES):
        chosen = (shape == index).nonzero()[:, 0]
        if len(chosen):
            distance[chosen] = shape_distance(name, x[chosen], y[chosen])
    return distance


def shape_distance(name: str, x: Tensor, y: Tensor) -> Tensor:
    """Return the signed distance to the outline of a shape of radius one at the origin, y pointing down.

    Source of the star: Inigo Quilez, "2D distance functions", sdStar5.
    """
    if name == "circle":
        return (x * x + y * y).sqrt() - 0.97
    if name == "square":
        return torch.maximum(x.abs(), y.abs()) - 0.84
    if name == "triangle":
        slope = math.atan2(1.75, 1.0)
        return torch.maximum(y - 0.75, math.sin(slope) * x.abs() - math.cos(slope) * (y + 1.0))
    if name == "star":
        return _star_distance(x, y)
    if name == "heart":
        ax = x.abs()
        lobe = ((ax - 0.45) ** 2 + (y + 0.3) ** 2).sqrt() - 0.53
        tip = torch.maximum(0.77 * ax + 0.64 * (y - 0.98), -(y + 0.3))
        return torch.minimum(lobe, torch.maximum(tip, ax - 0.98))
    if name == "cross":
        ax, ay = x.abs(), y.abs()
        return torch.minimum(torch.maximum(ax - 0.95, ay - 0.32), torch.maximum(ax - 0.32, ay - 0.95))
    raise ValueError(f"no such shape: {name!r}; there are {', '.join(SHAPES)}")


def _star_distance(x: Tensor, y: Tensor) -> Tensor:
    kx, ky = 0.809016994375, -0.587785252292  # cos and −sin of 36°
    x, y = x.abs(), -y
    for sign in (1, -1):
        fold = (sign * kx * x + ky * y).clamp(min=0) * 2
        x, y = x - fold * sign * kx, y - fold * ky
    x, y = x.abs(), y - 1.08
    bx, by = 0.45 * -ky, 0.45 * kx - 1
    along = ((x * bx + y * by) / (bx * bx + by * by)).clamp(0, 1.08)
    gap = ((x - bx * along) ** 2 + (y - by * along) ** 2).clamp(min=1e-12).sqrt()
    return gap * torch.sign(y * bx - x * by)
