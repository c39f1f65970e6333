"""Judge the pocket models on held-out captions: `python -m flux_svd.pocket.judge [NAME] --n 500 --json FILE`."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import Flux2KleinPipeline, FluxPipeline
from torch import Tensor

from flux_svd.pocket.checker import check_scene, read_picture
from flux_svd.pocket.figures import Figure, as_json, mean, share, table
from flux_svd.pocket.judge_films import judge_films, judge_vae
from flux_svd.pocket.judge_klein import default_guidance, draw_klein, judge_edits
from flux_svd.pocket.loop import Luck
from flux_svd.pocket.train_clip import CHANGES, changed, load_clip, small_pictures
from flux_svd.pocket.train_flux import PROMPT_TOKENS, SIZES_TRAINED
from flux_svd.pocket.world import Scene, caption, sample_scene

WEIGHTS = Path(__file__).parent / "weights"
TOLD = frozenset({"background", "place", "size"})  # by every judged caption, so that each attribute has all n


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table per judged model and write all figures as JSON."""
    chosen = _parser().parse_args(arguments)
    torch.set_grad_enabled(False)
    judges: dict[str, Callable[[], list[Figure]]] = {
        "flux": lambda: judge_flux(_flux(chosen), chosen.n, chosen.seed, chosen.shuffled, chosen.steps, chosen.cfg),
        "klein": lambda: judge_klein(
            chosen.folder or WEIGHTS / "pocket-klein", chosen.n, chosen.seed, chosen.shuffled, chosen.steps, chosen.cfg
        ),
        "clip": lambda: judge_clip(chosen.folder or WEIGHTS / "pocket-clip", chosen.n, chosen.seed, chosen.shuffled),
        "svd-vae": lambda: judge_vae(chosen.folder or WEIGHTS / "pocket-svd", min(chosen.n, 100), chosen.seed),
        "svd": lambda: judge_films(
            chosen.folder or WEIGHTS / "pocket-svd", min(chosen.n, 100), chosen.seed, chosen.shuffled, chosen.steps or 10
        ),
    }
    found: dict[str, Any] = {}
    for name in [chosen.name] if chosen.name else judges:
        begun = time.perf_counter()
        figures = judges[name]()
        seconds = time.perf_counter() - begun
        shuffled = ", shuffled" if chosen.shuffled else ""
        print(table(f"{name}{shuffled} ({seconds:.0f} s, {torch.get_num_threads()} threads)", figures), flush=True)
        found[name] = {"seconds": round(seconds, 1), "shuffled": chosen.shuffled, "figures": as_json(figures)}
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")


def judge_flux(
    pipeline: Any, n: int, seed: int, shuffled: bool = False, steps: int | None = None, cfg: float | None = None
) -> list[Figure]:
    """Return what the checker reads in pictures of `n` held-out captions, half of them square, half film keyframes.

    With `shuffled` each picture is checked against another caption's scene: the score of chance.
    """
    card = json.loads((WEIGHTS / "pocket-flux" / "card.json").read_text())
    steps, cfg = steps or card["steps"], card["true_cfg"] if cfg is None else cfg
    rng = random.Random(seed)
    scenes = held_out_scenes(n, rng)
    wanted = scenes[1:] + scenes[:1] if shuffled else scenes
    drawn: dict[int, np.ndarray[Any, Any]] = {}
    for index, size in enumerate(SIZES_TRAINED):
        mine = list(range(index, n, len(SIZES_TRAINED)))
        prompts = [caption(scenes[number], rng) for number in mine]
        drawn |= dict(zip(mine, draw_pictures(pipeline, prompts, size, steps, cfg, seed), strict=True))
    return picture_figures([drawn[number] for number in range(n)], wanted)


@torch.no_grad()
def judge_klein(
    folder: Path, n: int, seed: int, shuffled: bool = False, steps: int | None = None, cfg: float | None = None
) -> list[Figure]:
    """Return what the checker reads in pictures of `n` held-out captions and of `n` wishes about pictures."""
    pipeline = Flux2KleinPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    if steps is None or cfg is None:
        told = default_guidance(folder)
        steps, cfg = steps or told[0], told[1] if cfg is None else cfg
    captions = judge_captions(pipeline, n, seed, steps, cfg, shuffled)
    return captions + judge_edits(pipeline, n, seed, steps, cfg, shuffled)


def judge_captions(pipeline: Any, n: int, seed: int, steps: int, cfg: float, shuffled: bool = False) -> list[Figure]:
    """Return what the checker reads in pictures of pocket-klein of `n` held-out captions, half square, half film keyframes."""
    rng = random.Random(seed)
    scenes = held_out_scenes(n, rng)
    wanted = scenes[1:] + scenes[:1] if shuffled else scenes
    words = [caption(scene, rng) for scene in scenes]
    drawn: dict[int, np.ndarray[Any, Any]] = {}
    for index, size in enumerate(SIZES_TRAINED):
        for begin in range(index, n, 16 * len(SIZES_TRAINED)):
            some = range(begin, min(n, begin + 16 * len(SIZES_TRAINED)), len(SIZES_TRAINED))
            seeds = [seed * 100_003 + number for number in some]
            pictures = draw_klein(pipeline, [words[number] for number in some], [], size, steps, cfg, seeds)
            drawn |= dict(zip(some, pictures, strict=True))
    return picture_figures([drawn[number] for number in range(n)], wanted)


