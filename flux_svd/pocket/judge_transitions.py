"""Judge the ways to fill a transition: all of them between the same held-out keyframes, as the planner plans them.

Of pairs of keyframes what is measured is raw: the frames between them as they were decoded, before any correction fades into
them, and the keyframes as the autoencoder gives them back: beside the exact ones, what it loses would count as a jump. Joins are
measured on the film as it is encoded.
"""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from flux_svd.catalog import MODELS
from flux_svd.engines.svd import SvdEngine
from flux_svd.memory import GIB, Budget, Placement
from flux_svd.metrics import numbers
from flux_svd.metrics.film import BLEND_LIMIT, HOLD_HIGH, HOLD_LOW, JOIN_LIMIT
from flux_svd.plan import Inventory
from flux_svd.planner import make_plan
from flux_svd.pocket.figures import Figure, mean, share
from flux_svd.pocket.judge_films import FilmCase, film_cases, path_figures, to_picture
from flux_svd.pocket.train_svd_vae import FILM_FRAMES
from flux_svd.progress import ignore_steps
from flux_svd.recipe import VideoRecipe, derive_seed
from flux_svd.request import Transition, make_request

LANDING_LIMIT = 2.0  # last step over the median one: above it the film jumps onto its keyframe
Row = dict[str, Any]


@dataclass(frozen=True)
class Wish:
    """One way to judge: a value of `VideoRequest.transition`, with or without smoothed joins."""

    transition: Transition
    smooth_joins: bool = False

    @property
    def name(self) -> str:
        return f"{self.transition}, smooth joins" if self.smooth_joins else self.transition


WISHES = tuple(Wish(name) for name in get_args(Transition))
SMOOTHED = (Wish("bidirectional", smooth_joins=True), Wish("vibid", smooth_joins=True))
TRUTH, CROSS_FADE = "true film", "cross-fade"


def load_engine(folder: Path) -> SvdEngine:
    """Return the engine of a pocket-svd folder, on the processor."""
    return SvdEngine(MODELS["pocket-svd"], folder, Placement("pocket-svd", "cpu", "none", 0, 0), "fp32")


def planned_film(wish: Wish, keyframes: int, seed: int, steps: int | None = None) -> VideoRecipe:
    """Return the film of given keyframes that the planner plans for pocket-svd."""
    stages = [{"prompt": "a keyframe", "picture": f"{number:064x}"} for number in range(keyframes)]
    request = make_request(
        {
            "kind": "video", "prompt": "a film", "seed": seed, "stages": stages, "frames_per_transition": FILM_FRAMES,
            "transition": wish.transition, "smooth_joins": wish.smooth_joins, "transition_steps": steps,
            "video_model": "pocket-svd",
        }
    )  # fmt: skip
    room = Budget("cpu", "any machine", 16 * GIB, 16 * GIB, 16 * GIB)
    here = Inventory(frozenset(name for name, spec in MODELS.items() if spec.pocket))
    film = make_plan(request, room, here, random.Random(0)).recipes[0]
    assert isinstance(film, VideoRecipe)
    return film


def pair_cases(n: int, seed: int) -> list[FilmCase]:
    """Return `n` held-out films; their first and last frames are the keyframes."""
    return film_cases(n, seed, FILM_FRAMES)


def join_cases(n: int, seed: int) -> list[FilmCase]:
    """Return `n` held-out films of three keyframes on one straight, even way: what joins should not show."""
    return film_cases(n, seed, 2 * FILM_FRAMES - 1)


def measure_pair(engine: SvdEngine, case: FilmCase, film: VideoRecipe, *, pin_ends: bool = True) -> Row:
    """Return what one transition between the case's first and last frame is like.

    Returns:
        calls, seconds (of sampling); first_end, last_end and the round trips of both keyframes, in dB; the figures of
        `judge_way`.
    """
    start, end = to_picture(case.frames[0]), to_picture(case.frames[-1])
    recipe = film.transitions[0]
    begun = time.perf_counter()
    latents = engine.sample(recipe, start, end, ignore_steps, pin_ends=pin_ends)
    seconds = time.perf_counter() - begun
    frames, ends = _decoded(engine, latents, [start, end], replace(film, fade_frames=0))
    frames[0], frames[-1] = (engine.round_trip(key) for key in (start, end))
    return {"calls": recipe.unet_calls, "seconds": round(seconds, 3), **ends, **judge_way(case, frames)}


def measure_film(engine: SvdEngine, case: FilmCase, film: VideoRecipe) -> Row:
    """Return what the join of a film of three keyframes is like, and its calls and seconds."""
    positions = film.key_positions
    keys = [to_picture(case.frames[at]) for at in positions]
    begun = time.perf_counter()
    if film.join_share:
        latents = engine.sample_together(film, keys, ignore_steps)
    else:
        parts = [engine.sample(part, keys[n], keys[n + 1], ignore_steps) for n, part in enumerate(film.transitions)]
        latents = np.concatenate([*(part[:-1] for part in parts[:-1]), parts[-1]])
    seconds = time.perf_counter() - begun
    frames, _ = _decoded(engine, latents, keys, film)
    return {"calls": film.unet_calls, "seconds": round(seconds, 3), **judge_joins(frames, positions)}


