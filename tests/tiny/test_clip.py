"""ClipScorer against a bare open_clip call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import torch
from torch.nn import functional

from flux_svd.catalog import MODELS
from flux_svd.engines.clip import BATCH, ClipScorer
from flux_svd.errors import BadOutput
from tests.tiny.builders import picture


@pytest.fixture
def folder(folder_of: Callable[[str], Path]) -> Path:
    return folder_of("clip-vit-b-32")


@pytest.fixture
def scorer(folder: Path) -> ClipScorer:
    return ClipScorer(MODELS["clip-vit-b-32"], folder)


def test_cosine_equals_a_bare_open_clip_call_pair_by_pair(scorer: ClipScorer, folder: Path) -> None:
    pictures, texts = [picture(1), picture(2, 64, 48)], ["a red fox", "a green owl"]
    model, prepare = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(texts)
    with torch.no_grad():
        seen = model.eval().encode_image(torch.stack([prepare(one) for one in pictures]))
        bare = functional.cosine_similarity(seen, model.encode_text(tokens))
    assert scorer.cosine(pictures, texts) == pytest.approx(bare.tolist(), abs=1e-6)
    assert bare[0] != pytest.approx(bare[1].item(), abs=1e-4)  # else the order could not be told


def test_many_pictures_are_scored_as_each_alone(scorer: ClipScorer) -> None:
    pictures = [picture(seed) for seed in range(BATCH + 3)]
    texts = ["a red fox" if seed % 2 else "a green owl" for seed in range(BATCH + 3)]
    alone = [scorer.cosine([one], [text])[0] for one, text in zip(pictures, texts, strict=True)]
    assert scorer.cosine(pictures, texts) == pytest.approx(alone, abs=1e-5)


def test_likeness_is_one_with_itself_and_symmetric(scorer: ClipScorer) -> None:
    matrix = scorer.likeness([picture(1), picture(2), picture(1)])
    assert matrix[0][2] == pytest.approx(1, abs=1e-5)
    assert matrix[0][1] == pytest.approx(matrix[1][0], abs=1e-6)
    assert matrix[0][1] < 0.9999


def test_embeddings_that_are_not_finite_are_an_error(scorer: ClipScorer) -> None:
    with torch.no_grad():
        scorer._model.visual.proj.fill_(float("nan"))
    with pytest.raises(BadOutput, match="pictures are not finite"):
        scorer.cosine([picture(1)], ["a red fox"])


def test_pairs_must_be_pairs(scorer: ClipScorer) -> None:
    with pytest.raises(ValueError, match="2 images but 1 texts"):
        scorer.cosine([picture(1), picture(2)], ["a red fox"])
