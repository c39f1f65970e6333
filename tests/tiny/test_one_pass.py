"""Models that take several keyframes at once, as tiny random parts of their real classes in the real folder layout.

That they land on their keyframes cannot be shown here: random weights make noise. What is shown is how they are called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from flux_svd.catalog import MODELS
from flux_svd.engines.ltx import LtxEngine
from flux_svd.engines.onepass import exact_film
from flux_svd.engines.wan import WanEngine
from flux_svd.errors import BadOutput, Cancelled, ModelUnavailable
from flux_svd.progress import ignore_steps
from flux_svd.recipe import GivenPicture, OnePassRecipe, VideoRecipe
from tests.tiny.builders import picture, placement, video_recipe

Load = Callable[..., Any]
KINDS = {"ltx": LtxEngine, "wan-flf": WanEngine}
POSITIONS = {"ltx": (0, 8, 24), "wan-flf": (0, 8)}
WIDTH, HEIGHT = 64, 32


def recipe_of(name: str, **changes: Any) -> OnePassRecipe:
    places = POSITIONS[name]
    base = OnePassRecipe(
        model=name, revision="", prompt="a red fox", keyframes=tuple("abc"[: len(places)]), positions=places, seed=7, width=WIDTH,
        height=HEIGHT, frames=places[-1] + 1, frame_rate=12, steps=3, guidance=MODELS[name].guidance, prompt_tokens=32,
        precision="fp32", versions=(),
    )  # fmt: skip
    return replace(base, **changes)


def keys_of(name: str) -> list[Image.Image]:
    return [picture(seed, WIDTH, HEIGHT) for seed in range(len(POSITIONS[name]))]


@pytest.fixture
def load(folder_of: Callable[[str], Path]) -> Load:
    return lambda name, offload="none": KINDS[name](MODELS[name], folder_of(name), placement(name, offload), "fp32")


@pytest.mark.parametrize("name", KINDS)
def test_a_stretch_has_its_frames_and_the_same_recipe_gives_the_same(name: str, load: Load) -> None:
    engine, seen = load(name), []
    made = engine.make(recipe_of(name), keys_of(name), lambda step, steps, preview: seen.append((step, steps)))
    assert made.shape == (POSITIONS[name][-1] + 1, HEIGHT, WIDTH, 3)
    assert made.dtype == np.uint8
    assert made.std() > 1
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert np.array_equal(made, engine.make(recipe_of(name), keys_of(name), ignore_steps))
    assert not np.array_equal(made, engine.make(recipe_of(name, seed=8), keys_of(name), ignore_steps))


@pytest.mark.parametrize("name", KINDS)
def test_every_keyframe_and_the_prompt_reach_the_model(name: str, load: Load) -> None:
    engine, keys = load(name), keys_of(name)
    made = engine.make(recipe_of(name), keys, ignore_steps)
    for index in range(len(keys)):
        changed = [picture(9, WIDTH, HEIGHT) if n == index else key for n, key in enumerate(keys)]
        other = engine.make(recipe_of(name), changed, ignore_steps)
        assert not np.array_equal(made, other), f"keyframe {index + 1} has no effect"
    assert not np.array_equal(made, engine.make(recipe_of(name, prompt="a blue bird"), keys, ignore_steps))
    assert not np.array_equal(made, engine.make(recipe_of(name, guidance=1.0), keys, ignore_steps))


def test_keyframes_lie_where_the_recipe_says(load: Load) -> None:
    engine = load("ltx")
    made = engine.make(recipe_of("ltx"), keys_of("ltx"), ignore_steps)
    moved = engine.make(recipe_of("ltx", positions=(0, 16, 24)), keys_of("ltx"), ignore_steps)
    assert made.shape == moved.shape
    assert not np.array_equal(made, moved)


@pytest.mark.parametrize("name", KINDS)
def test_offload_changes_no_pixel_that_can_be_seen(name: str, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Model offload needs an accelerator; on the processor it is only shown that the placement reaches the loader."""
    asked: list[str] = []
    pipeline = type(load(name)._pipeline)
    monkeypatch.setattr(pipeline, "enable_model_cpu_offload", lambda self, device: asked.append(str(device)))
    load(name, "model")
    assert asked == ["cpu"]


@pytest.mark.parametrize("name", KINDS)
def test_a_stop_takes_effect_and_leaves_the_engine_usable(name: str, load: Load) -> None:
    engine = load(name)

    def stop(step: int, steps: int, preview: bytes | None) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        engine.make(recipe_of(name), keys_of(name), stop)
    assert len(engine.make(recipe_of(name), keys_of(name), ignore_steps)) == POSITIONS[name][-1] + 1


@pytest.mark.parametrize("name", KINDS)
def test_what_is_not_finite_is_refused(name: str, load: Load) -> None:
    engine = load(name)
    with torch.no_grad():
        engine._pipeline.transformer.proj_out.weight.fill_(float("nan"))
    with pytest.raises(BadOutput, match="step 1 of 3"):
        engine.make(recipe_of(name), keys_of(name), ignore_steps)


@pytest.mark.parametrize("name", KINDS)
def test_keyframes_of_another_size_or_number_are_no_wish_but_a_bug(name: str, load: Load) -> None:
    engine = load(name)
    for keys in (keys_of(name)[1:], [key.resize((32, 32)) for key in keys_of(name)]):
        with pytest.raises(ValueError, match="keyframes"):
            engine.make(recipe_of(name), keys, ignore_steps)


@pytest.mark.parametrize("name", KINDS)
def test_a_round_trip_is_one_picture_of_the_same_size(name: str, load: Load) -> None:
    assert load(name).round_trip(keys_of(name)[0]).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(("name", "other"), [("ltx", "wan-flf"), ("wan-flf", "ltx")])
def test_a_folder_of_another_model_is_refused(name: str, other: str, folder_of: Callable[[str], Path]) -> None:
    with pytest.raises(ModelUnavailable, match="is needed"):
        KINDS[name](MODELS[name], folder_of(other), placement(name), "fp32")


def film_of_two() -> VideoRecipe:
    part = recipe_of("wan-flf")
    keys = tuple(GivenPicture(letter * 64, WIDTH, HEIGHT) for letter in "abc")
    return video_recipe(keyframes=keys, passes=(part, part), width=WIDTH, height=HEIGHT)


def test_stretches_join_at_a_keyframe_that_is_kept_once_and_exact() -> None:
    film, rng = film_of_two(), np.random.default_rng(1)
    assert film.frames == 17
    assert film.key_positions == (0, 8, 16)
    stretches = [rng.integers(0, 256, (9, HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(2)]
    keys = [picture(seed, WIDTH, HEIGHT) for seed in range(3)]
    made = exact_film(stretches, keys, [np.asarray(key) for key in keys], film)
    frames = list(made.frames)
    assert len(frames) == 17
    for place, key in zip(film.key_positions, keys, strict=True):
        assert np.array_equal(frames[place], np.asarray(key))
    assert np.array_equal(frames[4], stretches[0][4]), "between keyframes nothing is changed"
    assert np.array_equal(frames[12], stretches[1][4])
    assert len(made.raw_psnr) == 3
    assert max(made.raw_psnr) < 20 < min(made.round_trip_psnr)
