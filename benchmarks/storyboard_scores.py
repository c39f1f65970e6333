"""Which numbers of pocket-clip mean something for keyframes? The limits in flux_svd/selection.py come from here.

    python benchmarks/storyboard_scores.py [--pairs 200] [--films 20] [--stages 12] [--json FILE]

Three questions: how alike are two keyframes that belong together, and two that do not, and does pocket-svd bridge them; how much
does a score change when a picture moves by one pixel; how far apart are the candidates of one keyframe.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import ImageChops
from PIL.Image import Image

from flux_svd.catalog import MODELS
from flux_svd.device import cpu_name
from flux_svd.engines.inbetween import InbetweenPipeline
from flux_svd.plan import Plan
from flux_svd.planner import installed_versions
from flux_svd.pocket.judge_films import read_film_frame, sample_film, to_picture, transition_recipe
from flux_svd.pocket.painter import paint, sample_paths
from flux_svd.pocket.train_svd_vae import HEIGHT, WIDTH
from flux_svd.progress import ignore_steps
from flux_svd.recipe import ImageRecipe, derive_seed
from flux_svd.request import make_request
from flux_svd.session import Session
from flux_svd.weights import need_folder

KINDS = ("one object moved", "another colour and shape", "another picture")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--films", type=int, default=20, help="films of each kind of pair")
    parser.add_argument("--stages", type=int, default=12, help="prompts with eight candidates each")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        session = Session(home=Path(folder) / "home", output_dir=Path(folder) / "out")
        result = {
            "command": f"python benchmarks/storyboard_scores.py --pairs {arguments.pairs} --films {arguments.films} "
            f"--stages {arguments.stages}",
            "date": time.strftime("%Y-%m-%d"),
            "device": cpu_name(),
            "platform": platform.platform(),
            "versions": dict(installed_versions("torch", "diffusers", "transformers", "open_clip_torch")),
            "scorer": "pocket-clip",
            "pairs": _pairs(session, arguments.pairs),
            "films": _films(arguments.films) if arguments.films else {},
            **_candidates(session, arguments.stages),
        }
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def _painted(kind: str, n: int, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return n pairs of pictures (3, height, width) in −1..1."""
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    start, end = sample_paths(n, rng, generator, held_out=True)
    if kind != KINDS[0]:
        other, _ = sample_paths(n, rng, generator, held_out=True)
        same = {"background": end.background} if kind == KINDS[1] else {"background": other.background}
        end = dataclasses.replace(end, color=other.color, shape=other.shape, outlined=other.outlined, **same)
    return list(zip(paint(start, WIDTH, HEIGHT), paint(end, WIDTH, HEIGHT), strict=True))


def _pairs(session: Session, n: int) -> dict[str, Any]:
    scorer = session._engines.scorer("pocket-clip")
    found = {}
    for kind in KINDS:
        cosines = []
        for first, last in _painted(kind, n, 1):
            cosines.append(scorer.likeness([to_picture(first), to_picture(last)])[0][1])
        found[kind] = _spread(cosines)
    return found


def _films(n: int) -> dict[str, Any]:
    """Return the share of films whose middle five frames show one object, for each kind of pair."""
    pipeline = InbetweenPipeline.from_pretrained(need_folder(MODELS["pocket-svd"], Path()), dtype=torch.float32)
    found = {}
    for kind in KINDS:
        single = []
        for number, (first, last) in enumerate(_painted(kind, n, 2)):
            film = sample_film(pipeline, first, last, transition_recipe(derive_seed(3, "film", number), 10))
            single.append(all(read_film_frame(frame).objects == 1 for frame in film[9:14]))
        found[kind] = {"one object in the middle five frames": round(statistics.mean(single), 3), "n": n}
    return found


def _candidates(session: Session, stages: int) -> dict[str, Any]:
    """Return how far apart the candidates of a keyframe are, and how much moving by a pixel changes their scores."""
    scorer = session._engines.scorer("pocket-clip")
    prompts = [f"a {color} {shape} at the {place} on a {ground} background" for color, shape, place, ground in _scenes(stages)]
    match, likeness, shifted = [], [], []
    for prompt in prompts:
        wish = {"kind": "image", "prompt": prompt, "seed": 5, "count": 8, "width": 160, "height": 96}
        plan: Plan = session.plan(make_request(wish))
        recipes = [recipe for recipe in plan.recipes if isinstance(recipe, ImageRecipe)]
        engine = session._engines.flux(plan.placements[0], recipes[0].precision)
        drawn = [engine.draw(recipe, [], ignore_steps) for recipe in recipes]
        own = scorer.cosine(drawn, [prompt] * len(drawn))
        match.append(statistics.stdev(own))
        likeness.append(statistics.stdev(scorer.likeness(drawn)[0][1:]))
        shifted += [abs(a - b) for a, b in zip(own, scorer.cosine(_shifted(drawn), [prompt] * len(drawn)), strict=True)]
    return {
        "match, standard deviation over candidates": _spread(match),
        "likeness to the first, standard deviation over candidates": _spread(likeness),
        "match, change when moved by one pixel": _spread(shifted),
    }


def _shifted(pictures: Sequence[Image]) -> list[Image]:
    return [ImageChops.offset(picture, 1, 0) for picture in pictures]


def _scenes(n: int) -> list[tuple[str, str, str, str]]:
    rng = random.Random(4)
    colors, shapes, places = ("red", "green", "blue", "yellow", "white"), ("circle", "square", "star", "heart"), ("left", "right")
    return [(*rng.sample(colors, 1), rng.choice(shapes), rng.choice(places), rng.choice(("black", "purple"))) for _ in range(n)]


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = {f"{percent} %": ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] for percent in (0, 5, 50, 95)}
    return {**{name: round(value, 4) for name, value in at.items()}, "n": len(ordered)}


if __name__ == "__main__":
    main()
