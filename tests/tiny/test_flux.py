"""FluxEngine on tiny models of the real classes: parity with diffusers, every guidance kind, errors, and life after them."""

from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxImg2ImgPipeline
from PIL import Image

from flux_svd.catalog import IMAGE_FAMILIES, MODELS
from flux_svd.engines.flow import Halfway
from flux_svd.engines.flux import PIPELINES, REMEMBERED_PROMPTS, FluxEngine
from flux_svd.errors import BadOutput, Cancelled, InvalidRequest, OutOfMemory
from flux_svd.progress import ignore_steps
from tests.tiny.builders import image_recipe, picture, placement

FolderOf = Callable[[str], Path]
ROWS = [name for name, row in MODELS.items() if row.family in IMAGE_FAMILIES and not row.pocket]
ONE_OF_EACH = ["flux1-dev", "flux1-schnell", "flux2-klein-4b", "flux2-klein-base-4b", "flux2-dev"]


def load(name: str, folder_of: FolderOf, offload: str = "none") -> FluxEngine:
    return FluxEngine(MODELS[name], folder_of(name), placement(name, offload), "fp32")


def draw(engine: FluxEngine, *references: Image.Image, **changes: Any) -> np.ndarray:
    return np.asarray(engine.draw(image_recipe(engine.spec.name, **changes), references, ignore_steps))


def draw_bare(name: str, folder_of: FolderOf, dtype: torch.dtype = torch.float32, **arguments: Any) -> np.ndarray:
    """Draw the default tiny recipe with nothing but diffusers."""
    recipe = image_recipe(name)
    pipeline = PIPELINES[MODELS[name].family].from_pretrained(folder_of(name), dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    call = {
        "prompt": recipe.prompt, "width": recipe.width, "height": recipe.height, "num_inference_steps": recipe.steps,
        "max_sequence_length": recipe.prompt_tokens, "generator": torch.Generator("cpu").manual_seed(recipe.seed),
    }  # fmt: skip
    if negative := arguments.pop("klein_negative", None):
        arguments["negative_prompt_embeds"] = pipeline.encode_prompt(negative, max_sequence_length=recipe.prompt_tokens)[0]
    return np.asarray(pipeline(**call, **arguments).images[0])


@pytest.mark.parametrize("name", ROWS)
def test_every_image_row_loads_and_draws(name: str, folder_of: FolderOf) -> None:
    drawn = draw(load(name, folder_of))
    assert drawn.shape == (32, 32, 3)
    assert drawn.std() > 5  # 56 to 74 was seen; a broken decode is flat


@pytest.mark.parametrize(
    ("name", "changes", "arguments"),
    [
        ("flux1-dev", {}, {"guidance_scale": 3.5}),
        ("flux1-schnell", {}, {"guidance_scale": 0.0}),
        (
            "flux1-schnell",
            {"guidance_kind": "classifier-free", "guidance": 3.0},
            {"true_cfg_scale": 3.0, "negative_prompt": ""},
        ),
        (
            "flux1-schnell",
            {"guidance_kind": "classifier-free", "guidance": 3.0, "negative_prompt": "blue"},
            {"true_cfg_scale": 3.0, "negative_prompt": "blue"},
        ),
        (
            "flux1-dev",
            {"cfg_scale": 2.0, "negative_prompt": "blue"},
            {"guidance_scale": 3.5, "true_cfg_scale": 2.0, "negative_prompt": "blue"},
        ),
        ("flux2-klein-4b", {}, {"guidance_scale": 1.0}),
        ("flux2-klein-base-4b", {}, {"guidance_scale": 4.0}),
        ("flux2-klein-base-4b", {"negative_prompt": "blue"}, {"guidance_scale": 4.0, "klein_negative": "blue"}),
        ("flux2-dev", {}, {"guidance_scale": 4.0}),
    ],
)
def test_our_call_equals_a_bare_diffusers_call_bit_for_bit(
    name: str, changes: dict[str, Any], arguments: dict[str, Any], folder_of: FolderOf
) -> None:
    ours = draw(load(name, folder_of), **changes)
    assert np.array_equal(ours, draw_bare(name, folder_of, **arguments))


@pytest.mark.parametrize(("name", "guidance"), [("flux1-dev", 3.5), ("flux2-klein-base-4b", 4.0)])
def test_half_precision_equals_a_bare_call_too(name: str, guidance: float, folder_of: FolderOf) -> None:
    ours = draw(FluxEngine(MODELS[name], folder_of(name), placement(name), "bf16"), precision="bf16")
    assert np.array_equal(ours, draw_bare(name, folder_of, torch.bfloat16, guidance_scale=guidance))
    assert not np.array_equal(ours, draw(load(name, folder_of)))


@pytest.mark.parametrize("name", ["flux2-klein-4b", "flux2-dev"])
def test_references_reach_the_model_in_their_order(name: str, folder_of: FolderOf) -> None:
    first, second = picture(1, 64, 64), picture(2, 64, 80)
    engine = load(name, folder_of)
    both = draw(engine, first, second)
    bare = draw_bare(name, folder_of, image=[first, second], guidance_scale=max(1.0, MODELS[name].guidance))
    assert np.array_equal(both, bare)
    assert not np.array_equal(both, draw(engine))
    assert not np.array_equal(both, draw(engine, second, first))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("flux1-dev", "embedded"),
        ("flux2-dev", "embedded"),
        ("flux1-schnell", "classifier-free"),
        ("flux2-klein-base-4b", "classifier-free"),
    ],
)
def test_guidance_changes_the_picture(name: str, kind: str, folder_of: FolderOf) -> None:
    engine = load(name, folder_of)
    assert not np.array_equal(draw(engine, guidance=2.0, guidance_kind=kind), draw(engine, guidance=5.0, guidance_kind=kind))


