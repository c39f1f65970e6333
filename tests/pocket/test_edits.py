"""Wishes about pictures: what they change, what they keep, which words they use; and the training of pocket-klein on them."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, Flux2KleinPipeline
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from PIL import Image

from flux_svd.pocket.edits import KINDS, PAIR_KINDS, sample_edit
from flux_svd.pocket.judge_klein import ASKED, draw_klein
from flux_svd.pocket.loop import Luck, Training
from flux_svd.pocket.painter import paint_scenes
from flux_svd.pocket.train import WEIGHTS
from flux_svd.pocket.train_klein import (
    PROMPT_TOKENS,
    SHIFT,
    KleinTask,
    make_pipeline,
    make_tokenizer,
    sample_sigmas,
)
from flux_svd.pocket.world import EDIT_WORDS, VOCABULARY, Scene, is_held_out, sample_scene

NAMES = {name: name for name in ("shape", "color", "size", "background", "place")} | {"style": "outlined"}


def differences(a: Scene, b: Scene) -> set[str]:
    return {name for name, field in NAMES.items() if getattr(a, field) != getattr(b, field)}


@pytest.mark.parametrize("kind", [*KINDS, *PAIR_KINDS])
def test_a_wish_changes_what_it_speaks_of_and_nothing_else(kind: str) -> None:
    rng = random.Random(5)
    references = 2 if kind in PAIR_KINDS else 1
    for _ in range(40):
        edit = sample_edit(rng, references, kind=kind)
        assert len(edit.references) == references
        assert set() < differences(edit.references[0], edit.target) <= ASKED[kind]
        if references == 2:
            assert differences(edit.references[1], edit.target) & ASKED[kind] == set()
        assert edit.target.color != edit.target.background


def test_no_held_out_target_is_trained_and_only_such_are_judged() -> None:
    rng = random.Random(6)
    for references in (1, 2):
        assert not any(is_held_out(sample_edit(rng, references).target) for _ in range(200))
        assert all(is_held_out(sample_edit(rng, references, held_out=True).target) for _ in range(100))


def test_every_word_of_a_wish_is_known() -> None:
    rng = random.Random(7)
    tokenizer = make_tokenizer()
    longest = 0
    for number in range(600):
        words = sample_edit(rng, 1 + number % 2).words
        told = re.findall(r"[^\W_]+", words.replace("zzunk", ""))
        assert set(told) <= VOCABULARY | EDIT_WORDS | {"between", "nearer"}, words
        chat = tokenizer.apply_chat_template([{"role": "user", "content": words}], tokenize=False)
        longest = max(longest, len(tokenizer(chat).input_ids))
    assert 20 < longest <= PROMPT_TOKENS


@pytest.fixture(scope="module")
def pictures_vae() -> Any:
    return AutoencoderKL.from_pretrained(WEIGHTS / "pocket-flux" / "vae", dtype=torch.float32)


@pytest.fixture(scope="module")
def untrained(pictures_vae: Any) -> Any:
    return make_pipeline(pictures_vae)


def test_the_autoencoder_of_klein_is_that_of_flux_with_even_channels(untrained: Any, pictures_vae: Any) -> None:
    vae = untrained.vae
    rng = random.Random(8)
    scenes = [sample_scene(rng) for _ in range(64)]
    painted = paint_scenes(scenes, 128, 128, torch.Generator().manual_seed(1))
    with torch.no_grad():
        latents = vae.encode(painted).latent_dist.mode()
        assert torch.equal(latents, pictures_vae.encode(painted).latent_dist.mode())
        assert torch.allclose(vae.decode(latents[:4]).sample, pictures_vae.decode(latents[:4]).sample, atol=1e-4)
        packed = untrained._encode_vae_image(painted, None)  # (64, 32, 8, 8)
    assert packed.std(dim=(0, 2, 3)).sub(1).abs().max() < 0.35  # other pictures than those measured
    assert packed.mean(dim=(0, 2, 3)).abs().max() < 0.35


def test_klein_trains_from_nothing_and_saves_what_its_pipeline_loads(tmp_path: Path, untrained: Any) -> None:
    task = KleinTask(untrained, torch.device("cpu"), capacity=4)
    training = Training(task, Luck.from_seed(1), torch.device("cpu"))
    values = []
    for _ in range(4):
        training.advance(0.0)
        values.append(training.running_loss)
    assert values[0] == pytest.approx(2.3, abs=0.6)  # a zero prediction against noise − latents, each of variance one
    task.save(tmp_path)
    kept = Flux2KleinPipeline.from_pretrained(tmp_path, dtype=torch.float32)
    kept.set_progress_bar_config(disable=True)
    assert not kept.config.is_distilled
    shown = [Image.new("RGB", (160, 96), "red")]
    one = draw_klein(kept, "the same object at the left", shown, (160, 96), 2, 3.0, seed=1)
    assert one.shape == (96, 160, 3)


def test_trained_noise_levels_follow_the_shift_of_the_pipeline() -> None:
    for tokens in (64, 60):
        for steps in (4, 8):
            assert torch.tensor(compute_empirical_mu(tokens, steps)).exp().item() == pytest.approx(SHIFT, rel=0.03)
    levels = sample_sigmas(4000, torch.Generator().manual_seed(0))
    assert 0.3 < (levels > 0.9).float().mean() < 0.5  # without the shift .04
