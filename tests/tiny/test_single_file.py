"""A FLUX.1 transformer of one's own, in one file: the same bits as from a model's folder, or a refusal that names the tensor."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers
from safetensors.torch import load_file, save_file
from torch import Tensor

from flux_svd.catalog import MODELS
from flux_svd.cli import main
from flux_svd.engines.flux import FluxEngine
from flux_svd.engines.single_file import as_in_diffusers
from flux_svd.errors import InvalidRequest, ModelUnavailable, UnreadableFile
from flux_svd.progress import ignore_steps
from flux_svd.request import make_request
from flux_svd.session import Session
from flux_svd.weights import POCKET_FOLDER, find_model_file, keep_model_file
from tests.tiny.builders import image_recipe, placement

FolderOf = Callable[[str], Path]
POCKET = POCKET_FOLDER / "pocket-flux"


def as_its_makers_save_it(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a transformer of diffusers in the layout of black-forest-labs/flux, written by hand and apart from the reader."""
    left, made = dict(ours), dict[str, Tensor]()

    def take(*names: str) -> Tensor:
        return torch.cat([left.pop(name) for name in names])

    for theirs, own in (("timestep", "time_in"), ("text", "vector_in"), ("guidance", "guidance_in")):
        for number, side in ((1, "in_layer"), (2, "out_layer")):
            for leaf in ("weight", "bias"):
                if f"time_text_embed.{theirs}_embedder.linear_{number}.{leaf}" in left:
                    made[f"{own}.{side}.{leaf}"] = take(f"time_text_embed.{theirs}_embedder.linear_{number}.{leaf}")
    for leaf in ("weight", "bias"):
        made[f"img_in.{leaf}"], made[f"txt_in.{leaf}"] = take(f"x_embedder.{leaf}"), take(f"context_embedder.{leaf}")
        made[f"final_layer.linear.{leaf}"] = take(f"proj_out.{leaf}")
        scale, shift = take(f"norm_out.linear.{leaf}").chunk(2)
        made[f"final_layer.adaLN_modulation.1.{leaf}"] = torch.cat([shift, scale])
    for n in {int(name.split(".")[1]) for name in ours if name.startswith("transformer_blocks.")}:
        block, theirs = f"transformer_blocks.{n}", f"double_blocks.{n}"
        for side, norm, ff, qkv, out, added in (("img", "norm1", "ff", ("to_q", "to_k", "to_v"), "to_out.0", ""),
                                                ("txt", "norm1_context", "ff_context", ("add_q_proj", "add_k_proj", "add_v_proj"),
                                                 "to_add_out", "added_")):  # fmt: skip
            for leaf in ("weight", "bias"):
                made[f"{theirs}.{side}_mod.lin.{leaf}"] = take(f"{block}.{norm}.linear.{leaf}")
                made[f"{theirs}.{side}_attn.qkv.{leaf}"] = take(*(f"{block}.attn.{one}.{leaf}" for one in qkv))
                made[f"{theirs}.{side}_attn.proj.{leaf}"] = take(f"{block}.attn.{out}.{leaf}")
                made[f"{theirs}.{side}_mlp.0.{leaf}"] = take(f"{block}.{ff}.net.0.proj.{leaf}")
                made[f"{theirs}.{side}_mlp.2.{leaf}"] = take(f"{block}.{ff}.net.2.{leaf}")
            for letter, word in (("q", "query"), ("k", "key")):
                made[f"{theirs}.{side}_attn.norm.{word}_norm.scale"] = take(f"{block}.attn.norm_{added}{letter}.weight")
    for n in {int(name.split(".")[1]) for name in ours if name.startswith("single_transformer_blocks.")}:
        block, theirs = f"single_transformer_blocks.{n}", f"single_blocks.{n}"
        for leaf in ("weight", "bias"):
            made[f"{theirs}.modulation.lin.{leaf}"] = take(f"{block}.norm.linear.{leaf}")
            rows = [f"{block}.attn.{one}.{leaf}" for one in ("to_q", "to_k", "to_v")]
            made[f"{theirs}.linear1.{leaf}"] = take(*rows, f"{block}.proj_mlp.{leaf}")
            made[f"{theirs}.linear2.{leaf}"] = take(f"{block}.proj_out.{leaf}")
        for letter, word in (("q", "query"), ("k", "key")):
            made[f"{theirs}.norm.{word}_norm.scale"] = take(f"{block}.attn.norm_{letter}.weight")
    assert left == {}
    return made