def test_a_recipe_without_guidance_ignores_the_value(folder_of: FolderOf) -> None:
    engine = load("flux2-klein-base-4b", folder_of)
    plain = draw(engine, guidance=0.0, guidance_kind="none")
    assert np.array_equal(plain, draw(engine, guidance=9.0, guidance_kind="none"))
    assert not np.array_equal(plain, draw(engine))


@pytest.mark.parametrize("name", ["flux1-schnell", "flux2-klein-base-4b"])
def test_negative_prompt_changes_the_picture(name: str, folder_of: FolderOf) -> None:
    engine = load(name, folder_of)
    free = {"guidance_kind": "classifier-free", "guidance": 4.0}
    assert not np.array_equal(draw(engine, **free), draw(engine, negative_prompt="blue", **free))


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_seed_gives_the_same_picture_in_every_engine_and_another_seed_another(name: str, folder_of: FolderOf) -> None:
    engine = load(name, folder_of)
    first = draw(engine, seed=2**64 - 1)
    torch.manual_seed(1)  # the global generator has no say
    assert np.array_equal(first, draw(engine, seed=2**64 - 1))
    assert np.array_equal(first, draw(load(name, folder_of), seed=2**64 - 1))
    assert not np.array_equal(first, draw(engine, seed=1))


@pytest.mark.parametrize("name", ["flux1-dev", "flux2-klein-base-4b"])
def test_offload_changes_nothing_in_the_picture(name: str, folder_of: FolderOf) -> None:
    assert np.array_equal(draw(load(name, folder_of)), draw(load(name, folder_of, "model")))


def test_a_warm_engine_changes_size_prompt_and_steps_without_its_folder(folder_of: FolderOf, tmp_path: Path) -> None:
    copy = shutil.copytree(folder_of("flux1-dev"), tmp_path / "copy")
    engine = FluxEngine(MODELS["flux1-dev"], copy, placement("flux1-dev"), "fp32")
    shutil.rmtree(copy)
    assert draw(engine, width=48, height=64, prompt="a green owl", steps=2).shape == (64, 48, 3)
    assert np.array_equal(draw(engine), draw(load("flux1-dev", folder_of)))


def test_prompt_and_prompt_tokens_reach_the_encoder(folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of)
    assert not np.array_equal(draw(engine), draw(engine, prompt="a green owl"))
    assert not np.array_equal(draw(engine), draw(engine, prompt_tokens=48))


def test_tiled_decoding_does_not_leak_into_the_next_picture(folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of)
    large = {"width": 96, "height": 96}  # three times the VAE's own tile
    whole, tiled = draw(engine, **large), draw(engine, decode_tile=32, **large)
    assert not np.array_equal(whole, tiled)
    assert np.array_equal(whole, draw(engine, **large))


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_overflow_names_exactly_the_tail_the_encoder_does_not_read(name: str, folder_of: FolderOf) -> None:
    engine = load(name, folder_of)
    assert engine.prompt_overflow("a red fox") == ""
    long = " ".join(f"word{number:03}" for number in range(100))  # about 800 byte tokens
    tail = engine.prompt_overflow(long)
    assert 0 < len(tail) < len(long)
    assert long.endswith(tail)
    read, limit = len(long) - len(tail), engine.spec.prompt_tokens
    # What is cut does not touch the picture; the last character that is read does.
    same, other = long[:read] + "?" * len(tail), long[: read - 1] + "?" + long[read:]
    first = draw(engine, prompt=long, prompt_tokens=limit, steps=1)
    assert np.array_equal(first, draw(engine, prompt=same, prompt_tokens=limit, steps=1))
    assert not np.array_equal(first, draw(engine, prompt=other, prompt_tokens=limit, steps=1))


