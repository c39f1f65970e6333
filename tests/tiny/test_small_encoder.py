"""A small T5 with a projection instead of FLUX.1's own: tiny and random, in the layout DistillT5 is published in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import T5Config, T5EncoderModel

from flux_svd.catalog import MODELS
from flux_svd.engines.flux import FluxEngine
from flux_svd.engines.levers import streaming
from flux_svd.engines.small_encoder import ProjectedT5
from flux_svd.engines.warm import WarmEngines
from flux_svd.errors import InvalidRequest, ModelUnavailable, UnreadableFile
from flux_svd.planner import make_plan
from flux_svd.progress import ignore_steps
from flux_svd.request import make_request
from flux_svd.weights import find_model_file, keep_text_encoder, read_inventory
from tests.test_placing import card
from tests.test_planner import EVERYTHING
from tests.tiny.builders import image_recipe, placement
from tests.tiny.test_levers import SlowLane

FolderOf = Callable[[str], Path]
NAME = "flux1-dev"
FEATURES = 16  # of the tiny transformer; 4096 of FLUX.1


class AsPublished(nn.Module):
    """An encoder within an encoder, and two linear layers without bias around a dropout: as its makers wrote it down."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.encoder = T5EncoderModel(
            T5Config(vocab_size=vocabulary, d_model=8, d_ff=16, d_kv=4, num_layers=3, num_heads=2, feed_forward_proj="relu")
        )
        self.final_projection = nn.Sequential(
            nn.Linear(8, FEATURES, bias=False), nn.ReLU(), nn.Dropout(0.1), nn.Linear(FEATURES, FEATURES, bias=False)
        )


@pytest.fixture
def published(folder_of: FolderOf, tmp_path: Path) -> tuple[AsPublished, Path]:
    torch.manual_seed(1)
    vocabulary = json.loads((folder_of(NAME) / "text_encoder_2" / "config.json").read_text())["vocab_size"]
    made = AsPublished(vocabulary).eval()
    folder = tmp_path / "small"
    folder.mkdir()
    tensors = {name: tensor.clone() for name, tensor in made.state_dict().items() if "embed_tokens" not in name}
    save_file(tensors, folder / "model.safetensors")
    settings = {**made.encoder.config.to_dict(), "project_in_dim": 8, "project_out_dim": FEATURES}
    (folder / "config.json").write_text(json.dumps(settings))
    return made, folder


@pytest.mark.parametrize("offload", ["none", "phases", "stream"])
def test_it_says_what_its_makers_class_says(
    offload: Any, folder_of: FolderOf, published: tuple[AsPublished, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "CudaLane", SlowLane)
    made, folder = published
    placed = placement(NAME, offload)
    engine = FluxEngine(MODELS[NAME], folder_of(NAME), placed, "fp32", encoder_file=folder / "model.safetensors")
    recipe = image_recipe(NAME)
    ids = engine._pipeline.tokenizer_2(
        recipe.prompt, padding="max_length", max_length=recipe.prompt_tokens, truncation=True, return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        expected = made.final_projection(made.encoder(ids)[0])
    assert torch.equal(engine.embed(recipe)[0].tokens, expected)
    assert engine.draw(recipe, [], ignore_steps).size == (recipe.width, recipe.height)


def test_a_folder_that_is_no_such_encoder_is_refused(
    folder_of: FolderOf, published: tuple[AsPublished, Path], tmp_path: Path
) -> None:
    made, folder = published

    def load() -> None:
        FluxEngine(MODELS[NAME], folder_of(NAME), placement(NAME), "fp32", encoder_file=folder / "model.safetensors")

    whole = {name: tensor.clone() for name, tensor in made.state_dict().items() if "embed_tokens" not in name}
    last = "final_projection.3.weight"
    without = {name: tensor for name, tensor in whole.items() if "projection" not in name}
    for given in (without, {**whole, last: whole[last][:8].clone()}):  # none, and one to another width
        save_file(given, folder / "model.safetensors")
        with pytest.raises(ModelUnavailable, match="no projection to the 16 features"):
            load()
    save_file({name: tensor for name, tensor in whole.items() if "block.2" not in name}, folder / "model.safetensors")
    with pytest.raises(ModelUnavailable, match=r"encoder\.block\.2"):
        load()
    (folder / "config.json").unlink()
    with pytest.raises(ModelUnavailable, match="cannot be read as a T5 encoder"):
        load()
    with pytest.raises(UnreadableFile, match=r"config\.json"):
        keep_text_encoder(folder, tmp_path)


def test_a_plan_counts_it_and_a_warm_engine_holds_it(
    folder_of: FolderOf, published: tuple[AsPublished, Path], tmp_path: Path
) -> None:
    made, folder = published
    name = keep_text_encoder(folder, tmp_path)
    assert keep_text_encoder(folder, tmp_path) == name
    assert find_model_file(name, tmp_path) == folder / "model.safetensors"
    here = read_inventory(tmp_path)
    assert here.encoders == {(name, sum(weight.numel() for weight in made.parameters()))}

    def peak(**wishes: Any) -> int:
        wish = make_request({"kind": "image", "prompt": "a", "seed": 1, "model": NAME, **wishes})
        plan = make_plan(wish, card("GPU of 48 GiB"), replace(EVERYTHING, encoders=frozenset({(name, 129_500_000)})), None)  # type: ignore[arg-type]
        assert plan.placements[0].rung == "P0"
        assert plan.recipes[0].text_encoder == wishes.get("text_encoder", "")
        return plan.peak_bytes

    assert peak() - peak(text_encoder=name) == 2 * (4_762_310_656 - 129_500_000)
    with pytest.raises(InvalidRequest, match="models that obey it: flux1-dev, flux1-schnell"):
        peak(model="flux2-klein-4b", text_encoder=name)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / NAME).symlink_to(folder_of(NAME))
    engines = WarmEngines(tmp_path)
    assert isinstance(engines.flux(placement(NAME), "fp32", "", name)._pipeline.text_encoder_2, ProjectedT5)
    assert not isinstance(engines.flux(placement(NAME), "fp32")._pipeline.text_encoder_2, ProjectedT5)
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    assert keep_text_encoder(folder, tmp_path) != name  # other settings are another encoder