def other_weights(folder: Path) -> dict[str, Tensor]:
    """Return the tiny transformer of `folder` with other values."""
    generator = torch.Generator().manual_seed(5)
    read = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    return {name: weight + 0.05 * torch.randn(weight.shape, generator=generator) for name, weight in read.items()}


def drawn(folder: Path, name: str, offload: str = "none", **options: Any) -> np.ndarray:
    engine = FluxEngine(MODELS[name], folder, placement(name, offload), "fp32", **options)
    return np.asarray(engine.draw(image_recipe(name), [], ignore_steps))


@pytest.mark.parametrize("name", ["flux1-dev", "flux1-schnell"])
@pytest.mark.parametrize("layout", ["diffusers", "its makers'", "another program's"])
def test_a_transformer_from_one_file_draws_what_it_would_from_its_folder(
    name: str, layout: str, folder_of: FolderOf, tmp_path: Path
) -> None:
    weights = other_weights(folder_of(name))
    folder = tmp_path / "whole"
    shutil.copytree(folder_of(name), folder)
    save_file(weights, folder / "transformer" / "diffusion_pytorch_model.safetensors")
    saved = weights if layout == "diffusers" else as_its_makers_save_it(weights)
    if layout == "another program's":
        saved = {f"model.diffusion_model.{key}": value for key, value in saved.items()}
    file = tmp_path / "own.safetensors"
    save_file(saved, file)
    expected = drawn(folder, name)
    assert not np.array_equal(expected, drawn(folder_of(name), name))
    for offload in ("none", "model", "phases"):
        assert np.array_equal(expected, drawn(folder_of(name), name, offload, model_file=file)), offload


def test_the_reader_agrees_with_diffusers_at_full_width() -> None:
    """One block of each kind at the published widths; each row holds its own number, and columns take no memory."""
    with torch.device("meta"):
        model = FluxTransformer2DModel(num_layers=1, num_single_layers=1, guidance_embeds=True)
    needed = {name: weight.shape for name, weight in model.state_dict().items()}
    numbered = {
        name: (n * 1e6 + torch.arange(shape[0], dtype=torch.float64)).reshape(-1, *(1 for _ in shape[1:])).expand(shape)
        for n, (name, shape) in enumerate(needed.items())
    }
    rows = as_its_makers_save_it({name: value[:, :1] if value.ndim > 1 else value for name, value in numbered.items()})
    widths = {"img_in": 64, "txt_in": 4096, "time_in.in_layer": 256, "guidance_in.in_layer": 256, "vector_in.in_layer": 768}
    wide = dict[str, Tensor]()
    for name, value in rows.items():
        layer = name.rpartition(".")[0]
        width = widths.get(layer, 12288 if layer.endswith("mlp.2") else 15360 if layer.endswith("linear2") else 3072)
        wide[name] = value.expand(-1, width) if value.ndim > 1 else value
    ours = {theirs: part for name, value in wide.items() for theirs, part in as_in_diffusers(name, value, needed).items()}
    theirs = convert_flux_transformer_checkpoint_to_diffusers(dict(rows))
    assert set(ours) == set(theirs) == set(needed)
    for name, value in theirs.items():
        assert torch.equal(ours[name].reshape(len(value), -1)[:, 0], value.reshape(len(value), -1)[:, 0]), name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda saved: saved.pop("img_in.weight"), "x_embedder.weight is not in it"),
        (lambda saved: saved.update({"vae.encoder.weight": torch.zeros(1)}), "vae.encoder.weight belongs to something else"),
        (lambda saved: saved.update({"img_in.scale_weight": torch.zeros(1)}), "img_in.scale_weight belongs to something else"),
        (lambda saved: saved.update({"double_blocks.7.img_mod.lin.bias": torch.zeros(1)}), "belongs to something else"),
        (lambda saved: saved.update({"txt_in.weight": torch.zeros(3, 3)}), "has 3 rows"),
        (lambda saved: saved.update({"txt_in.weight": saved["txt_in.weight"][:, 1:].clone()}), "txt_in.weight makes context"),
    ],
)
def test_a_file_that_is_not_exactly_such_a_transformer_is_refused_by_the_tensors_name(
    change: Callable[[dict[str, Tensor]], Any], said: str, folder_of: FolderOf, tmp_path: Path
) -> None:
    saved = as_its_makers_save_it(other_weights(folder_of("flux1-dev")))
    change(saved)
    file = tmp_path / "own.safetensors"
    save_file(saved, file)
    with pytest.raises(ModelUnavailable, match=said) as caught:
        drawn(folder_of("flux1-dev"), "flux1-dev", model_file=file)
    assert str(file) in str(caught.value)