def test_nan_embeddings_are_an_error_and_never_a_black_picture(folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of)
    with torch.no_grad():
        engine._pipeline.text_encoder_2.shared.weight.fill_(float("nan"))
    steps = []
    with pytest.raises(BadOutput, match=r"100% of the latents after step 1 of 4 are not finite"):
        engine.draw(image_recipe("flux1-dev"), [], lambda step, *_: steps.append(step))
    assert steps == []


def test_nan_pixels_are_an_error(folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of)
    with torch.no_grad():
        engine._pipeline.vae.decoder.conv_out.bias.fill_(float("inf"))
        engine._pipeline.vae.decoder.conv_out.weight.fill_(float("nan"))
    with pytest.raises(BadOutput, match="decoded pixels are not finite"):
        draw(engine)


def test_a_constant_picture_is_an_error(folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of)
    with torch.no_grad():
        engine._pipeline.vae.decoder.conv_out.weight.zero_()
        engine._pipeline.vae.decoder.conv_out.bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
    with pytest.raises(BadOutput, match=r"constant: every pixel is \(255, 128, 0\)"):
        draw(engine)


@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0])
def test_beginning_at_a_picture_equals_the_stock_pipeline_bit_for_bit(strength: float, folder_of: FolderOf) -> None:
    recipe, start = image_recipe("flux1-dev", start="0" * 64, strength=strength), picture(3)
    steps = []
    ours = load("flux1-dev", folder_of).draw(recipe, [], lambda step, total, _: steps.append((step, total)), start=start)
    pipeline = FluxImg2ImgPipeline.from_pretrained(folder_of("flux1-dev"))
    pipeline.set_progress_bar_config(disable=True)
    stock = pipeline(
        prompt=recipe.prompt, image=start, strength=strength, width=recipe.width, height=recipe.height,
        num_inference_steps=recipe.steps, guidance_scale=recipe.guidance, max_sequence_length=recipe.prompt_tokens,
        generator=torch.Generator("cpu").manual_seed(recipe.seed),
    ).images[0]  # fmt: skip
    assert np.array_equal(np.asarray(ours), np.asarray(stock))
    assert steps == [(n, len(steps)) for n in range(1, len(steps) + 1)]
    assert len(steps) == recipe.steps - recipe.first_step


@pytest.mark.parametrize("name", ["flux1-dev", "flux2-dev", "flux2-klein-base-4b"])
def test_a_curve_of_guidance_is_obeyed_step_by_step(name: str, folder_of: FolderOf) -> None:
    engine = load(name, folder_of)
    level = MODELS[name].guidance
    assert np.array_equal(draw(engine), draw(engine, guidance_curve=(level,) * 4))
    risen = [draw(engine, guidance_curve=tuple(level + 2 * (n == step) for n in range(4))) for step in range(4)]
    assert len({picture.tobytes() for picture in [draw(engine), *risen]}) == 5


def test_steps_without_classifier_free_guidance_call_the_transformer_once(folder_of: FolderOf) -> None:
    engine = load("flux2-klein-base-4b", folder_of)
    calls = []
    engine._pipeline.transformer.register_forward_hook(lambda *_: calls.append(1))
    draw(engine, guidance_curve=(1.0, 4.0, 4.0, 1.0))
    assert len(calls) == 1 + 2 + 2 + 1


def test_a_variation_is_near_its_picture_and_a_whole_turn_is_the_other_one(folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of)
    here, there = draw(engine).astype(int), draw(engine, seed=99).astype(int)
    varied = [draw(engine, variation_seed=99, variation=share).astype(int) for share in (0.0, 0.1, 0.5, 1.0)]
    assert np.array_equal(varied[0], here)
    assert abs(varied[3] - there).max() <= 1  # the last turn is rounded in float32
    away = [abs(picture - here).mean() for picture in varied]
    assert away == sorted(away)
    assert 0 < away[1] < 0.5 * away[3]  # 0.15 of it was seen


@pytest.mark.parametrize("name", ["flux1-dev", "flux2-klein-base-4b", "flux2-dev"])
def test_a_picture_goes_on_from_every_step_to_the_same_bits(name: str, folder_of: FolderOf) -> None:
    references = [] if name == "flux1-dev" else [picture(1, 64, 64)]
    recipe, left = image_recipe(name), []
    whole = load(name, folder_of).draw(
        recipe, references, ignore_steps, on_latents=lambda steps, latents: left.append(Halfway(steps, latents.cpu().clone()))
    )
    assert [halfway.steps for halfway in left] == [1, 2, 3, 4]
    another = load(name, folder_of)
    for halfway in left[:-1]:
        seen: list[int] = []
        again = another.draw(recipe, references, lambda step, *_, seen=seen: seen.append(step), halfway=halfway)
        assert np.array_equal(np.asarray(whole), np.asarray(again))
        assert seen == list(range(halfway.steps + 1, 5))


