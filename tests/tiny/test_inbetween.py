"""The two-ended sampler on tiny SVD parts: parity with the stock pipeline, symmetry and what breaks it, exact ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableVideoDiffusionPipeline
from torch import Tensor

from flux_svd.engines import inbetween
from flux_svd.engines.inbetween import EncodedKeyframe, InbetweenPipeline, Way, align_to_end, half_step, pin, seeded_noise
from flux_svd.engines.placement import load_pipeline
from flux_svd.errors import BadOutput
from flux_svd.recipe import TransitionRecipe
from tests.tiny.builders import SIDE, picture, placement, transition_recipe

POCKET_SVD = Path(inbetween.__file__).parents[1] / "pocket" / "weights" / "pocket-svd"
SHAPE = (1, 5, 4, SIDE // 8, SIDE // 8)
AUGMENTATION = torch.randn((1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def folder(folder_of: Callable[[str], Path]) -> Path:
    return folder_of("svd-xt")


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> InbetweenPipeline:
    return load_pipeline(InbetweenPipeline, folder, placement("svd-xt"), "fp32")


@pytest.fixture(scope="module")
def keys(pipeline: InbetweenPipeline) -> tuple[EncodedKeyframe, EncodedKeyframe]:
    first, second = (pipeline.encode_keyframe(picture(seed), 0.02, AUGMENTATION) for seed in (1, 2))
    return first, second


def ignore(call: int, calls: int, estimate: Tensor) -> None:
    """Watch nothing."""


def run(pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, ...], recipe: TransitionRecipe, **options: Any) -> Tensor:
    noise = options.pop("noise", seeded_noise(recipe.seed))
    return pipeline(*keys, recipe, noise, options.pop("on_estimate", ignore), **options)


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


def test_pocket_svd_loads_without_a_word_of_diffusers_and_the_stock_model_still_fits(
    pipeline: InbetweenPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    diffusers = logging.getLogger("diffusers")  # it passes nothing on, so the listener is set on itself
    diffusers.addHandler(caplog.handler)
    try:
        load_pipeline(InbetweenPipeline, POCKET_SVD, placement("pocket-svd"), "fp32")
    finally:
        diffusers.removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records] == []
    assert type(pipeline.vae).__name__ == "AutoencoderKLTemporalDecoder"


# The stock loop


@pytest.mark.parametrize("guidance", [3.0, 1.0])
def test_the_plain_loop_equals_the_stock_pipeline(guidance: float, folder: Path, pipeline: InbetweenPipeline) -> None:
    stock = StableVideoDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    stock.set_progress_bar_config(disable=True)
    recipe = transition_recipe(method="plain", guidance=guidance, conditioning_fps=9, motion_bucket_id=150)
    theirs = stock(
        picture(1), height=SIDE, width=SIDE, num_frames=5, num_inference_steps=4, fps=9, motion_bucket_id=150,
        min_guidance_scale=1.0, max_guidance_scale=guidance, generator=torch.Generator().manual_seed(7), output_type="latent",
    ).frames  # fmt: skip
    generator = torch.Generator().manual_seed(7)  # the stock pipeline draws the augmentation first, then the frames
    augmentation = torch.randn((1, 3, SIDE, SIDE), generator=generator)
    start = pipeline.encode_keyframe(picture(1), 0.02, augmentation)
    ours = run(pipeline, (start, start), recipe, noise=lambda place, shape: torch.randn(shape, generator=generator))
    assert relative(ours, theirs) <= 1e-4  # 4e-6 was seen; one frame a second more gives 2e-2


@pytest.mark.parametrize("change", [{"conditioning_fps": 13}, {"motion_bucket_id": 20}, {"noise_aug_strength": 0.5}])
def test_every_motion_setting_reaches_the_unet(
    change: dict[str, Any], pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe]
) -> None:
    plain = run(pipeline, keys, transition_recipe(method="plain"))
    assert relative(run(pipeline, keys, transition_recipe(method="plain", **change)), plain) > 1e-4


def test_the_plain_method_never_sees_the_end(pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe]) -> None:
    recipe = transition_recipe(method="plain")
    assert torch.equal(run(pipeline, keys, recipe), run(pipeline, (keys[0], keys[0]), recipe))


# Symmetry: turned time, turned noise and turned order give the turned film


def turned_run(
    pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe], recipe: TransitionRecipe,
    turn_noise: bool = True, turn_order: bool = True, turn_keys: bool = True,
) -> Tensor:  # fmt: skip
    """Return the film of the mirrored problem, turned back into film time."""
    source = seeded_noise(recipe.seed)

    def noise(place: str, shape: tuple[int, ...]) -> Tensor:
        return source(place, shape).flip(1) if turn_noise else source(place, shape)

    start, end = keys[::-1] if turn_keys else keys
    ways = Way(start, end, backward=False), Way(end, start, backward=True)
    pipeline.scheduler.set_timesteps(recipe.steps)
    x = noise("start", SHAPE) * float(pipeline.scheduler.init_noise_sigma)
    return pipeline.denoise(x, ways[::-1] if turn_order else ways, recipe, noise, ignore).flip(1)


@pytest.mark.parametrize("reach", [1, 4])
@pytest.mark.parametrize("method", ["vibid", "bidirectional", "fusion"])
def test_the_mirrored_problem_has_the_mirrored_solution(
    method: Any, reach: int, pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe]
) -> None:
    recipe = transition_recipe(method=method, guidance=1.5, pin_reach=reach)
    assert relative(turned_run(pipeline, keys, recipe), run(pipeline, keys, recipe)) <= 1e-6  # 0 was seen


def test_what_pinning_changes_at_an_end_fades_out_over_its_reach(keys: tuple[EncodedKeyframe, EncodedKeyframe]) -> None:
    way = Way(*keys, backward=False)
    estimate = torch.randn((1, 12, *keys[0].anchor.shape[1:]), generator=torch.Generator().manual_seed(3))
    pinned = pin(estimate, way, 4)
    assert torch.equal(pinned[:, 0], keys[0].anchor)
    assert torch.equal(pinned[:, -1], keys[1].anchor)
    assert torch.equal(pinned[:, 4:8], estimate[:, 4:8])
    missed = keys[0].anchor - estimate[:, 0]
    shares = [float(((pinned - estimate)[:, frame] / missed).median()) for frame in (1, 2, 3)]
    assert shares == pytest.approx([0.8536, 0.5, 0.1464], abs=1e-3)
    assert torch.equal(pin(estimate.flip(1), Way(*keys[::-1], backward=True), 4).flip(1), pinned)
    alone = pin(estimate, way)
    assert torch.equal(alone[:, 1:-1], estimate[:, 1:-1])


@pytest.mark.parametrize("method", ["vibid", "bidirectional", "fusion"])
def test_a_longer_reach_of_the_pins_changes_what_is_beside_the_ends_and_not_the_ends(
    method: Any, pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe]
) -> None:
    near, far = (run(pipeline, keys, transition_recipe(method=method, pin_reach=reach)) for reach in (1, 3))
    assert torch.equal(near[:, [0, -1]], far[:, [0, -1]])
    assert relative(near[:, 1:-1], far[:, 1:-1]) > 1e-3


def test_fusion_is_its_own_mirror_whichever_way_comes_first(
    pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe]
) -> None:
    recipe = transition_recipe(method="fusion", guidance=3.0)
    assert torch.equal(turned_run(pipeline, keys, recipe, turn_order=False), run(pipeline, keys, recipe))


@pytest.mark.parametrize("left_out", ["turn_noise", "turn_order", "turn_keys"])
def test_half_a_mirror_is_no_mirror(
    left_out: str, pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe]
) -> None:
    recipe = transition_recipe(method="vibid")
    broken = turned_run(pipeline, keys, recipe, **{left_out: False})
    assert relative(broken, run(pipeline, keys, recipe)) > 0.05


def turn_only(*turned: int) -> Callable[[Way, Tensor], Tensor]:
    """Return an `in_time_of` that turns only some of its three uses in a half step: 0 the input, 2 the output."""
    uses = iter(range(10**6))

    def in_time_of(way: Way, frames: Tensor) -> Tensor:
        use = next(uses) % 3
        return frames.flip(1) if way.backward and use in turned else frames

    return in_time_of


def pin_the_other_way(estimate: Tensor, way: Way, reach: int) -> Tensor:
    pinned = estimate.clone()
    anchors = (way.target.anchor, way.source.anchor) if way.backward else (way.source.anchor, way.target.anchor)
    pinned[:, 0], pinned[:, -1] = anchors
    return pinned


def pin_only_the_film_start(estimate: Tensor, way: Way, reach: int) -> Tensor:
    pinned = estimate.clone()
    if not way.backward:
        pinned[:, 0] = way.source.anchor
    return pinned


@pytest.mark.parametrize(
    ("name", "mutation"),
    [
        ("in_time_of", turn_only()),
        ("in_time_of", turn_only(2)),
        ("in_time_of", turn_only(0)),
        ("pin", pin_the_other_way),
        ("pin", pin_only_the_film_start),
    ],
    ids=["nothing turned", "input not turned", "output not turned", "pins exchanged", "one end pinned"],
)
def test_a_broken_sampler_breaks_the_mirror_or_the_ends(
    name: str, mutation: Any, pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    recipe = transition_recipe(method="vibid")
    monkeypatch.setattr(inbetween, name, mutation)
    frames = run(pipeline, keys, recipe)
    mirrored = relative(turned_run(pipeline, keys, recipe), frames) <= 1e-6
    ends = torch.equal(frames[:, 0], keys[0].anchor) and torch.equal(frames[:, -1], keys[1].anchor)
    assert not (mirrored and ends)


def backwards_in_film_time(number: int) -> Callable[[float, float, Tensor], Tensor]:
    """Return an `along_frames` whose `number`-th of four uses in a fused step (forward guidance, forward weight, backward
    guidance, backward weight) runs against the way's own time."""
    uses, honest = iter(range(10**6)), inbetween.along_frames

    def along_frames(first: float, last: float, frames: Tensor) -> Tensor:
        return honest(last, first, frames) if next(uses) % 4 == number else honest(first, last, frames)

    return along_frames