def test_files_that_may_carry_code_or_are_damaged_are_never_opened(tmp_path: Path, home: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (tmp_path / "sprung").touch, ()

    good = tmp_path / "good.safetensors"
    save_file({"a": torch.zeros(4)}, good)
    torch.save({"a": Trap()}, tmp_path / "zip.safetensors")
    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps(Trap()))
    shutil.copy(good, tmp_path / "good.ckpt")
    for name in ("zip.safetensors", "pickle.safetensors", "good.ckpt"):
        with pytest.raises(UnreadableFile, match="may carry code and are never loaded"):
            keep_model_file(tmp_path / name, home)
    assert not (tmp_path / "sprung").exists()
    for number, data in enumerate((b"", b"\x10", good.read_bytes()[:-1], b"\xff" * 64, good.read_bytes() + b"x")):
        (tmp_path / f"{number}.safetensors").write_bytes(data)
        with pytest.raises(UnreadableFile, match="undamaged"):
            keep_model_file(tmp_path / f"{number}.safetensors", home)
    with pytest.raises(UnreadableFile, match="can be read"):
        keep_model_file(tmp_path / "missing.safetensors", home)
    assert keep_model_file(good, home) == hashlib.sha256(good.read_bytes()).hexdigest()


def test_a_wish_names_a_file_that_was_given_and_its_picture_says_so(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUX_SVD_HOME", str(home))
    file = tmp_path / "own.safetensors"
    same = load_file(POCKET / "transformer" / "diffusion_pytorch_model.safetensors")
    save_file(as_its_makers_save_it(same), file)

    def ask(*arguments: str) -> dict[str, Any]:
        main(["image", "a red circle", "--seed", "7", "--steps", "2", "--output", str(tmp_path / "out"), "--json", *arguments])
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    own, plain = ask("--model-file", str(file)), ask()
    assert own["plan"]["recipes"][0]["model_file"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert own["plan"]["fingerprints"] != plain["plan"]["fingerprints"]
    assert any(note["what"] == "model file" for note in own["plan"]["decisions"])
    assert np.array_equal(*(np.asarray(_opened(answer["path"])) for answer in (own, plain)))  # the same weights, another layout
    session, name = Session(home=home, output_dir=tmp_path / "out"), own["plan"]["recipes"][0]["model_file"]
    wish = {"kind": "image", "prompt": "a red circle", "model_file": name}
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(UnreadableFile, match="it has changed: give it again"):
        session.plan(make_request(wish))
    assert keep_model_file(file, home) != name
    with pytest.raises(InvalidRequest, match="was given to this machine before"):
        session.plan(make_request({**wish, "model_file": "0" * 64}))
    file.unlink()
    with pytest.raises(UnreadableFile, match="still there"):
        find_model_file(keep_model_file_name(home, str(file)), home)


def test_only_flux1_takes_one(home: Path, tmp_path: Path, folder_of: FolderOf) -> None:
    file = tmp_path / "own.safetensors"
    save_file({"a": torch.zeros(4)}, file)
    (home / "models").mkdir(parents=True)
    (home / "models" / "flux2-klein-4b").symlink_to(folder_of("flux2-klein-4b"))
    wish = {"kind": "image", "prompt": "a dog", "model": "flux2-klein-4b", "model_file": keep_model_file(file, home)}
    with pytest.raises(InvalidRequest, match=r"not with flux2-klein-4b; models that obey it: flux1-dev, flux1-schnell"):
        Session(home=home).plan(make_request(wish))


def keep_model_file_name(home: Path, file: str) -> str:
    known = json.loads((home / "model_files.json").read_text())
    return next(name for name, row in known.items() if row["file"] == file)


def _opened(path: str) -> Any:
    from PIL import Image

    with Image.open(path) as picture:
        return picture.convert("RGB")
