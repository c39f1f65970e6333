"""Folders that are not what they should be: every fault is named, by file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from flux_svd.catalog import MODELS
from flux_svd.engines.clip import ClipScorer
from flux_svd.engines.flux import FluxEngine
from flux_svd.engines.svd import SvdEngine
from flux_svd.errors import ModelUnavailable
from tests.tiny.builders import placement


@pytest.fixture
def folder(folder_of: Callable[[str], Path], tmp_path: Path) -> Path:
    return shutil.copytree(folder_of("flux1-schnell"), tmp_path / "model")


def load(folder: Path) -> FluxEngine:
    return FluxEngine(MODELS["flux1-schnell"], folder, placement("flux1-schnell"), "fp32")


def test_an_untouched_copy_loads(folder: Path) -> None:
    load(folder)


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"nothing/model_index\.json is missing"):
        load(tmp_path / "nothing")


def test_a_damaged_index_is_named(folder: Path) -> None:
    (folder / "model_index.json").write_text("{")
    with pytest.raises(ModelUnavailable, match=r"model_index\.json is damaged"):
        load(folder)


def test_a_missing_component_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "vae")
    with pytest.raises(ModelUnavailable, match="model/vae is missing"):
        load(folder)


@pytest.mark.parametrize("part", ["vae/diffusion_pytorch_model", "transformer/diffusion_pytorch_model", "text_encoder_2/model"])
def test_a_cut_weight_file_is_named(part: str, folder: Path) -> None:
    file = folder / f"{part}.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(ModelUnavailable, match=f"{part}.safetensors is missing or damaged"):
        load(folder)


@pytest.mark.parametrize("part", ["vae/diffusion_pytorch_model", "text_encoder/model"])
def test_an_absent_weight_file_names_the_component(part: str, folder: Path) -> None:
    (folder / f"{part}.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load(folder)


def test_pickled_weights_are_never_read(folder: Path) -> None:
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ModelUnavailable):
        load(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    config = folder / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"joint_attention_dim": 24}))
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load(folder)


def test_weights_with_a_missing_tensor_are_refused(folder: Path) -> None:
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors.pop("proj_out.weight")
    save_file(tensors, file)
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load(folder)


def test_another_model_in_the_folder_is_named(folder: Path) -> None:
    with pytest.raises(ModelUnavailable, match="holds a FluxPipeline"):
        SvdEngine(MODELS["svd-xt"], folder, placement("svd-xt"), "fp32")


def test_a_scorer_names_what_is_missing(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    copy = shutil.copytree(folder_of("clip-vit-b-32"), tmp_path / "clip")
    weights = copy / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    with pytest.raises(ModelUnavailable, match=r"open_clip_model\.safetensors is missing or damaged"):
        ClipScorer(MODELS["clip-vit-b-32"], copy)
    (copy / "open_clip_config.json").unlink()
    with pytest.raises(ModelUnavailable, match=r"open_clip_config\.json is missing"):
        ClipScorer(MODELS["clip-vit-b-32"], copy)