@pytest.mark.parametrize(
    ("name", "mutation"),
    [
        ("in_time_of", turn_only(2)),
        ("in_time_of", turn_only(0)),
        ("along_frames", backwards_in_film_time(2)),
        ("along_frames", backwards_in_film_time(3)),
    ],
    ids=["input not turned", "output not turned", "guidance not turned", "weights not turned"],
)
def test_a_broken_fusion_breaks_the_mirror(
    name: str, mutation: Any, pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    recipe = transition_recipe(method="fusion", guidance=3.0)
    monkeypatch.setattr(inbetween, name, mutation)
    frames = run(pipeline, keys, recipe, pin_ends=False)
    source = seeded_noise(recipe.seed)
    mirrored = run(pipeline, keys[::-1], recipe, noise=lambda place, shape: source(place, shape).flip(1), pin_ends=False)
    assert relative(mirrored.flip(1), frames) > 0.05  # 0 without the fault


@pytest.mark.parametrize("method", ["vibid", "fusion"])
def test_the_same_condition_twice_breaks_the_mirror(
    method: Any, pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = transition_recipe(method=method)
    honest = InbetweenPipeline.estimate_clean
    first: list[EncodedKeyframe] = []

    def forgetful(self: Any, x: Tensor, sigma: float, t: Tensor, key: EncodedKeyframe, ids: Tensor) -> Any:
        first.append(key)
        return honest(self, x, sigma, t, first[0], ids)

    monkeypatch.setattr(InbetweenPipeline, "estimate_clean", forgetful)
    frames = run(pipeline, keys, recipe)
    first.clear()
    # Each problem is conditioned on its own film start only, whichever way is gone first.
    first.append(keys[1])
    assert relative(turned_run(pipeline, keys, recipe), frames) > 0.05


# The parts of a step


@pytest.mark.parametrize("method", ["bidirectional", "vibid"])
def test_the_sampler_equals_the_published_steps_written_out(
    method: Any, pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe]
) -> None:
    recipe = transition_recipe(method=method, steps=3, motion_alignment=0.4, alignment_rounds=2, guidance=1.5)
    noise, (first, last) = seeded_noise(recipe.seed), (key.anchor for key in keys)
    pipeline.scheduler.set_timesteps(recipe.steps)
    sigmas, times = pipeline.scheduler.sigmas, pipeline.scheduler.timesteps
    ids = torch.tensor([[11.0, 180.0, 0.02]] * 2)
    x = noise("start", SHAPE) * pipeline.scheduler.init_noise_sigma
    for step in range(3):
        sigma, lower = float(sigmas[step]), float(sigmas[step + 1])
        again = (sigma**2 - lower**2) ** 0.5
        with torch.no_grad():
            for turn in range(2 if step < 2 and method == "bidirectional" else 0):
                free, bound = pipeline.estimate_clean(x, sigma, times[step], keys[0], ids)
                guided = free + 1.5 * (bound - free)
                guided = guided + (last - guided[:, -1])[:, None]
                guided[:, 0] = first
                x = guided + (x - free) / sigma * lower + again * noise(f"{step}/align {turn}", SHAPE)
            free, bound = pipeline.estimate_clean(x, sigma, times[step], keys[0], ids)
            guided = free + 1.5 * (bound - free)
            guided[:, 0], guided[:, -1] = first, last
            x = guided + (x - free) / sigma * lower + again * noise(f"{step}/half", SHAPE)
            free, bound = (part.flip(1) for part in pipeline.estimate_clean(x.flip(1), sigma, times[step], keys[1], ids))
            guided = free + 1.5 * (bound - free)
            guided[:, 0], guided[:, -1] = first, last
            x = guided + (x - free) / sigma * lower
    assert relative(run(pipeline, keys, recipe), x) < 1e-5


def test_fusion_equals_the_published_steps_written_out(
    pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe]
) -> None:
    recipe = transition_recipe(method="fusion", steps=3, renoise_share=0.3, guidance=3.0)
    noise, (first, last) = seeded_noise(recipe.seed), (key.anchor for key in keys)
    pipeline.scheduler.set_timesteps(recipe.steps)
    sigmas, times = pipeline.scheduler.sigmas, pipeline.scheduler.timesteps
    ids = torch.tensor([[11.0, 180.0, 0.02]] * 2)
    x = noise("start", SHAPE) * pipeline.scheduler.init_noise_sigma
    growing = torch.tensor([1.0, 1.5, 2.0, 2.5, 3.0]).view(1, 5, 1, 1, 1)
    for step in range(3):
        sigma, lower = float(sigmas[step]), float(sigmas[step + 1])
        for turn in range(2 if step < 1 else 1):
            if turn:
                x = x + (sigma**2 - lower**2) ** 0.5 * noise("0/again", SHAPE)
            with torch.no_grad():
                free, bound = pipeline.estimate_clean(x, sigma, times[step], keys[0], ids)
                there = free + growing * (bound - free)
                free, bound = (part.flip(1) for part in pipeline.estimate_clean(x.flip(1), sigma, times[step], keys[1], ids))
                back = free + growing.flip(1) * (bound - free)
            share = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]).view(1, 5, 1, 1, 1)
            mixed = share * there + (1 - share) * back
            mixed[:, 0], mixed[:, -1] = first, last
            x = mixed + (x - mixed) / sigma * lower
    assert relative(run(pipeline, keys, recipe), x) < 1e-5


