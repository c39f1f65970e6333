"""Draw the sample sheets of the pocket models into docs/pocket: `python benchmarks/pocket_sheets.py`.

The captions, wishes and films are the first held-out ones of a seed; none was chosen for its looks.
"""

from __future__ import annotations

import argparse
import random
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import Flux2KleinPipeline, FluxPipeline
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from flux_svd.engines.inbetween import InbetweenPipeline
from flux_svd.pocket.edits import KINDS, PAIR_KINDS, sample_edit
from flux_svd.pocket.judge import WEIGHTS, draw_pictures, held_out_scenes
from flux_svd.pocket.judge_films import film_cases, sample_film, to_picture, transition_recipe
from flux_svd.pocket.judge_klein import default_guidance, draw_klein, painted
from flux_svd.pocket.world import caption
from flux_svd.recipe import derive_seed

FOLDER = Path(__file__).parents[1] / "docs" / "pocket"
SQUARE = (128, 128)
GAP, LINE = 8, 15


def main() -> None:
    """Draw what is named, or all three sheets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sheets", nargs="*", metavar="SHEET", help="flux, klein or films; default: all")
    parser.add_argument("--seed", type=int, default=2026)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    sheets = {"flux": captions_sheet, "klein": wishes_sheet, "films": films_sheet}
    for name in chosen.sheets or sheets:
        sheets[name](chosen.seed).save(FOLDER / f"{name}.webp", quality=90)


def captions_sheet(seed: int) -> Image.Image:
    """Return 20 pictures of pocket-flux under their captions."""
    pipeline = FluxPipeline.from_pretrained(WEIGHTS / "pocket-flux", dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    rng = random.Random(seed)
    words = [caption(scene, rng) for scene in held_out_scenes(20, rng)]
    drawn = draw_pictures(pipeline, words, SQUARE, 8, 3.0, seed)
    return sheet([[_picture(one)] for one in drawn], words, across=5)


def wishes_sheet(seed: int) -> Image.Image:
    """Return two wishes of each kind about one picture, and of each kind about two: what was shown, then what came of it."""
    folder = WEIGHTS / "pocket-klein"
    pipeline = Flux2KleinPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    steps, guidance = default_guidance(folder)
    rng, noise = random.Random(seed), torch.Generator().manual_seed(seed)
    kinds = [kind for kind in (*KINDS, *PAIR_KINDS) for _ in range(2)]
    rows, words = [], []
    for number, kind in enumerate(kinds):
        edit = sample_edit(rng, 2 if kind in PAIR_KINDS else 1, held_out=True, kind=kind)
        shown = [painted(scene, SQUARE, noise) for scene in edit.references]
        [drawn] = draw_klein(pipeline, [edit.words], shown, SQUARE, steps, guidance, [seed + number])
        rows.append([*shown, _picture(drawn)])
        words.append(edit.words)
    return sheet(rows, words, across=2)


def films_sheet(seed: int) -> Image.Image:
    """Return eight films of pocket-svd, nine frames of each from the first keyframe to the second."""
    pipeline = InbetweenPipeline.from_pretrained(WEIGHTS / "pocket-svd", dtype=torch.float32)
    rows = []
    for number, case in enumerate(film_cases(8, seed)):
        recipe = transition_recipe(derive_seed(seed, "film", number), 10)
        film = sample_film(pipeline, case.frames[0], case.frames[-1], recipe)
        rows.append([to_picture(film[at]) for at in np.linspace(0, len(film) - 1, 9).round().astype(int)])
    return sheet(rows, [""] * len(rows), across=1)


def sheet(rows: Sequence[Sequence[Image.Image]], words: Sequence[str], across: int) -> Image.Image:
    """Return rows of pictures side by side, each under its words, `across` rows a line, on the page's grey."""
    font = ImageFont.load_default(13)
    wide = max(sum(one.width + GAP for one in row) for row in rows) + GAP
    lines = [textwrap.wrap(text, width=max(20, wide // 7)) for text in words]
    head = max(map(len, lines)) * LINE + (GAP if any(words) else 0)
    high = head + rows[0][0].height + 2 * GAP
    whole = Image.new("RGB", (wide * across, high * -(-len(rows) // across)), (236, 236, 236))
    pen = ImageDraw.Draw(whole)
    for number, (row, text) in enumerate(zip(rows, lines, strict=True)):
        left, top = number % across * wide + GAP, number // across * high + GAP
        for index, line in enumerate(text):
            pen.text((left, top + index * LINE), line, fill=(40, 40, 40), font=font)
        for index, picture in enumerate(row):
            whole.paste(picture, (left + index * (picture.width + GAP), top + head))
    return whole


def _picture(drawn: NDArray[np.float32]) -> Image.Image:
    return Image.fromarray((drawn * 255).round().astype(np.uint8))


if __name__ == "__main__":
    main()
