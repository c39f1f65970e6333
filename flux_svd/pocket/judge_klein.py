"""Judge pocket-klein: captions as pocket-flux is judged, and wishes about one or two pictures."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from flux_svd.pocket.checker import check_scene, read_picture
from flux_svd.pocket.edits import KINDS, PAIR_KINDS, Edit, sample_edit
from flux_svd.pocket.figures import Figure, share
from flux_svd.pocket.judge_films import to_picture
from flux_svd.pocket.painter import paint_scenes
from flux_svd.pocket.train_flux import SIZES_TRAINED
from flux_svd.pocket.train_klein import PROMPT_TOKENS, TEXT_LAYERS
from flux_svd.pocket.world import ALL_TOLD, Scene

ASKED = {  # which attributes the words of a kind are about
    "place": {"place"},
    "color": {"color"},
    "background": {"background"},
    "style": {"style"},
    "size": {"size"},
    "place and background": {"place", "background"},
    "shape": {"shape"},
    "color of the second": {"color"},
    "background of the second": {"background"},
    "place of the second": {"place"},
}


def default_guidance(folder: Path) -> tuple[int, float]:
    """Return (steps, guidance) of the model card in `folder`."""
    card = json.loads((folder / "card.json").read_text())
    return card["steps"], card["guidance"]


@torch.no_grad()
def draw_klein(
    pipeline: Any,
    words: Sequence[str],
    references: list[Image.Image],
    size: tuple[int, int],
    steps: int,
    guidance: float,
    seeds: Sequence[int],
) -> NDArray[np.float32]:
    """Return a picture for each of the words, (n, height, width, 3) in 0..1, all of the same references."""
    drawn = pipeline(
        prompt=list(words),
        image=references or None,
        width=size[0],
        height=size[1],
        num_inference_steps=steps,
        guidance_scale=guidance,
        max_sequence_length=PROMPT_TOKENS,
        text_encoder_out_layers=TEXT_LAYERS,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="np",
    )
    pictures: NDArray[np.float32] = drawn.images
    return pictures


def judge_edits(
    pipeline: Any, n: int, seed: int, steps: int, guidance: float, shuffled: bool = False, kinds: tuple[str, ...] = ()
) -> list[Figure]:
    """Return how often `n` wishes about pictures are followed, and what they don't mention is kept.

    With `shuffled` each picture is checked against another wish's target: the score of chance.
    """
    rng, noise = random.Random(seed), torch.Generator().manual_seed(seed)
    chosen = kinds or (*KINDS, *PAIR_KINDS)
    edits = [sample_edit(rng, 2 if kind in PAIR_KINDS else 1, held_out=True, kind=kind) for kind in _spread(chosen, n)]
    targets = [edit.target for edit in edits]
    if shuffled:
        targets = targets[1:] + targets[:1]
    hits: dict[str, list[bool]] = defaultdict(list)
    for number, (edit, target) in enumerate(zip(edits, targets, strict=True)):
        size = SIZES_TRAINED[number // len(chosen) % len(SIZES_TRAINED)]
        shown = [painted(scene, size, noise) for scene in edit.references]
        [drawn] = draw_klein(pipeline, [edit.words], shown, size, steps, guidance, [seed * 100_003 + number])
        _count(hits, edit, target, drawn)
    return [share(name, hits[name]) for name in sorted(hits)]


def painted(scene: Scene, size: tuple[int, int], noise: torch.Generator) -> Image.Image:
    """Return the scene as the painter paints it, `noise` its small chances."""
    return to_picture(paint_scenes([scene], *size, noise)[0])


def _count(hits: dict[str, list[bool]], edit: Edit, target: Scene, drawn: NDArray[np.float32]) -> None:
    found = check_scene(read_picture(drawn), replace(target, says=ALL_TOLD))
    asked = ASKED[edit.kind]
    followed = all(found[name] for name in asked)
    subject = [found[name] for name in ("shape", "color") if name not in asked]
    hits[f"followed, {edit.kind}"].append(followed)
    hits["followed"].append(followed)
    hits["shape and color of the reference kept"].append(all(subject))
    hits[f"with {len(edit.references)} reference{'s' * (len(edit.references) > 1)}: followed and kept"].append(
        followed and all(subject)
    )


def _spread(kinds: tuple[str, ...], n: int) -> list[str]:
    return [kinds[number % len(kinds)] for number in range(n)]