def test_aligning_equals_rebuilding_the_backward_motion_from_noise_residuals() -> None:
    generator = torch.Generator().manual_seed(3)
    x, estimate = (torch.randn((1, 7, 4, 2, 2), generator=generator) for _ in range(2))
    anchor = torch.randn((1, 4, 2, 2), generator=generator)
    sigma = 3.0
    backward = x.flip(1)
    residual = (x - estimate) / sigma
    first = (backward[:, :1] - anchor[:, None]) / sigma  # the noise that leads the backward start to the anchor
    steps = -(residual[:, 1:] - residual[:, :-1]).flip(1)
    rebuilt = torch.cat([first, first + torch.cumsum(steps, 1)], 1)
    literal = (backward - sigma * rebuilt).flip(1)
    assert torch.allclose(align_to_end(estimate, anchor), literal, atol=1e-5)
    assert torch.allclose(align_to_end(estimate, anchor)[:, -1], anchor, atol=1e-6)


def test_a_half_step_keeps_the_unconditional_noise() -> None:
    clean, guided, noise = torch.tensor(1.0), torch.tensor(2.0), torch.tensor(0.5)
    assert half_step(clean + 4 * noise, clean, guided, 4.0, 2.0) == guided + 2 * noise


def test_condition_and_anchor_are_two_latents(pipeline: InbetweenPipeline) -> None:
    key = pipeline.encode_keyframe(picture(1), 0.02, AUGMENTATION)
    pixels = pipeline.video_processor.preprocess(picture(1), height=SIDE, width=SIDE)
    with torch.no_grad():
        clean = pipeline.vae.encode(pixels).latent_dist.mode()
        dusty = pipeline.vae.encode(pixels + 0.02 * AUGMENTATION).latent_dist.mode()
    assert torch.equal(key.anchor, clean * pipeline.vae.config.scaling_factor)
    assert torch.equal(key.condition, dusty)
    assert not torch.equal(dusty, clean)