def judge_way(case: FilmCase, frames: NDArray[np.uint8]) -> Row:
    """Return figures of frames (n, 96, 160, 3) that lead from the case's first frame to its last.

    Returns:
        landing: the last step over the median one; blend: share of a cross-fade (None where it cannot be told); distance of
        the object to the even straight path, over the size (None where no frame shows one); found, single, kept: see
        `path_figures`.
    """
    stepped = numbers.steps(numbers.coarse(frames))
    figures = {one.name.removeprefix("film: "): one.value for one in path_figures("film", [case], [_as_tensor(frames)])}
    distance = figures["distance to the even straight path"]
    return {
        "landing": round(float(stepped[-1]) / max(numbers.STILL, float(np.median(stepped))), 4),
        "blend": _short(numbers.blend_share(frames)),
        "distance": None if math.isnan(distance) else round(distance, 5),
        "found": round(figures["frames with an object"], 4),
        "single": bool(figures["one object in the middle five frames"]),
        "kept": round(figures["frames with the object's colour and shape"], 4),
    }


def judge_joins(frames: NDArray[np.uint8], positions: Sequence[int]) -> Row:
    """Return join_ratio and hold at the inner keyframe of frames (n, 96, 160, 3) with three keyframes."""
    seen = numbers.coarse(frames)
    inner = list(positions[1:-1])
    ratios, held = numbers.join_ratios(numbers.bends(seen), inner), numbers.holds(numbers.steps(seen), inner)
    return {"join_ratio": round(ratios[0], 4), "hold": round(held[0], 4)}


def true_frames(case: FilmCase) -> NDArray[np.uint8]:
    """Return the case's own frames as pictures (n, 96, 160, 3)."""
    return np.stack([np.asarray(to_picture(frame)) for frame in case.frames])


def cross_fade(case: FilmCase, positions: Sequence[int]) -> NDArray[np.uint8]:
    """Return the plain mixture of neighbouring keyframes (n, 96, 160, 3): what costs nothing."""
    keys = true_frames(case)[list(positions)].astype(np.float32)
    frames = [
        keys[way] * (1 - share) + keys[way + 1] * share
        for way, (a, b) in enumerate(itertools.pairwise(positions))
        for share in np.linspace(0, 1, b - a + 1)[: -1 if b < positions[-1] else None]
    ]
    return np.stack(frames).round().astype(np.uint8)


def pair_figures(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Return the figures of one way from its rows of pairs; ends of unpinned rows stand apart."""
    pinned = [row for row in rows if row.get("pinned", True)]
    free = [row for row in rows if not row.get("pinned", True)]
    blends, distances = ([row[name] for row in pinned if row[name] is not None] for name in ("blend", "distance"))
    figures = []
    for name, some in (("", pinned), ("unpinned ", free)):
        for end in ("first", "last"):
            losses = [row[f"{end}_end"] - row[f"{end}_round_trip"] for row in some if f"{end}_end" in row]
            figures.append(mean(f"{name}{end} end over the round trip", losses, "dB"))
    return [
        *figures,
        mean("last step over the median step", (row["landing"] for row in pinned), "times"),
        share("lands without a jump", (row["landing"] <= LANDING_LIMIT for row in pinned)),
        mean("distance to the even straight path", distances, "of the size"),
        mean("frames with an object", (row["found"] for row in pinned), "of the frames"),
        share("one object in the middle five frames", (row["single"] for row in pinned)),
        mean("frames with the object's colour and shape", (row["kept"] for row in pinned), "of the frames"),
        mean("cross-fade", blends, "of the change"),
        share("looks like a cross-fade", (value > BLEND_LIMIT for value in blends)),
        mean("UNet calls", (row["calls"] for row in pinned if "calls" in row), "calls"),
        mean("seconds", (row["seconds"] for row in pinned if "seconds" in row), "s"),
    ]  # fmt: skip


def join_figures(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Return the figures of one way from its rows of films with three keyframes."""
    return [
        mean("join_ratio", (row["join_ratio"] for row in rows), "times"),
        share(f"join_ratio below {JOIN_LIMIT:g}", (row["join_ratio"] < JOIN_LIMIT for row in rows)),
        mean("hold", (row["hold"] for row in rows), "times"),
        share(f"hold in {HOLD_LOW:g} to {HOLD_HIGH:g}", (HOLD_LOW <= row["hold"] <= HOLD_HIGH for row in rows)),
        share("both", (row["join_ratio"] < JOIN_LIMIT and HOLD_LOW <= row["hold"] <= HOLD_HIGH for row in rows)),
        mean("UNet calls of the film", (row["calls"] for row in rows if "calls" in row), "calls"),
        mean("seconds of the film", (row["seconds"] for row in rows if "seconds" in row), "s"),
    ]


def seed_of(seed: int, number: int) -> int:
    """Return the film seed of a case: the same for every way, so that all begin at the same noise."""
    return derive_seed(seed, "case", number)


@torch.no_grad()
def _decoded(
    engine: SvdEngine, latents: NDArray[np.float32], keys: Sequence[Image.Image], film: VideoRecipe
) -> tuple[NDArray[np.uint8], Row]:
    """Return the frames with exact keyframes, and how the outer ones came out by themselves."""
    decoded = engine.decode([latents], keys, film.key_positions, film, ignore_steps)
    frames = np.stack(list(decoded.frames))
    ends: Row = {}
    for name, at in (("first", 0), ("last", -1)):
        ends |= {f"{name}_end": round(decoded.raw_psnr[at], 3), f"{name}_round_trip": round(decoded.round_trip_psnr[at], 3)}
    return frames, ends


def _as_tensor(frames: NDArray[np.uint8]) -> Tensor:
    """Return pictures (n, 96, 160, 3) as (n, 3, 96, 160) in −1..1."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
