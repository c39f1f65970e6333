"""Read a picture of the pocket world without any network: what is on it, where, how large, in which colours."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flux_svd.pocket.painter import PALETTE, shape_distance
from flux_svd.pocket.world import COLORS, SHAPES, SIZES, Scene

Array = NDArray[np.float32]
PLACE_TOLERANCE = 0.09  # over width and height; places are 0.25 apart and painted ±0.025 off
_LEAST_CONTRAST = 0.13  # Euclidean, of colours in 0..1; the nearest two colours of the world (red, orange) are 0.41 apart
_LEAST_AREA = 0.0015  # of the picture; the smallest object painted (a small cross on 160 × 96) covers 0.0164


@dataclass(frozen=True)
class Reading:
    """What one picture shows. Without an object only the background is read and `objects` is 0.

    Attributes:
        x, y: the shape's origin over (width, height); radius: over the shorter side.
        objects: how many separate things of some size there are; 2 for two ghosts of one object.
        misfit: area by which the object differs from the named shape, over its own area; below 0.1 on clean scenes.
    """

    background: str
    color: str = ""
    shape: str = ""
    size: str = ""
    x: float = float("nan")
    y: float = float("nan")
    radius: float = float("nan")
    outlined: bool = False
    objects: int = 0
    misfit: float = float("nan")


def read_picture(picture: Any) -> Reading:
    """Return what `picture` shows: a PIL image, uint8 (height, width, 3), or float 0..1 of that shape."""
    pixels = np.asarray(picture)
    image: Array = pixels.astype(np.float32) / np.float32(255 if pixels.dtype == np.uint8 else 1)
    height, width = image.shape[:2]
    margin = max(2, min(height, width) // 32)
    edge = np.concatenate(
        [part.reshape(-1, 3) for part in (image[:margin], image[-margin:], image[:, :margin], image[:, -margin:])]
    )
    ground: Array = np.median(edge, axis=0).astype(np.float32)
    away = np.sqrt(((image - ground) ** 2).sum(axis=2))  # (height, width), distance from the background
    peak = float(np.percentile(away, 99.7))
    noise = float(np.median(np.abs(edge - ground).max(axis=1)))
    mask = away > max(_LEAST_CONTRAST, 0.4 * peak, 3 * noise)
    parts = _components(mask)
    areas = np.bincount(parts.ravel(), minlength=1)
    areas[0] = 0  # the background
    background = _color_name(ground)
    if areas.max() < _LEAST_AREA * height * width:
        return Reading(background)
    largest = int(areas.argmax())
    objects = int((areas >= max(0.2 * areas[largest], _LEAST_AREA * height * width)).sum())
    return _read_object(image, ground, parts == largest, background, objects)


def _read_object(image: Array, ground: Array, mask: NDArray[np.bool_], background: str, objects: int) -> Reading:
    height, width = mask.shape
    core = mask & _shrunk(mask)
    color: Array = np.median(image[core if core.sum() > 8 else mask], axis=0).astype(np.float32)
    toward = color - ground
    cover = np.clip(((image - ground) @ toward) / float(toward @ toward), 0, 1)  # antialiased, (height, width)
    cover = np.where(_grown(mask), cover, 0)  # only this object's
    inside = _filled(mask)
    hollow = float((inside & ~mask).sum()) / float(inside.sum())
    if hollow > 0.12:
        cover = np.where(_shrunk(inside), 1, cover)
    rows, columns = np.nonzero(inside)
    top, bottom = max(0, int(rows.min()) - 3), min(height, int(rows.max()) + 4)
    left, right = max(0, int(columns.min()) - 3), min(width, int(columns.max()) + 4)
    window = cover[top:bottom, left:right]
    y, x = np.mgrid[top:bottom, left:right].astype(np.float32) + 0.5
    area = float(window.sum())
    center_x, center_y = float((window * x).sum()) / area, float((window * y).sum()) / area
    best: tuple[float, str, float, float, float] | None = None
    for shape in SHAPES:
        unit_area, drop = _moments(shape)
        radius = (area / unit_area) ** 0.5
        origin_y = center_y - drop * radius
        with torch.no_grad():
            distance = shape_distance(shape, torch.from_numpy((x - center_x) / radius), torch.from_numpy((y - origin_y) / radius))
        wanted = np.clip(0.5 - distance.numpy() * radius, 0, 1)
        misfit = float(np.abs(wanted - window).sum()) / area
        if best is None or misfit < best[0]:
            best = (misfit, shape, center_x, origin_y, radius)
    assert best is not None
    misfit, shape, x0, y0, radius = best
    over = radius / min(height, width)
    size = min(SIZES, key=lambda name: abs(np.log(over / SIZES[name])))
    return Reading(background, _color_name(color), shape, size, x0 / width, y0 / height, over, hollow > 0.12, objects, misfit)


def check_scene(reading: Reading, scene: Scene) -> dict[str, bool]:
    """Return for each attribute that the scene's caption tells whether the picture has it.

    Keys: color, shape always; background, place, size, style where they are told.
    """
    x, y = scene.centre
    right = {
        "color": reading.color == scene.color,
        "shape": reading.shape == scene.shape,
        "background": reading.background == scene.background,
        "place": abs(reading.x - x) < PLACE_TOLERANCE and abs(reading.y - y) < PLACE_TOLERANCE,
        "size": reading.size == scene.size,
        "style": reading.objects > 0 and reading.outlined == scene.outlined,
    }
    return {name: bool(value) for name, value in right.items() if name in ("color", "shape") or name in scene.says}


def _color_name(color: Array) -> str:
    weights = np.array([1, 1.2, 1])  # the eye, and the palette, tell greens apart a little better
    return list(COLORS)[int((((PALETTE.numpy() - color) ** 2) * weights).sum(axis=1).argmin())]


@functools.cache
def _moments(shape: str) -> tuple[float, float]:
    """Return (area, height of the centroid below the origin) of a shape of radius one."""
    grid = torch.linspace(-1.2, 1.2, 481)
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    inside = shape_distance(shape, x, y) < 0
    return float(inside.sum()) * 0.005**2, float(y[inside].mean())


def _components(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return labels (height, width) of the 8-connected parts of `mask`, 0 outside: neighbours' maxima, pointers jumped."""
    count = mask.size
    labels = np.where(mask, np.arange(1, count + 1).reshape(mask.shape), 0)
    while True:
        spread = np.where(mask, _neighbours(labels, np.maximum, 0), 0)
        jump = np.concatenate([[0], spread.ravel()])
        spread = jump[spread]
        if np.array_equal(spread, labels):
            break
        labels = spread
    return np.unique(labels, return_inverse=True)[1].reshape(mask.shape) if not mask.all() else labels * 0 + 1


def _neighbours(values: Any, combine: Any, outside: Any) -> Any:
    """Return `combine` over each 3 × 3 neighbourhood; `outside` stands beyond the edge."""
    padded = np.pad(values, 1, constant_values=outside)
    across = combine(combine(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    return combine(combine(across[:-2], across[1:-1]), across[2:])


def _shrunk(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return _neighbours(mask, np.logical_and, True)  # type: ignore[no-any-return]


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return _neighbours(_neighbours(mask, np.logical_or, False), np.logical_or, False)  # type: ignore[no-any-return]


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return `mask` with its holes: all that can't be reached from the picture's edge without crossing it."""
    outside = np.pad(~mask, 1, constant_values=True)
    labels = _components(outside)
    return np.asarray((labels != labels[0, 0])[1:-1, 1:-1])