# Ends, counts, noise


@pytest.mark.parametrize("method", ["bidirectional", "vibid", "fusion"])
def test_both_ends_are_the_keyframes_exactly(
    method: Any, pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe]
) -> None:
    frames = run(pipeline, keys, transition_recipe(method=method))
    assert torch.equal(frames[:, 0], keys[0].anchor)
    assert torch.equal(frames[:, -1], keys[1].anchor)
    assert not torch.equal(frames[:, 1], keys[0].anchor)


@pytest.mark.parametrize("method", ["bidirectional", "vibid", "fusion", "plain"])
def test_without_pins_the_ends_are_the_models_own(
    method: Any, pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe]
) -> None:
    frames = run(pipeline, keys, transition_recipe(method=method), pin_ends=False)
    assert relative(frames[:, 0], keys[0].anchor) > 0.05
    assert relative(frames[:, -1], keys[1].anchor) > 0.05


@pytest.mark.parametrize("method", ["bidirectional", "vibid", "fusion", "plain"])
@pytest.mark.parametrize(("steps", "share", "rounds"), [(4, 0.5, 3), (5, 0.2, 2), (3, 0.0, 3), (2, 1.0, 1)])
def test_as_many_unet_calls_as_the_recipe_says(
    method: Any, steps: int, share: float, rounds: int,
    pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe],
) -> None:  # fmt: skip
    recipe = transition_recipe(method=method, steps=steps, motion_alignment=share, alignment_rounds=rounds, renoise_share=share)
    batches: list[int] = []
    told: list[tuple[int, int]] = []
    hook = pipeline.unet.register_forward_pre_hook(lambda module, given: batches.append(len(given[0])))
    run(pipeline, keys, recipe, on_estimate=lambda call, calls, estimate: told.append((call, calls)))
    hook.remove()
    assert batches == [2] * recipe.unet_calls
    assert told == [(call, recipe.unet_calls) for call in range(1, recipe.unet_calls + 1)]


