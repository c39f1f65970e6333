"""The measures a film report is made of, each a function of frames (F, height, width, 3) uint8. Knows no recipe and no words.

Every threshold tells what was seen on made-up films with one fault each (45 frames of 160 × 96, join at frame 22, a soft
disc over a texture), before and after H.264 at crf 18, and so what a wrong film gives.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]  # (F, height, width, 3)
Picture = NDArray[np.uint8]  # (height, width, 3)

STILL = 0.05  # grey levels: steps and bends below this are rounding, not motion
ROUNDING = 1.0  # grey levels
JOIN_REACH = 2  # frames on each side of a join that do not count as "elsewhere"


MEASURED_HEIGHT = 96  # pixels: larger frames are measured in blocks, so that a report costs the same at any size


def shrink(picture: Picture) -> Picture:
    """Return the picture in whole blocks, at least `MEASURED_HEIGHT` high where it is that high."""
    side = max(1, picture.shape[0] // MEASURED_HEIGHT)
    if side == 1:
        return picture
    height, width = picture.shape[0] // side, picture.shape[1] // side
    blocks = picture[: height * side, : width * side].reshape(height, side, width, side, 3)
    small: Picture = blocks.mean(axis=(1, 3), dtype=np.float32).round().astype(np.uint8)
    return small


def ssim(picture: Picture, other: Picture) -> float:
    """Return the mean structural similarity of two pictures' brightness, −1 … 1; 1 is the same picture.

    Source: Wang et al. 2004, "Image quality assessment", with its Gaussian window (11 pixels, σ 1.5) and constants.
    """
    a, b = brightness(picture), brightness(other)
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    both = _blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(np.mean((2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))))


def coarse(frames: Frames) -> NDArray[np.float32]:
    """Return (F, about 24, width · 24 / height, 3): the frames in blocks, smoothed over a tenth of their height.

    Sharp edges in even motion bend as much as a kink does; seen coarsely, only the way of the whole counts. Unsmoothed, a
    reversal at the join came out at 2.4 times the usual bend after H.264; smoothed, at 5.9.
    """
    side = max(1, frames.shape[1] // 24)
    height, width = frames.shape[1] // side, frames.shape[2] // side
    seen = np.empty((len(frames), height, width, 3), np.float32)
    for index, frame in enumerate(frames):
        blocks = frame[: height * side, : width * side].reshape(height, side, width, side, 3)
        seen[index] = blocks.mean(axis=(1, 3), dtype=np.float32)
    for _ in range(10):  # binomial: σ = √(10 / 2) = 2.2 blocks
        up = np.pad(seen, ((0, 0), (1, 1), (0, 0), (0, 0)), mode="edge")
        seen = (up[:, :-2] + 2 * up[:, 1:-1] + up[:, 2:]) / 4
        aside = np.pad(seen, ((0, 0), (0, 0), (1, 1), (0, 0)), mode="edge")
        seen = (aside[:, :, :-2] + 2 * aside[:, :, 1:-1] + aside[:, :, 2:]) / 4
    return seen


def steps(seen: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (F − 1,) mean changes from frame to frame, in grey levels, of frames as `coarse` returns them."""
    return _but_rounding(np.diff(seen, axis=0))


