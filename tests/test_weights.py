"""Where weights are found, when they count as complete, and what a licence asks for first."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import pytest

from flux_svd import weights
from flux_svd.catalog import MODELS, ModelSpec
from flux_svd.errors import InvalidRequest, ModelUnavailable

KLEIN, CLIP = MODELS["flux2-klein-4b"], MODELS["clip-vit-b-32"]


def lay_out(folder: Path, *, shards: tuple[str, ...] = ("a", "b")) -> Path:
    """Write a folder with the layout of a diffusers repository: one sharded part, one whole part, one without weights."""
    index = {name: ["library", "Class"] for name in ("transformer", "vae", "scheduler")}
    for name in index:
        (folder / name).mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "Flux2KleinPipeline", **index, "feature": [None, None]}))
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    (folder / "vae" / "config.json").write_text("{}")
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"x")
    (folder / "transformer" / "config.json").write_text("{}")
    names = {"w1": "a.safetensors", "w2": "b.safetensors"}
    (folder / "transformer" / "m.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    for shard in shards:
        (folder / "transformer" / f"{shard}.safetensors").write_bytes(b"x")
    return folder


def test_pocket_models_are_always_here(home: Path) -> None:
    assert {"pocket-flux", "pocket-klein", "pocket-svd", "pocket-clip"} <= weights.read_inventory(home).on_disk


def test_a_whole_folder_in_the_data_folder_is_found(home: Path) -> None:
    folder = lay_out(home / "models" / KLEIN.name)
    assert weights.find_folder(KLEIN, home) == folder
    assert KLEIN.name in weights.read_inventory(home).on_disk


def test_a_missing_shard_makes_it_incomplete(home: Path) -> None:
    lay_out(home / "models" / KLEIN.name, shards=("a",))
    assert weights.find_folder(KLEIN, home) is None
    with pytest.raises(ModelUnavailable, match="models download flux2-klein-4b"):
        weights.need_folder(KLEIN, home)


def test_a_part_without_weights_makes_it_incomplete(home: Path) -> None:
    folder = lay_out(home / "models" / KLEIN.name)
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    assert weights.find_folder(KLEIN, home) is None


def test_weights_in_the_hugging_face_cache_are_used(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789" * 4
    cached = tmp_path / "hub" / "models--black-forest-labs--FLUX.2-klein-4B"
    lay_out(cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert weights.find_folder(KLEIN, home) == cached / "snapshots" / commit


def test_a_scorer_needs_its_two_files(home: Path) -> None:
    folder = home / "models" / CLIP.name
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text("{}")
    assert weights.find_folder(CLIP, home) is None
    (folder / "open_clip_model.safetensors").write_bytes(b"x")
    assert weights.find_folder(CLIP, home) == folder


def test_a_full_disk_is_told_before_the_download(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        free = 2**30

    monkeypatch.setattr("shutil.disk_usage", lambda path: Full)
    with pytest.raises(ModelUnavailable, match=r"needs 15\.6 GiB of disk"):
        weights.download(KLEIN, home)


def test_an_accepted_licence_is_remembered_with_its_time(home: Path) -> None:
    weights.accept_licence(MODELS["flux1-dev"], home)
    assert weights.read_inventory(home).accepted == {"flux-1-dev-non-commercial"}
    assert json.loads((home / "licences.json").read_text())["flux-1-dev-non-commercial"].startswith("20")


@pytest.mark.parametrize("spec", [spec for spec in MODELS.values() if spec.pocket], ids=lambda spec: spec.name)
def test_the_catalogue_counts_the_parameters_of_the_pocket_weights(spec: ModelSpec, home: Path) -> None:
    folder = weights.need_folder(spec, home)
    counted = {}
    for path in folder.rglob("*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        part = path.relative_to(folder).parent.name
        counted[part] = sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    assert counted == {component.folder: component.parameters for component in spec.components}


@pytest.mark.parametrize("row", ["null", "[]", "3", "{}", '{"file": 3, "bytes": 1}', '{"file": "x", "bytes": []}'])
def test_a_list_of_given_files_that_says_nonsense_is_named_and_the_rest_of_it_works(
    row: str, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home.mkdir()
    whole = '{"file": "y.gguf", "bytes": 7}'
    (home / "model_files.json").write_text(f'{{"{"a" * 64}": {row}, "{"b" * 64}": {whole}}}')
    assert weights.read_inventory(home).gguf == {("b" * 64, 7)}
    assert str(home / "model_files.json") in caplog.text
    with pytest.raises(InvalidRequest, match="was given to this machine before"):
        weights.find_model_file("a" * 64, home)