@pytest.mark.parametrize("method", ["bidirectional", "vibid", "fusion", "plain"])
def test_a_seed_gives_the_same_frames_whatever_the_global_generator_says(
    method: Any, pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe]
) -> None:
    first = run(pipeline, keys, transition_recipe(method=method))
    torch.manual_seed(99)
    assert torch.equal(first, run(pipeline, keys, transition_recipe(method=method)))
    assert relative(run(pipeline, keys, transition_recipe(method=method, seed=8)), first) > 0.05


@pytest.mark.parametrize(("method", "drawn_again"), [("bidirectional", 4 + 2 * 3), ("fusion", 2)])
def test_no_two_places_share_their_noise(
    method: Any, drawn_again: int, pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe]
) -> None:
    places: list[str] = []

    def noise(place: str, shape: tuple[int, ...]) -> Tensor:
        places.append(place)
        return seeded_noise(7)(place, shape)

    run(pipeline, keys, transition_recipe(method=method), noise=noise)
    # the start; then one for each step and each alignment, or for each step that is taken again
    assert len(places) == len(set(places)) == 1 + drawn_again
    drawn = [seeded_noise(7)(place, (8,)) for place in places]
    assert all(not torch.equal(drawn[i], drawn[j]) for i in range(len(drawn)) for j in range(i))


