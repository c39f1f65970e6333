"""With the weights the package carries: beginning at a picture, staying near one, leaving out work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flux_svd.catalog import MODELS
from flux_svd.engines.clip import ClipScorer
from flux_svd.engines.flux import FluxEngine
from flux_svd.progress import ignore_steps
from flux_svd.recipe import ImageRecipe
from tests.pocket.test_engines import WEIGHTS, placed

CIRCLE, STAR = "a red circle on a blue background", "a yellow star at the left on a black background"
SPEC = MODELS["pocket-flux"]
RECIPE = ImageRecipe(
    model=SPEC.name, revision="", prompt=CIRCLE, negative_prompt="", seed=3, width=128, height=128, steps=SPEC.steps,
    guidance=SPEC.guidance, guidance_kind=SPEC.guidance_kind, references=(), precision="fp32",
    prompt_tokens=SPEC.prompt_tokens, decode_tile=0, versions=(),
)  # fmt: skip


@pytest.fixture(scope="module")
def painter() -> FluxEngine:
    return FluxEngine(SPEC, WEIGHTS / SPEC.name, placed(SPEC.name), "fp32")


@pytest.fixture(scope="module")
def scorer() -> ClipScorer:
    return ClipScorer(MODELS["pocket-clip"], WEIGHTS / "pocket-clip")


def paint(painter: FluxEngine, begun: Image.Image | None = None, **changes: Any) -> Image.Image:
    return painter.draw(replace(RECIPE, **changes), (), ignore_steps, start=begun)


def apart(one: Image.Image, other: Image.Image) -> float:
    return float(abs(np.asarray(one, float) - np.asarray(other, float)).mean())


def test_little_strength_keeps_the_picture_and_much_follows_the_prompt(painter: FluxEngine, scorer: ClipScorer) -> None:
    start = paint(painter)
    slightly, wholly = (paint(painter, start, prompt=STAR, seed=5, start="0" * 64, strength=share) for share in (0.1, 1.0))
    kept, lost = ([float(value) for value in scorer.cosine([one, one], [CIRCLE, STAR])] for one in (slightly, wholly))
    assert kept[0] > kept[1] + 0.2  # 0.61 and 0.06 were seen
    assert lost[1] > lost[0] + 0.5  # 0.90 and −0.17 were seen
    assert apart(slightly, start) < 0.6 * apart(wholly, start)  # 28 and 91 were seen


def test_a_small_variation_is_nearer_than_another_seed(painter: FluxEngine) -> None:
    here, near, there = paint(painter), paint(painter, variation_seed=9, variation=0.15), paint(painter, seed=9)
    assert 0 < apart(here, near) < 0.6 * apart(here, there)


def test_a_step_cache_skips_work_and_still_paints_what_was_asked_for(painter: FluxEngine, scorer: ClipScorer) -> None:
    calls: list[int] = []
    last = painter._pipeline.transformer.single_transformer_blocks[-1].attn
    hook = last.register_forward_hook(lambda *_: calls.append(1))
    quick = paint(painter, step_cache=0.3)
    hook.remove()
    assert 0 < len(calls) < 2 * RECIPE.steps  # 10 of 16 were seen, pixels 0.6 grey levels away
    right, wrong = (float(value) for value in scorer.cosine([quick, quick], [CIRCLE, STAR]))
    assert right > wrong + 0.5  # 0.89 and −0.22 were seen
