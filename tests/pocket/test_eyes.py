"""The image encoder that pocket-svd is trained with sees what pocket-clip sees, and its embedding tells shapes."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from diffusers import StableVideoDiffusionPipeline
from torch import Tensor, nn

from flux_svd.pocket.eyes import carried_tower, make_eyes, resized_for_encoder
from flux_svd.pocket.judge_films import to_picture
from flux_svd.pocket.painter import paint_scenes
from flux_svd.pocket.train import WEIGHTS
from flux_svd.pocket.train_clip import load_clip
from flux_svd.pocket.world import COLORS, SHAPES, Scene, sample_scene


@pytest.fixture(scope="module")
def clip() -> Any:
    return load_clip(WEIGHTS / "pocket-clip")[0].eval()


def scenes_of(n: int, seed: int, *, held_out: bool) -> list[Scene]:
    rng = random.Random(seed)
    return [sample_scene(rng, held_out=held_out) for _ in range(n)]


def painted(scenes: list[Scene]) -> Tensor:
    return paint_scenes(scenes, 160, 96, torch.Generator().manual_seed(0))


@torch.no_grad()
def test_the_carried_tower_answers_as_open_clip_does(clip: Any) -> None:
    pictures = painted(scenes_of(50, 1, held_out=True))
    small = nn.functional.interpolate(pictures, (64, 64), mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
    ours, theirs = carried_tower(clip.visual)(resized_for_encoder(pictures)).image_embeds, clip.encode_image(small)
    assert float(nn.functional.cosine_similarity(ours, theirs).min()) > 0.99  # .9987 was seen; another picture's is about .1


@torch.no_grad()
def test_eyes_are_white_and_lose_nothing_of_the_tower(clip: Any) -> None:
    pictures = painted(scenes_of(600, 2, held_out=False))
    white, plain = (
        torch.cat([model(resized_for_encoder(part)).image_embeds for part in pictures.split(100)])
        for model in (make_eyes(clip, 600), carried_tower(clip.visual))
    )
    assert float(white.mean(dim=0).abs().mean()) < 0.1  # both drawn from one world, not the same pictures
    assert 0.6 < float(white.std()) < 1.2
    known = torch.cat([white, torch.ones(len(white), 1)], dim=1)
    missed = plain - known @ torch.linalg.lstsq(known, plain).solution
    assert float(missed.std() / plain.std()) < 0.05


@pytest.mark.slow
@torch.no_grad()
def test_eyes_tell_shapes_and_colours_through_the_pipeline(clip: Any) -> None:
    pipeline = StableVideoDiffusionPipeline.from_pretrained(
        WEIGHTS / "pocket-svd", dtype=torch.float32, image_encoder=make_eyes(clip)
    )
    told, asked = scenes_of(1500, 3, held_out=False), scenes_of(200, 4, held_out=True)
    seen = torch.cat([pipeline.image_encoder(resized_for_encoder(part)).image_embeds for part in painted(told).split(100)])
    fed = torch.cat([pipeline._encode_image(to_picture(one), "cpu", 1, False)[0] for one in painted(asked)])
    for name, words, gate in (("shape", SHAPES, 0.8), ("color", tuple(COLORS), 0.85)):
        answers, wanted = (torch.tensor([words.index(getattr(scene, name)) for scene in some]) for some in (told, asked))
        found = reader(seen, answers, len(words))(fed).argmax(dim=1)
        assert float((found == wanted).float().mean()) > gate, name  # seen: .93 and .98 of 500; carried: .17 and .52


@torch.enable_grad()
def reader(seen: Tensor, answers: Tensor, words: int) -> nn.Linear:
    """Return one linear layer that names `answers` (n,) by embeddings (n, d)."""
    linear = nn.Linear(seen.shape[1], words)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=100)

    def loss() -> Tensor:
        optimizer.zero_grad()
        error: Tensor = nn.functional.cross_entropy(linear(seen), answers) + 1e-4 * linear.weight.pow(2).sum()
        error.backward()  # type: ignore[no-untyped-call]
        return error

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return linear
