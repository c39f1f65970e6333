"""The engines with the weights the package carries: a picture, a film and a score that mean something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import flux_svd
from flux_svd.catalog import MODELS
from flux_svd.engines.clip import ClipScorer
from flux_svd.engines.decode import stitch
from flux_svd.engines.flux import FluxEngine
from flux_svd.engines.svd import SvdEngine
from flux_svd.memory import Placement
from flux_svd.pocket.judge_films import to_picture
from flux_svd.pocket.painter import paint_scenes
from flux_svd.pocket.world import Scene
from flux_svd.progress import ignore_steps
from flux_svd.recipe import ImageRecipe, TransitionRecipe, VideoRecipe

WEIGHTS = Path(flux_svd.__file__).parent / "pocket" / "weights"
WIDTH, HEIGHT = 160, 96


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def painter() -> FluxEngine:
    return FluxEngine(MODELS["pocket-flux"], WEIGHTS / "pocket-flux", placed("pocket-flux"), "fp32")


@pytest.fixture(scope="module")
def scorer() -> ClipScorer:
    return ClipScorer(MODELS["pocket-clip"], WEIGHTS / "pocket-clip")


def placed(name: str) -> Placement:
    return Placement(name, "cpu", "none", 0, 0)


def paint(painter: FluxEngine, prompt: str, width: int = 128, height: int = 128) -> Image.Image:
    spec = painter.spec
    recipe = ImageRecipe(
        model=spec.name, revision="", prompt=prompt, negative_prompt="", seed=7, width=width, height=height,
        steps=spec.steps, guidance=spec.guidance, guidance_kind=spec.guidance_kind, references=(), precision="fp32",
        prompt_tokens=spec.prompt_tokens, decode_tile=0, versions=(),
    )  # fmt: skip
    return painter.draw(recipe, (), ignore_steps)


def test_pocket_flux_paints_the_colours_it_is_asked_for(painter: FluxEngine) -> None:
    drawn = np.asarray(paint(painter, "a red circle on a blue background"), dtype=int)
    assert drawn.shape == (128, 128, 3)
    corners = drawn[[2, 2, -3, -3], [2, -3, 2, -3]].mean(axis=0)
    assert corners[2] > corners[0] + 60  # blue stands behind
    reddest = (drawn[..., 0] - drawn[..., 2]).max()
    assert reddest > 60  # and something red before it


def test_pocket_klein_takes_from_a_reference_what_the_words_leave_out() -> None:
    spec = MODELS["pocket-klein"]
    engine = FluxEngine(spec, WEIGHTS / spec.name, placed(spec.name), "fp32")
    pictures = {}
    for color, ground in (("red", "blue"), ("blue", "red")):
        shown = to_picture(paint_scenes([Scene("circle", color, "large", ground, "left")], 128, 128)[0])
        recipe = ImageRecipe(
            model=spec.name, revision="", prompt="the same object at the right", negative_prompt="", seed=7, width=128,
            height=128, steps=spec.steps, guidance=spec.guidance, guidance_kind=spec.guidance_kind, references=("shown",),
            precision="fp32", prompt_tokens=spec.prompt_tokens, decode_tile=0, versions=(),
        )  # fmt: skip
        pictures[color] = np.asarray(engine.draw(recipe, (shown,), ignore_steps), dtype=int)
    for color, sign in (("red", 1), ("blue", -1)):
        bright = pictures[color][..., 0] - pictures[color][..., 2]  # 180 of red, -170 of blue
        assert sign * (bright[64, 96] - bright[64, 32]) > 100  # the object is at the right now
        assert sign * (bright[64, 96] - bright[4, 4]) > 100  # and the ground is as it was


def test_pocket_clip_tells_the_prompt_of_a_picture_from_another(painter: FluxEngine, scorer: ClipScorer) -> None:
    prompts = ["a red circle on a blue background", "a green square on a white background"]
    pictures = [paint(painter, prompt) for prompt in prompts]
    matching = scorer.cosine(pictures, prompts)
    crossed = scorer.cosine(pictures, prompts[::-1])
    assert min(matching) > max(crossed) + 0.2  # 0.7 and more apart was seen


def test_pocket_svd_makes_a_film_whose_keyframes_are_as_good_as_its_vae(painter: FluxEngine) -> None:
    """23 + 23 − 1 frames; the image VAE decodes each frame alone, so a pinned end is its round trip exactly."""
    engine = SvdEngine(MODELS["pocket-svd"], WEIGHTS / "pocket-svd", placed("pocket-svd"), "fp32")
    keys = [
        paint(painter, f"a yellow star moving from left to right on a black background, at the {moment}", WIDTH, HEIGHT)
        for moment in ("start", "end")
    ]
    recipe = TransitionRecipe(
        model="pocket-svd", revision="", method="bidirectional", start="a", end="b", seed=7, width=WIDTH, height=HEIGHT,
        frames=23, stride=1, steps=2, guidance=1.0, motion_bucket_id=180, conditioning_fps=12, noise_aug_strength=0.02,
        motion_alignment=0.2, alignment_rounds=3, renoise_share=0.0, precision="fp32", versions=(),
    )  # fmt: skip
    latents = engine.sample(recipe, keys[0], keys[1], ignore_steps)
    assert latents.shape == (23, 8, HEIGHT // 8, WIDTH // 8)
    joined = stitch([latents, latents[::-1].copy()])  # there and back
    film_recipe = VideoRecipe(
        keyframes=(), transitions=(recipe, recipe), width=WIDTH, height=HEIGHT, fps=12, decode_chunk=8, decode_overlap=2,
        join_share=0.0, colour_match=False, fade_frames=3, crf=18, versions=(),
    )  # fmt: skip
    film = engine.decode(joined, [keys[0], keys[1], keys[0]], film_recipe.key_positions, film_recipe, ignore_steps)
    frames = np.stack(list(film.frames))
    assert frames.shape == (45, HEIGHT, WIDTH, 3)
    assert np.array_equal(frames[22], np.asarray(keys[1]))
    assert film.raw_psnr == pytest.approx(film.round_trip_psnr, abs=0.1)  # 0.0001 was seen; unpinned: 8 to 15 dB less
    assert min(film.raw_psnr) > 15