def bends(seen: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (F − 2,) mean second differences, in grey levels; entry t belongs to frame t + 1."""
    return _but_rounding(np.diff(seen, n=2, axis=0))


def motion(frames: Frames) -> float:
    """Return the mean change from frame to frame in grey levels, sharp as the frames are."""
    if len(frames) < 2:
        return 0.0
    return float(np.mean([np.abs(b.astype(np.int16) - a).mean() for a, b in itertools.pairwise(frames)]))


def join_ratios(bent: NDArray[np.float32], joins: Sequence[int]) -> list[float]:
    """Return for each join the largest bend at it or beside it, over the median bend elsewhere; 1 is a join nobody notices.

    Args:
        bent: as `bends` returns them.
        joins: frame indices of the inner keyframes.
    """
    elsewhere = np.ones(len(bent), bool)
    for join in joins:
        elsewhere[max(0, join - 1 - JOIN_REACH) : join + JOIN_REACH] = False
    usual = max(STILL, float(np.median(bent[elsewhere])) if elsewhere.any() else float(np.median(bent)))
    return [float(bent[max(0, join - 2) : join + 1].max()) / usual for join in joins]


def holds(stepped: NDArray[np.float32], joins: Sequence[int]) -> list[float]:
    """Return for each join the smaller step into or out of it, over the median step; 0 is a frame shown twice."""
    usual = max(STILL, float(np.median(stepped)))
    return [float(stepped[join - 1 : join + 1].min()) / usual for join in joins]


def flicker(frames: Frames) -> tuple[float, float, int]:
    """Return (mean, largest, frame of the largest) second difference of the mean brightness, in grey levels."""
    means = np.array([brightness(frame).mean() for frame in frames])
    second = np.abs(means[:-2] - 2 * means[1:-1] + means[2:])
    worst = int(second.argmax())
    return float(second.mean()), float(second[worst]), worst + 1


def blend_share(way: Frames) -> float | None:
    """Return how much of the change from the first frame to the last is a cross-fade, 0 … 1; None where it cannot be told.

    Each frame of the middle half is compared with its best mixture of the two ends. A cross-fade leaves nothing over. Where
    the edges of both ends lie in the same places (light or colours change, or hardly anything moves), mixing is right.
    """
    if len(way) < 5:
        return None
    first, last = (end.astype(np.float32) for end in (way[0], way[-1]))
    across = last - first
    changed = np.abs(across).max(axis=2) > CHANGED_LEVELS
    if changed.mean() < CHANGED_SHARE or edge_overlap(way[0], way[-1], changed) > SAME_EDGES:
        return None
    across = across[changed]  # (pixels, 3)
    length = float((across**2).sum())
    shares = []
    for frame in way[len(way) // 4 : len(way) - len(way) // 4]:
        gone = frame.astype(np.float32) - first
        inside = gone[changed]
        mixture = float((inside * across).sum()) / length
        left = float(((inside - mixture * across) ** 2).sum()) + _outside(gone, changed)
        from_first, to_last = float((inside**2).sum()), float(((inside - across) ** 2).sum())
        usual = math.sqrt(from_first * to_last) + _outside(gone, changed)
        shares.append(1 - left / usual if usual > 0.01 * length else 0.0)  # still at one end: no mixture at all
    return float(np.clip(np.median(shares), 0, 1))


CHANGED_LEVELS = 16  # grey levels: more than H.264 at crf 18 changes at an edge
CHANGED_SHARE = 0.002  # of the pixels: a disc of 6 pixels radius in 160 × 96, twice, has 0.015
SAME_EDGES = 0.6


def edge_overlap(picture: Picture, other: Picture, where: NDArray[np.bool_]) -> float:
    """Return the correlation of the two pictures' edges within two pixels of `where`, −1 … 1; 1 is nothing moved."""
    near = where.copy()
    for _ in range(2):
        near[1:] |= near[:-1]
        near[:-1] |= near[1:]
        near[:, 1:] |= near[:, :-1]
        near[:, :-1] |= near[:, 1:]
    a, b = edges(picture)[near], edges(other)[near]
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / spread if spread > 1e-6 else 1.0


def edges(picture: Picture) -> NDArray[np.float32]:
    """Return (height, width) strengths of the edges, in grey levels a pixel, the strongest of the three colours."""
    values = picture.astype(np.float32)
    down, across = np.gradient(values, axis=(0, 1))
    strength: NDArray[np.float32] = np.sqrt(down**2 + across**2).max(axis=2)
    return strength


def brightness(picture: Picture) -> NDArray[np.float32]:
    """Return (height, width) luma after BT.709, 0 … 255."""
    luma: NDArray[np.float32] = picture.astype(np.float32) @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    return luma


def _but_rounding(changes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean sizes (n,) of changes (n, h, w, 3), less what a slow drift of a plain colour leaves after rounding.

    The drift itself cannot be seen, but in 8 bits it is a step of one grey level all over the picture now and then: it made a
    join_ratio of up to 14 of even films of the pocket world.
    """
    drift = np.median(changes, axis=(1, 2), keepdims=True).clip(-ROUNDING, ROUNDING)
    sizes: NDArray[np.float32] = np.abs(changes - drift).mean(axis=(1, 2, 3))
    return sizes


def _outside(gone: NDArray[np.float32], changed: NDArray[np.bool_]) -> float:
    """Return the squared change away from where the ends differ: what passes through and leaves."""
    away = gone[~changed]
    away = away[np.abs(away).max(axis=1) > CHANGED_LEVELS] if len(away) else away
    return float((away**2).sum())


def _blur(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the values under a Gaussian window of 11 × 11, σ 1.5; edges are mirrored."""
    weights = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    padded = np.pad(values.astype(np.float64), 5, mode="reflect")
    rows = sum(weight * padded[n : n + values.shape[0]] for n, weight in enumerate(weights))
    blurred: NDArray[np.float64] = sum(weight * rows[:, n : n + values.shape[1]] for n, weight in enumerate(weights))
    return blurred