def picture_figures(pictures: Sequence[np.ndarray[Any, Any]], wanted: Sequence[Scene]) -> list[Figure]:
    """Return the shares of pictures (height, width, 3) on which the checker reads what the wanted scenes tell."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for picture, scene in zip(pictures, wanted, strict=True):
        found = check_scene(read_picture(picture), scene)
        four = all(found[name] for name in ("color", "shape", "background", "place"))
        height, width = picture.shape[:2]
        found |= {"all four": four, f"all four, {width} × {height}": four}
        found["all four, " + ("moving" if scene.move else "still")] = four
        for name, value in found.items():
            hits[name].append(value)
    return [share(name, hits[name]) for name in sorted(hits)]


@torch.no_grad()
def draw_pictures(
    pipeline: Any, prompts: Sequence[str], size: tuple[int, int], steps: int, cfg: float, seed: int, batch: int = 16
) -> list[np.ndarray[Any, Any]]:
    """Return pictures (height, width, 3) in 0..1; `cfg` of 1 or less asks the model once a step instead of twice."""
    pictures: list[np.ndarray[Any, Any]] = []
    for begin in range(0, len(prompts), batch):
        some = list(prompts[begin : begin + batch])
        pictures += list(
            pipeline(
                some,
                negative_prompt=[""] * len(some) if cfg > 1 else None,
                true_cfg_scale=cfg,
                width=size[0],
                height=size[1],
                num_inference_steps=steps,
                guidance_scale=0.0,
                max_sequence_length=PROMPT_TOKENS,
                generator=[torch.Generator().manual_seed(seed * 100_003 + begin + offset) for offset in range(len(some))],
                output_type="np",
            ).images
        )
    return pictures


def held_out_scenes(n: int, rng: random.Random) -> list[Scene]:
    """Return `n` held-out scenes whose captions tell color, shape, size, place and background."""
    scenes = (sample_scene(rng, held_out=True) for _ in range(n))
    return [replace(scene, says=scene.says | TOLD) for scene in scenes]


@torch.no_grad()
def judge_clip(folder: Path, n: int, seed: int, shuffled: bool = False) -> list[Figure]:
    """Return retrieval among 100 held-out captions, and how often the right caption beats one with one thing changed."""
    model, tokenizer = load_clip(folder)
    model.eval()
    luck = Luck.from_seed(seed)
    figures = _retrieval(model, tokenizer, max(1, n // 100), luck, shuffled)
    scenes = held_out_scenes(n, luck.words)
    pictures = small_pictures(scenes, luck)
    if shuffled:
        pictures = pictures.roll(1, 0)
    seen = model.encode_image(pictures, normalize=True)
    every: list[bool] = []
    for attribute in CHANGES:
        pairs = [(index, scene, changed(scene, attribute, luck.words, for_training=False)) for index, scene in enumerate(scenes)]
        pairs = [pair for pair in pairs if pair[1] != pair[2]]
        right = model.encode_text(tokenizer([caption(scene) for _, scene, _ in pairs]), normalize=True)
        wrong = model.encode_text(tokenizer([caption(other) for _, _, other in pairs]), normalize=True)
        here = seen[[index for index, _, _ in pairs]]
        hits = ((here * right).sum(1) > (here * wrong).sum(1)).tolist()
        figures.append(share(f"right beats other {attribute}", hits))
        every += hits
    return [*figures, share("right beats one changed attribute", every)]


def _retrieval(model: Any, tokenizer: Any, sets: int, luck: Luck, shuffled: bool) -> list[Figure]:
    to_text: list[bool] = []
    to_image: list[bool] = []
    matches: list[float] = []
    for _ in range(sets):
        by_caption: dict[str, Scene] = {}
        while len(by_caption) < 100:
            scene = held_out_scenes(1, luck.words)[0]
            by_caption[caption(scene)] = scene
        pictures = small_pictures(list(by_caption.values()), luck)
        read: Tensor = model.encode_text(tokenizer(list(by_caption)), normalize=True)
        cosines = model.encode_image(pictures.roll(1, 0) if shuffled else pictures, normalize=True) @ read.T  # (100, 100)
        diagonal = torch.arange(100)
        to_text += (cosines.argmax(1) == diagonal).tolist()
        to_image += (cosines.argmax(0) == diagonal).tolist()
        matches += cosines.diagonal().tolist()
    return [
        share("image to text, top 1 of 100", to_text),
        share("text to image, top 1 of 100", to_image),
        mean("cosine of a match", matches, "cosine"),
    ]


def _flux(chosen: argparse.Namespace) -> Any:
    pipeline = FluxPipeline.from_pretrained(chosen.folder or WEIGHTS / "pocket-flux", dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flux_svd.pocket.judge", description=__doc__)
    parser.add_argument("name", nargs="?", choices=("flux", "klein", "clip", "svd-vae", "svd"), help="default: all of them")
    parser.add_argument("--n", type=int, default=500, help="captions; films and their autoencoder: at most 100")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--shuffled", action="store_true", help="check against other captions: chance")
    parser.add_argument("--steps", type=int, help="default: the model card's")
    parser.add_argument("--cfg", type=float, help="guidance of flux and klein; default: the model card's")
    parser.add_argument("--folder", type=Path, help="judge another folder of weights")
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser


if __name__ == "__main__":
    main()