def test_latents_are_decoded_again_without_denoising(folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of)
    recipe = image_recipe("flux1-dev", width=96, height=96)
    latents = engine.denoise(recipe, engine.embed(recipe), [], ignore_steps)
    whole, again, tiled = (np.asarray(engine.decode(one, latents)) for one in (recipe, recipe, replace(recipe, decode_tile=32)))
    assert np.array_equal(whole, again)
    assert np.array_equal(whole, draw(engine, width=96, height=96))
    assert not np.array_equal(whole, tiled)


def test_a_prompt_is_encoded_once_for_all_its_pictures(folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of)
    read = []
    engine._pipeline.text_encoder_2.register_forward_hook(lambda *_: read.append(1))
    draw(engine)
    draw(engine, seed=8, steps=2)
    assert len(read) == 1
    draw(engine, prompt_tokens=48)
    draw(engine, prompt="a green owl")
    assert len(read) == 3
    for number in range(REMEMBERED_PROMPTS):
        engine.embed(image_recipe("flux1-dev", prompt=f"owl {number}"))
    draw(engine)  # was forgotten
    assert len(read) == 3 + REMEMBERED_PROMPTS + 1


@pytest.mark.parametrize("offload", ["none", "model"])
def test_a_cancelled_engine_draws_the_next_picture(offload: str, folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of, offload)
    before = draw(engine)
    seen = []

    def stop(step: int, steps: int, preview: bytes | None) -> None:
        seen.append((step, steps))
        if step == 2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        engine.draw(image_recipe("flux1-dev"), [], stop)
    assert engine._phases.present == frozenset()  # every part waits again
    assert seen == [(1, 4), (2, 4)]
    assert np.array_equal(before, draw(engine))


@pytest.mark.parametrize("offload", ["none", "model"])
def test_out_of_memory_is_ours_frees_its_tensors_and_the_next_picture_works(offload: str, folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of, offload)
    before = draw(engine)
    held: list[Any] = []

    def fail(module: Any, positional: Any, named: dict[str, Any]) -> None:
        held.append(weakref.ref(named["hidden_states"]))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    hook = engine._pipeline.transformer.register_forward_pre_hook(fail, with_kwargs=True)
    with pytest.raises(OutOfMemory, match="Tried to allocate") as caught:
        draw(engine)
    hook.remove()
    gc.collect()
    assert held[0]() is None, "the error still holds the tensors that filled the device"
    assert caught.value.__cause__ is not None
    assert np.array_equal(before, draw(engine))


def test_an_error_that_is_no_lack_of_memory_passes_as_it_is(folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of)

    def fail(*_: Any) -> None:
        raise RuntimeError("a bug")

    hook = engine._pipeline.transformer.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="a bug"):
        draw(engine)
    hook.remove()


@pytest.mark.parametrize(
    "text", ["MPS backend out of memory (MPS allocated: 9 GB)", "DefaultCPUAllocator: can't allocate memory"]
)
def test_backends_without_an_exception_class_are_understood(text: str, folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of)

    def fail(*_: Any) -> None:
        raise RuntimeError(text)

    engine._pipeline.transformer.register_forward_pre_hook(fail)
    with pytest.raises(OutOfMemory):
        draw(engine)


def test_wishes_without_an_effect_are_refused(folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of)
    with pytest.raises(InvalidRequest, match="negative_prompt"):
        draw(engine, negative_prompt="blue")
    with pytest.raises(InvalidRequest, match="references"):
        draw(engine, picture(1, 64, 64))
    with pytest.raises(InvalidRequest, match="start"):
        draw(engine, start="0" * 64)
    with pytest.raises(InvalidRequest, match="none with flux2-klein-4b"):
        load("flux2-klein-4b", folder_of).draw(image_recipe("flux2-klein-4b"), [], ignore_steps, start=picture(1))


@pytest.mark.parametrize("size", [(63, 64), (64, 600)])
def test_a_reference_the_pipeline_cannot_take_is_refused_in_words(size: tuple[int, int], folder_of: FolderOf) -> None:
    with pytest.raises(InvalidRequest, match=f"{size[0]}×{size[1]}"):
        draw(load("flux2-klein-4b", folder_of), picture(1, *size))


def test_a_released_engine_holds_no_weights(folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of, "model")
    weights = weakref.ref(engine._pipeline.transformer)
    engine.release()
    gc.collect()
    assert weights() is None
