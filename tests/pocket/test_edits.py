"""Wishes about pictures: what they change, what they keep, which words they use; and the training of pocket-klein on them."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import Flux2KleinPipeline, FluxPipeline
from PIL import Image

from flux_svd.pocket.edits import KINDS, PAIR_KINDS, sample_edit
from flux_svd.pocket.judge_klein import ASKED, draw_klein
from flux_svd.pocket.loop import Luck, Training
from flux_svd.pocket.painter import paint_scenes
from flux_svd.pocket.train import WEIGHTS
from flux_svd.pocket.train_flux import SHIFT, predict_velocity
from flux_svd.pocket.train_klein import (
    NOISINGS,
    PROMPT_TOKENS,
    KleinTask,
    LessonPool,
    _misleading,
    make_pipeline,
    make_tokenizer,
)
from flux_svd.pocket.world import COLORS, EDIT_WORDS, SHAPES, VOCABULARY, Scene, is_held_out, sample_scene

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
def teacher() -> Any:
    return FluxPipeline.from_pretrained(WEIGHTS / "pocket-flux", dtype=torch.float32)


@pytest.fixture(scope="module")
def untrained(teacher: Any) -> Any:
    return make_pipeline(teacher.vae)


def test_latents_of_klein_are_those_of_flux(untrained: Any, teacher: Any) -> None:
    vae = teacher.vae
    rng = random.Random(8)
    painted = paint_scenes([sample_scene(rng) for _ in range(4)], 128, 96, torch.Generator().manual_seed(1))
    with torch.no_grad():
        latents = vae.encode(painted).latent_dist.mode()
        packed = untrained._pack_latents(untrained._encode_vae_image(painted, None))  # (4, 48, 32)
        assert torch.allclose(untrained.vae.decode(latents).sample, vae.decode(latents).sample, atol=1e-4)
    scaled = (latents - vae.config.shift_factor) * vae.config.scaling_factor
    assert torch.allclose(packed, teacher._pack_latents(scaled, 4, 8, 12, 16), atol=1e-4)


def test_the_teacher_answers_with_guidance_at_several_noise_levels(teacher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flux_svd.pocket.train_klein.MISLED", 0.0)
    pool = LessonPool(teacher, (128, 128), 0, 2 * NOISINGS, torch.device("cpu"))
    pool.add(2, Luck.from_seed(3))
    assert pool.filled == pool.capacity
    assert len(set(pool.words)) == 2
    assert 0 < pool.cells.mean() < 0.5
    clean = pool.noisy - pool.sigma * pool.velocity  # as if the answer were exact
    away = (clean - clean[:NOISINGS].mean(dim=0)).pow(2).mean(dim=(1, 2))
    assert away[:NOISINGS].max() < away[NOISINGS:].min()  # at every noise level the same picture is meant, not another wish's
    with torch.no_grad():
        seen = pool.noisy, pool.sigma
        wanted, unguided = (predict_velocity(teacher, *seen, words, (128, 128)) for words in (pool.words, [""] * len(pool.words)))
    assert torch.allclose(pool.velocity, unguided + 3.0 * (wanted - unguided), atol=0.1)  # as FluxPipeline adds them
    assert not torch.allclose(pool.velocity, wanted, atol=0.1)


@pytest.mark.parametrize("references", [0, 1, 2])
def test_the_teacher_is_told_the_whole_target_and_the_student_the_wish(
    teacher: Any, references: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(pipeline: Any, noisy: Any, sigma: Any, prompts: list[str], size: tuple[int, int]) -> Any:
        asked[:] = prompts
        return torch.zeros_like(noisy)

    monkeypatch.setattr("flux_svd.pocket.train_klein.predict_velocity", answer)
    pool = LessonPool(teacher, (160, 96), references, 6 * NOISINGS, torch.device("cpu"))
    pool.add(6, Luck.from_seed(3))
    told, empty = asked[: len(pool.words)], asked[len(pool.words) :]
    assert set(empty) == {""}
    assert pool.shown.shape == (6 * NOISINGS, references * 60, 32)
    assert (told == pool.words) == (references == 0)
    for words in told[::NOISINGS] if references else ():
        assert " background" in words, words
        assert len({name for name in COLORS if name in words.split()}) == 2, words


def test_noised_pictures_mislead_about_the_shape_alone() -> None:
    luck = Luck.from_seed(5)
    scene = sample_scene(luck.words)
    seen = [_misleading(scene, luck) for _ in range(200)]
    assert {one.shape for one in seen} == set(SHAPES)
    assert {replace(one, shape=scene.shape) for one in seen} == {scene}
    assert sum(one == scene for one in seen) > 80  # half of them, and a sixth of the others by chance


def test_klein_trains_from_nothing_and_saves_what_its_pipeline_loads(tmp_path: Path, untrained: Any, teacher: Any) -> None:
    task = KleinTask(untrained, teacher, torch.device("cpu"), capacity=16)
    training = Training(task, Luck.from_seed(1), torch.device("cpu"))
    values = []
    for _ in range(4):
        training.advance(0.0)
        values.append(training.running_loss)
    assert values[0] > 1  # a zero prediction against noise − latents
    task.save(tmp_path)
    kept = Flux2KleinPipeline.from_pretrained(tmp_path, dtype=torch.float32)
    kept.set_progress_bar_config(disable=True)
    assert kept.config.is_distilled
    shown = [Image.new("RGB", (160, 96), "red")]
    one = draw_klein(kept, "the same object at the left", shown, (160, 96), 2, 1.0, seed=1)
    assert one.shape == (96, 160, 3)
    kept.scheduler.set_timesteps(sigmas=[1.0, 0.5], mu=1.95)  # what Flux2KleinPipeline would shift by
    assert kept.scheduler.sigmas[1].item() == pytest.approx(SHIFT * 0.5 / (1 + (SHIFT - 1) * 0.5))
