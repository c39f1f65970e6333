"""SvdEngine on tiny parts: shapes, strides, errors, and life after them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from flux_svd.catalog import MODELS
from flux_svd.engines import preview
from flux_svd.engines.decode import frames_of, stitch
from flux_svd.engines.preview import to_webp
from flux_svd.engines.svd import SvdEngine
from flux_svd.errors import BadOutput, Cancelled, OutOfMemory
from flux_svd.progress import OnStep, ignore_steps
from flux_svd.recipe import VideoRecipe
from tests.tiny.builders import SIDE, picture, placement, transition_recipe, video_recipe

KEYS = [picture(seed) for seed in (1, 2, 3)]


@pytest.fixture
def load(folder_of: Callable[[str], Path]) -> Callable[..., SvdEngine]:
    def load(offload: str = "none") -> SvdEngine:
        return SvdEngine(MODELS["svd-xt"], folder_of("svd-xt"), placement("svd-xt", offload), "fp32")

    return load


def sample(engine: SvdEngine, on_step: OnStep = ignore_steps, **changes: Any) -> np.ndarray:
    return engine.sample(transition_recipe(**{"steps": 2, **changes}), KEYS[0], KEYS[1], on_step)


def decoded(engine: SvdEngine, latents: np.ndarray, recipe: VideoRecipe) -> np.ndarray:
    """Return all frames of a film of one transition."""
    return np.stack(list(engine.decode([latents], KEYS[:2], (0, 4), recipe, ignore_steps).frames))


@pytest.mark.parametrize("name", ["svd-xt", "svd"])
def test_every_video_row_loads_and_animates(name: str, folder_of: Callable[[str], Path]) -> None:
    engine = SvdEngine(MODELS[name], folder_of(name), placement(name), "fp32")
    latents = sample(engine, model=name)
    assert latents.shape == (5, 4, SIDE // 8, SIDE // 8)
    assert latents.dtype == np.float32
    assert latents.std() > 0.1


def test_every_stride_th_frame_is_kept_with_both_ends(load: Callable[..., SvdEngine]) -> None:
    engine = load()
    every, second = sample(engine, frames=9), sample(engine, frames=9, stride=2)
    assert np.array_equal(every[::2], second)
    assert len(second) == transition_recipe(frames=9, stride=2).kept_frames == 5


def test_neighbouring_transitions_share_their_keyframe_exactly(load: Callable[..., SvdEngine]) -> None:
    engine = load()
    first = sample(engine)
    second = engine.sample(transition_recipe(steps=2, seed=8), KEYS[1], KEYS[2], ignore_steps)
    assert np.array_equal(first[-1], second[0])


def test_all_keyframes_of_a_film_get_the_same_augmentation_noise(load: Callable[..., SvdEngine]) -> None:
    engine, seen = load(), []
    engine._pipeline.vae.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    sample(engine, seed=7)
    engine.sample(transition_recipe(steps=2, seed=8), KEYS[1], KEYS[2], ignore_steps)
    dusty, clean = seen[::2], seen[1::2]
    dust = [one - other for one, other in zip(dusty, clean, strict=True)]
    assert len(dust) == 4
    assert dust[0].std() == pytest.approx(0.02, rel=0.1)
    assert all(torch.allclose(dust[0], other, atol=1e-6) for other in dust)


def test_a_film_has_exact_keyframes_and_says_how_they_were(load: Callable[..., SvdEngine]) -> None:
    engine = load()
    parts = [transition_recipe(steps=2), transition_recipe(steps=2, seed=8)]
    latents = stitch([engine.sample(part, *KEYS[i : i + 2], ignore_steps) for i, part in enumerate(parts)])
    recipe = video_recipe(*parts)
    told: list[tuple[int, int]] = []
    film = engine.decode(latents, KEYS, recipe.key_positions, recipe, lambda done, frames, _: told.append((done, frames)))
    assert told == []  # nothing is decoded before its frames are taken
    frames = np.stack(list(film.frames))
    assert frames.shape == (9, SIDE, SIDE, 3)
    assert frames.dtype == np.uint8
    for at, key in zip((0, 4, 8), KEYS, strict=True):
        assert np.array_equal(frames[at], frames_of(key))
    assert len(film.raw_psnr) == len(film.round_trip_psnr) == 3
    assert all(0 < value < 40 for value in film.raw_psnr + film.round_trip_psnr)  # random weights: far from exact
    assert told[-1] == (9, 9)


def test_on_the_processor_the_whole_decode_is_there_and_no_keyframe_is_looked_at_again(load: Callable[..., SvdEngine]) -> None:
    engine, recipe = load(), video_recipe(transition_recipe(steps=2))
    latents, told = sample(engine), dict[bool, Any]()
    for on_cpu in (False, True):
        engine.follow(replace(placement("svd-xt", "none"), decode_on_cpu=on_cpu))
        film = engine.decode([latents], KEYS[:2], (0, 4), recipe, ignore_steps)
        told[on_cpu] = np.stack(list(film.frames)).tobytes(), tuple(film.raw_psnr), tuple(film.round_trip_psnr)
        for part in (engine._pipeline.vae.decoder, engine._pipeline.image_encoder):  # the processor has a decoder of its own
            part.register_forward_pre_hook(lambda *_: pytest.fail("used"))
    assert told[False] == told[True]


def test_colours_are_matched_before_the_fade_where_the_recipe_says_so(load: Callable[..., SvdEngine]) -> None:
    engine, recipe = load(), video_recipe(transition_recipe(steps=2), fade_frames=0)
    latents = sample(engine)
    plain, matched = (decoded(engine, latents, replace(recipe, colour_match=on)) for on in (False, True))
    assert np.array_equal(matched[0], frames_of(KEYS[0]))
    assert np.array_equal(matched[-1], frames_of(KEYS[1]))
    wanted = (frames_of(KEYS[0]).mean(axis=(0, 1)) + frames_of(KEYS[1]).mean(axis=(0, 1))) / 2
    off = [np.abs(film[2].mean(axis=(0, 1)) - wanted).max() for film in (plain, matched)]
    assert off[1] < 1 < off[0]  # grey levels


@pytest.mark.parametrize("method", ["plain", "vibid", "fusion", "bidirectional"])
def test_offload_changes_nothing_in_the_frames(method: str, load: Callable[..., SvdEngine]) -> None:
    assert np.array_equal(sample(load(), method=method), sample(load("model"), method=method))


def test_unpinned_ends_can_be_measured(load: Callable[..., SvdEngine]) -> None:
    engine, recipe = load(), transition_recipe(steps=2)
    pinned = engine.sample(recipe, KEYS[0], KEYS[1], ignore_steps)
    free = engine.sample(recipe, KEYS[0], KEYS[1], ignore_steps, pin_ends=False)
    assert np.abs(pinned[[0, -1]] - free[[0, -1]]).max() > 0.1


def test_a_keyframe_of_another_size_is_a_bug(load: Callable[..., SvdEngine]) -> None:
    with pytest.raises(ValueError, match=r"keyframe of \(64, 32\)"):
        load().sample(transition_recipe(), picture(1, 64, 32), KEYS[1], ignore_steps)


@pytest.mark.parametrize("offload", ["none", "model"])
def test_a_cancelled_engine_makes_the_next_transition(offload: str, load: Callable[..., SvdEngine]) -> None:
    engine = load(offload)
    before = sample(engine)

    def stop(call: int, calls: int, shown: bytes | None) -> None:
        if call == 3:
            raise Cancelled("stopped")

    hooks = getattr(engine._pipeline, "_all_hooks", None)
    with pytest.raises(Cancelled):
        sample(engine, stop)
    if offload == "model":  # every part went back to host memory and waits under a new hook
        assert engine._pipeline._all_hooks is not hooks
    assert np.array_equal(before, sample(engine))


@pytest.mark.parametrize("offload", ["none", "model"])
@pytest.mark.parametrize("part", ["unet", "vae"])
def test_out_of_memory_is_ours_and_the_next_transition_works(part: str, offload: str, load: Callable[..., SvdEngine]) -> None:
    engine = load(offload)
    before = sample(engine)

    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    model = engine._pipeline.unet if part == "unet" else engine._pipeline.vae.encoder
    hook = model.register_forward_pre_hook(fail)
    with pytest.raises(OutOfMemory):
        sample(engine)
    hook.remove()
    assert np.array_equal(before, sample(engine))


def test_out_of_memory_while_decoding_is_ours_and_the_next_film_works(load: Callable[..., SvdEngine]) -> None:
    engine, recipe = load(), video_recipe(transition_recipe(steps=2))
    latents = sample(engine)

    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = engine._pipeline.vae.decoder.register_forward_pre_hook(fail)
    with pytest.raises(OutOfMemory):
        decoded(engine, latents, recipe)
    hook.remove()
    assert decoded(engine, latents, recipe).std() > 1


def test_latents_that_are_not_finite_are_an_error(load: Callable[..., SvdEngine]) -> None:
    engine = load()
    with torch.no_grad():
        engine._pipeline.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(BadOutput, match="not finite"):
        sample(engine)


def test_frames_that_are_not_finite_or_one_colour_are_an_error(load: Callable[..., SvdEngine]) -> None:
    engine, recipe = load(), video_recipe(transition_recipe(steps=2))
    latents = sample(engine)
    with torch.no_grad():
        engine._pipeline.vae.decoder.time_conv_out.weight.zero_()
        engine._pipeline.vae.decoder.time_conv_out.bias.zero_()
    with pytest.raises(BadOutput, match="film is constant: every value is 128"):
        decoded(engine, latents, recipe)
    with torch.no_grad():
        engine._pipeline.vae.decoder.time_conv_out.bias.fill_(float("nan"))
    with pytest.raises(BadOutput, match="Frames 0 to 4 of the film are not finite"):
        decoded(engine, latents, recipe)


def test_previews_of_the_middle_frame_come_between_calls_and_only_if_resident(
    load: Callable[..., SvdEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "INTERVAL", 0)
    monkeypatch.setattr(preview, "WORK_SHARE", 1)
    for offload, expected in (("none", [True] * 6 + [False]), ("model", [False] * 7)):
        shown: list[bool] = []
        sample(load(offload), lambda call, calls, seen, shown=shown: shown.append(seen is not None))
        assert shown == expected


def test_a_strip_shows_the_inner_frames_in_order_and_small(load: Callable[..., SvdEngine]) -> None:
    engine = load()
    latents = np.linspace(-3, 3, 23, dtype=np.float32)[:, None, None, None] * np.ones((1, 4, SIDE // 8, SIDE // 8), np.float32)
    strip = engine.strip(latents)
    assert strip is not None
    shown = Image.open(io.BytesIO(strip))
    assert shown.size == (4 * SIDE, SIDE)
    alone = [to_webp(engine._decode_one(torch.from_numpy(latents[place : place + 1]))) for place in (4, 9, 13, 18)]
    for n, data in enumerate(alone):
        assert data is not None
        ours = np.asarray(shown.crop((n * SIDE, 0, (n + 1) * SIDE, SIDE)), np.float32)
        distances = [np.abs(ours - np.asarray(Image.open(io.BytesIO(other or b"")), np.float32)).mean() for other in alone]
        assert int(np.argmin(distances)) == n
    large = engine.strip(np.zeros((5, 4, 48, 80), np.float32) + latents[:5, :, :1, :1])
    assert large is not None
    assert Image.open(io.BytesIO(large)).size == (3 * 208, 128)  # folded by three from 640 × 384; three places of five frames


def test_an_offloaded_model_shows_no_strip(load: Callable[..., SvdEngine]) -> None:
    assert load("model").strip(np.zeros((5, 4, SIDE // 8, SIDE // 8), np.float32)) is None
