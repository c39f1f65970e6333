"""Transformers whose weights a library holds in fewer bits: tiny ones of the real classes, read by diffusers' own loaders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from flux_svd import storing
from flux_svd.catalog import MODELS
from flux_svd.engines.flux import FluxEngine
from flux_svd.engines.levers import streaming
from flux_svd.engines.quantised import read_gguf, read_quantised
from flux_svd.errors import InvalidRequest, ModelUnavailable, UnreadableFile
from flux_svd.memory import Placement
from flux_svd.planner import make_plan
from flux_svd.progress import ignore_steps
from flux_svd.request import make_request
from flux_svd.weights import find_model_file, keep_model_file, read_inventory
from tests.test_planner import EVERYTHING
from tests.tiny.builders import image_recipe
from tests.tiny.test_levers import SlowLane
from tests.tiny.test_single_file import as_its_makers_save_it

gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")
from diffusers.models.model_loading_utils import load_gguf_checkpoint  # noqa: E402
from diffusers.quantizers.gguf.utils import dequantize_gguf_tensor  # noqa: E402

FolderOf = Callable[[str], Path]
NAME = "flux1-dev"


def engine(folder_of: FolderOf, offload: str = "none", **options: Any) -> FluxEngine:
    placed = Placement(NAME, "cpu", offload, 0, 0)  # type: ignore[arg-type]
    return FluxEngine(MODELS[NAME], folder_of(NAME), placed, "fp32", **options)


def draw(one: FluxEngine) -> np.ndarray:
    return np.asarray(one.draw(image_recipe(NAME), [], ignore_steps))


def write_gguf(tensors: dict[str, Tensor], file: Path, kind: str = "Q8_0") -> dict[str, Tensor]:
    """Write the tensors, matrices in blocks of 32 as `kind`, all else in bf16; return what the file then holds."""
    kept, held = gguf.GGMLQuantizationType[kind], {}
    writer = gguf.GGUFWriter(file, "flux")
    for name, tensor in tensors.items():
        as_kind = kept if tensor.ndim == 2 and tensor.shape[1] % 32 == 0 else gguf.GGMLQuantizationType.BF16
        data = gguf.quants.quantize(tensor.numpy(), as_kind)
        writer.add_tensor(name, data, raw_dtype=as_kind)
        held[name] = torch.from_numpy(gguf.quants.dequantize(data, as_kind).copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def transformer_of(folder: Path) -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in load_file(next((folder / "transformer").glob("*.safetensors"))).items()}


@pytest.mark.parametrize("layout", ["diffusers", "makers"])
def test_a_gguf_file_draws_what_its_widened_weights_draw(layout: str, folder_of: FolderOf, tmp_path: Path) -> None:
    own = transformer_of(folder_of(NAME))
    held = write_gguf(own if layout == "diffusers" else as_its_makers_save_it(own), tmp_path / "own.gguf")
    wide = {name: dequantize_gguf_tensor(tensor) for name, tensor in load_gguf_checkpoint(tmp_path / "own.gguf").items()}
    for name, tensor in wide.items():  # diffusers multiplies in fp16, the file's own library in fp32
        assert torch.allclose(tensor.float(), held[name], rtol=2e-3, atol=1e-6), name
    save_file({name: tensor.contiguous() for name, tensor in wide.items()}, tmp_path / "widened.safetensors")
    kept, widened = (engine(folder_of, model_file=tmp_path / name) for name in ("own.gguf", "widened.safetensors"))
    assert np.array_equal(draw(kept), draw(widened))
    assert not np.array_equal(draw(kept), draw(engine(folder_of)))
    kinds = [type(layer.weight).__name__ for layer in kept._pipeline.transformer.modules() if hasattr(layer, "compute_dtype")]
    assert len(kinds) > 10
    assert set(kinds) == {"GGUFParameter"}  # still as in the file


@pytest.mark.parametrize("offload", ["phases", "stream"])
def test_a_gguf_file_draws_the_same_bits_however_the_rest_is_placed(
    offload: str, folder_of: FolderOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "CudaLane", SlowLane)
    write_gguf(transformer_of(folder_of(NAME)), tmp_path / "own.gguf", "Q4_0")
    here, there = (engine(folder_of, way, model_file=tmp_path / "own.gguf") for way in ("none", offload))
    assert np.array_equal(draw(here), draw(there))


def test_a_gguf_file_that_is_not_such_a_transformer_is_refused(folder_of: FolderOf, tmp_path: Path) -> None:
    own = transformer_of(folder_of(NAME))
    write_gguf({name: tensor for name, tensor in own.items() if name != "proj_out.weight"}, tmp_path / "less.gguf")
    with pytest.raises(ModelUnavailable, match=r"proj_out\.weight is not in it"):
        read_gguf(tmp_path / "less.gguf", folder_of(NAME), "fp32")
    write_gguf({**own, "proj_out.weight": torch.zeros(16, 64)}, tmp_path / "other.gguf")
    with pytest.raises(ModelUnavailable, match=r"proj_out\.weight \(16, 64\), not"):
        read_gguf(tmp_path / "other.gguf", folder_of(NAME), "fp32")
    (tmp_path / "half.gguf").write_bytes((tmp_path / "other.gguf").read_bytes()[:3000])
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        read_gguf(tmp_path / "half.gguf", folder_of(NAME), "fp32")
    (tmp_path / "text.gguf").write_text("not such a file")
    with pytest.raises(UnreadableFile, match="GGUF 2 or 3"):
        keep_model_file(tmp_path / "text.gguf", tmp_path)
    write_gguf(own, tmp_path / "own.gguf")
    with pytest.raises(InvalidRequest, match="none on the norms"):
        engine(folder_of, model_file=tmp_path / "own.gguf", fold_modulation=True)


def test_a_plan_counts_a_gguf_file_by_its_bytes_and_says_that_it_is_untried(folder_of: FolderOf, tmp_path: Path) -> None:
    write_gguf(transformer_of(folder_of(NAME)), tmp_path / "own.gguf")
    digest = keep_model_file(tmp_path / "own.gguf", tmp_path)
    assert find_model_file(digest, tmp_path) == tmp_path / "own.gguf"
    found = read_inventory(tmp_path).gguf
    assert found == {(digest, (tmp_path / "own.gguf").stat().st_size)}
    from tests.test_placing import card  # the same cards

    peaks = []
    for size in (7 * 10**9, 9 * 10**9):
        wish = make_request({"kind": "image", "prompt": "a", "seed": 1, "model": NAME, "model_file": digest})
        plan = make_plan(wish, card("GPU of 24 GiB"), replace(EVERYTHING, gguf=frozenset({(digest, size)})), None)  # type: ignore[arg-type]
        assert (plan.placements[0].rung, plan.placements[0].stored) == ("P5", "gguf")
        assert any(note.what == "model file" and "untried here" in note.why for note in plan.decisions)
        assert dict(plan.recipes[0].versions)["gguf"]
        peaks.append(plan.peak_bytes)
    assert peaks[1] - peaks[0] == 2 * 10**9


def test_what_a_library_would_hold_is_refused_with_its_extra_where_it_is_not_installed(
    folder_of: FolderOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "find_spec", lambda name: None)
    for kind, extra in (("int8", "quant-int8"), ("nf4", "quant-nf4")):
        with pytest.raises(ModelUnavailable, match=rf"pip install 'flux-svd\[{extra}\]'"):
            engine(folder_of, stored=kind)
    with pytest.raises(ModelUnavailable, match=r"pip install 'flux-svd\[gguf\]'"):
        read_gguf(tmp_path / "own.gguf", folder_of(NAME), "fp32")


@pytest.mark.skipif("int8" not in storing.installed_kinds(), reason="the extra quant-int8 is not installed")
@pytest.mark.parametrize("name", [NAME, "flux2-klein-4b"])
def test_weights_in_int8_take_a_quarter_of_fp32_and_draw_nearly_the_same(
    name: str, folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "CudaLane", SlowLane)
    made = read_quantised(folder_of(name), "int8", "fp32")
    held = [weight for weight in made.parameters() if type(weight.data).__name__ == "Int8Tensor"]
    assert len(held) > 10
    assert all(weight.qdata.dtype == torch.int8 for weight in held)
    pictures = []
    for options in ({}, {"stored": "int8"}, {"stored": "int8", "offload": "stream"}):
        placed = Placement(name, "cpu", options.pop("offload", "none"), 0, 0)  # type: ignore[arg-type]
        one = FluxEngine(MODELS[name], folder_of(name), placed, "fp32", **options)  # type: ignore[arg-type]
        pictures.append(np.asarray(one.draw(image_recipe(name), [], ignore_steps), dtype=np.float64))
    whole, small, streamed = pictures
    assert np.array_equal(small, streamed)
    assert 0 < np.abs(whole - small).mean() < 10  # grey levels