@pytest.mark.parametrize("method", ["bidirectional", "fusion"])
@pytest.mark.parametrize("step", [1, 3])
def test_a_run_resumed_at_a_step_ends_as_the_whole_run(
    step: int, method: Any, pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    recipe = transition_recipe(method=method)
    kept: list[Tensor] = []
    honest = inbetween._Run.take_step

    def keep(self: Any, x: Tensor, number: int, ways: Any) -> Tensor:
        if number == step:
            kept.append(x)
        return honest(self, x, number, ways)

    monkeypatch.setattr(inbetween._Run, "take_step", keep)
    whole = run(pipeline, keys, recipe)
    ways = Way(keys[0], keys[1], backward=False), Way(keys[1], keys[0], backward=True)
    told: list[int] = []
    resumed = pipeline.denoise(
        kept[0], ways, recipe, seeded_noise(recipe.seed), lambda call, calls, estimate: told.append(call), first_step=step
    )
    assert torch.equal(whole, resumed)
    assert told[-1] == recipe.unet_calls


@pytest.mark.parametrize("method", ["bidirectional", "fusion"])
@pytest.mark.parametrize("frames", [8, 14, 23, 25, 40])
def test_any_number_of_frames(
    frames: int, method: Any, pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe]
) -> None:
    made = run(pipeline, keys, transition_recipe(method=method, frames=frames, steps=2))
    assert made.shape == (1, frames, *SHAPE[2:])
    assert torch.equal(made[:, -1], keys[1].anchor)


def test_half_precision_weights_keep_latents_in_float32_and_near(
    folder: Path, pipeline: InbetweenPipeline, keys: tuple[EncodedKeyframe, EncodedKeyframe]
) -> None:
    half = load_pipeline(InbetweenPipeline, folder, placement("svd-xt"), "bf16")
    seen: list[torch.dtype] = []
    encoded_in: list[torch.dtype] = []
    half.unet.register_forward_pre_hook(lambda module, given: seen.append(given[0].dtype))
    half.vae.encoder.register_forward_pre_hook(lambda module, given: encoded_in.append(given[0].dtype))
    half_keys = tuple(half.encode_keyframe(picture(seed), 0.02, AUGMENTATION) for seed in (1, 2))
    assert half.vae.dtype == torch.bfloat16
    assert set(encoded_in) == {torch.float32}  # as the VAE's configuration asks
    assert relative(half_keys[0].anchor, keys[0].anchor) < 0.02
    for method in ("bidirectional", "fusion"):
        frames = run(half, half_keys, transition_recipe(method=method, steps=2))
        assert frames.dtype == torch.float32
        assert set(seen) == {torch.bfloat16}
        assert torch.isfinite(frames).all()
        assert relative(frames, run(pipeline, keys, transition_recipe(method=method, steps=2))) < 0.2


def test_frames_that_are_not_finite_stop_the_run_at_their_step(
    folder: Path, keys: tuple[EncodedKeyframe, EncodedKeyframe]
) -> None:
    broken = load_pipeline(InbetweenPipeline, folder, placement("svd-xt"), "fp32")
    with torch.no_grad():
        broken.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(BadOutput, match="not finite numbers after step 1 of 4"):
        run(broken, keys, transition_recipe())
