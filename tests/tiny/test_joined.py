"""Transitions denoised together: equal to alone where nothing joins them, exact keyframes, windows across the inner ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from flux_svd.engines import joined
from flux_svd.engines.inbetween import EncodedKeyframe, InbetweenPipeline, seeded_noise
from flux_svd.engines.joined import denoise_together, triangle
from flux_svd.engines.placement import load_pipeline
from flux_svd.errors import BadOutput
from flux_svd.recipe import VideoRecipe
from tests.tiny.builders import SIDE, picture, placement, transition_recipe, video_recipe

AUGMENTATION = torch.randn((1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1))
Keys = list[EncodedKeyframe]


@pytest.fixture(scope="module")
def folder(folder_of: Callable[[str], Path]) -> Path:
    return folder_of("svd-xt")


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> InbetweenPipeline:
    return load_pipeline(InbetweenPipeline, folder, placement("svd-xt"), "fp32")


@pytest.fixture(scope="module")
def keys(pipeline: InbetweenPipeline) -> Keys:
    return [pipeline.encode_keyframe(picture(seed), 0.02, AUGMENTATION) for seed in (1, 2, 3)]


def film_of(transitions: int = 2, share: float = 0.5, **changes: Any) -> VideoRecipe:
    return video_recipe(*(transition_recipe(seed=7 + n, **changes) for n in range(transitions)), join_share=share)


def run(pipeline: InbetweenPipeline, keys: Keys, film: VideoRecipe, told: list[tuple[int, int]] | None = None) -> Tensor:
    return denoise_together(
        pipeline, keys, film, lambda call, calls, estimate: told.append((call, calls)) if told is not None else None
    )


def alone(pipeline: InbetweenPipeline, keys: Keys, film: VideoRecipe) -> Tensor:
    parts = [
        pipeline(*keys[n : n + 2], recipe, seeded_noise(recipe.seed), lambda call, calls, estimate: None)
        for n, recipe in enumerate(film.transitions)
    ]
    return torch.cat([*(part[:, :-1] for part in parts[:-1]), parts[-1]], dim=1)


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("method", ["bidirectional", "vibid"])
def test_one_transition_together_is_one_transition_alone(method: str, pipeline: InbetweenPipeline, keys: Keys) -> None:
    film = film_of(1, method=method)
    assert relative(run(pipeline, keys[:2], film), alone(pipeline, keys[:2], film)) < 1e-6  # 0 was seen


def test_a_share_of_nothing_is_each_transition_alone(pipeline: InbetweenPipeline, keys: Keys) -> None:
    film = film_of(share=0.0)
    assert torch.equal(run(pipeline, keys, film), alone(pipeline, keys, film))


def test_every_keyframe_is_exact_and_the_film_has_its_length(pipeline: InbetweenPipeline, keys: Keys) -> None:
    film = film_of(frames=7)
    made = run(pipeline, keys, film)
    assert made.shape[1] == film.frames == 13
    for key, position in zip(keys, film.key_positions, strict=True):
        assert torch.equal(made[:, position], key.anchor)


def test_windows_change_the_frames_about_an_inner_keyframe(
    pipeline: InbetweenPipeline, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = film_of(frames=9, share=1.0)
    with_windows = run(pipeline, keys, film)
    monkeypatch.setattr(joined, "triangle", lambda reach: torch.zeros(2 * reach + 1))
    without = run(pipeline, keys, film)
    assert relative(with_windows[:, 7], without[:, 7]) > 0.05


def test_a_window_weighs_its_keyframe_most_and_its_ends_not_at_all() -> None:
    assert triangle(4).tolist() == [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0]


def test_as_many_unet_calls_as_the_recipe_says(pipeline: InbetweenPipeline, keys: Keys) -> None:
    film, told = film_of(), []
    batches: list[int] = []
    hook = pipeline.unet.register_forward_pre_hook(lambda module, given: batches.append(len(given[0])))
    run(pipeline, keys, film, told)
    hook.remove()
    # alone: 2 × 2 steps and 3 rounds in the first two of them; together: 2 × 2 steps; one window in each of these half steps
    assert film.unet_calls == 2 * (4 + 6 + 4) + 4
    assert batches == [2] * film.unet_calls
    assert told == [(call, film.unet_calls) for call in range(1, film.unet_calls + 1)]


def test_the_same_film_twice_and_another_seed(pipeline: InbetweenPipeline, keys: Keys) -> None:
    first = run(pipeline, keys, film_of(steps=2))
    torch.manual_seed(99)
    assert torch.equal(first, run(pipeline, keys, film_of(steps=2)))
    other = replace(film_of(steps=2), transitions=(transition_recipe(steps=2), transition_recipe(steps=2, seed=99)))
    assert relative(run(pipeline, keys, other), first) > 0.05


def test_a_joint_half_step_equals_its_parts_written_out(pipeline: InbetweenPipeline, keys: Keys) -> None:
    film = film_of(frames=5, steps=2, share=0.5, guidance=1.5)
    sampling = joined._Together(pipeline, keys, film, lambda call, calls, estimate: None)
    x = sampling.go_alone()
    ids, scale = pipeline.motion_ids(film.transitions[0]), pipeline.vae.config.scaling_factor
    sigma, lower = (float(value) for value in pipeline.scheduler.sigmas[1:3])
    with torch.no_grad():
        after = sampling.half(x, 1, backward=True)

        def back(frames: Tensor, key: EncodedKeyframe) -> tuple[Tensor, Tensor]:
            time = pipeline.scheduler.timesteps[1]
            free, bound = (one.flip(1) for one in pipeline.estimate_clean(frames.flip(1), sigma, time, key, ids))
            return free, free + 1.5 * (bound - free)

        (left_free, left), (right_free, right) = back(x[:, :5], keys[1]), back(x[:, 4:], keys[2])
        left[:, 0], left[:, -1] = keys[0].anchor, keys[1].anchor
        right[:, 0], right[:, -1] = keys[1].anchor, keys[2].anchor
        # the window of frames 2 to 6 runs backward from frame 6, which is only known as the right transition sees it
        middle_free, middle = back(x[:, 2:7], replace(keys[1], condition=right[:, 2] / scale))
        middle[:, 2] = keys[1].anchor
        share = torch.tensor([0, 0.5, 1, 0.5, 0]).view(1, 5, 1, 1, 1)
        total, free = torch.zeros_like(x), torch.zeros_like(x)
        weight = torch.tensor([1.0, 1, 1, 1.5, 3, 1.5, 1, 1, 1]).view(1, 9, 1, 1, 1)
        looks = (0, 1, left, left_free), (4, 1, right, right_free), (2, share, middle, middle_free)
        for begin, own, estimate, unconditional in looks:
            total[:, begin : begin + 5] += own * estimate
            free[:, begin : begin + 5] += own * unconditional
        total, free = total / weight, free / weight
        for at, key in zip((0, 4, 8), keys, strict=True):
            total[:, at] = key.anchor
        expected = total + (x - free) / sigma * lower
    assert relative(after, expected) < 1e-6


def test_frames_that_are_not_finite_stop_the_run(folder: Path, keys: Keys) -> None:
    broken = load_pipeline(InbetweenPipeline, folder, placement("svd-xt"), "fp32")
    with torch.no_grad():
        broken.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(BadOutput, match="not finite numbers after step 1 of 4"):
        run(broken, keys, film_of(share=1.0))
