"""A FLUX.1 transformer from one file of the user's own, in the layout of its makers or of diffusers.

Nothing is guessed: a tensor that is not known, is missing or has another shape is named, and nothing of the file is used.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from safetensors import SafetensorError, safe_open
from torch import Tensor

from flux_svd.engines.placement import DTYPES
from flux_svd.errors import ModelUnavailable
from flux_svd.recipe import Precision

_PREFIXES = ("model.diffusion_model.", "diffusion_model.")  # of files that other programs have saved
# From black-forest-labs/flux `src/flux/model.py` to diffusers 0.42.1; a layer that becomes several is cut along its rows.
_OUTSIDE = {
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
    **{
        f"{own}_in.{side}_layer": (f"time_text_embed.{theirs}_embedder.linear_{number}",)
        for own, theirs in (("time", "timestep"), ("vector", "text"), ("guidance", "guidance"))
        for side, number in (("in", 1), ("out", 2))
    },
}
_DOUBLE = {
    "img_mod.lin": ("norm1.linear",),
    "txt_mod.lin": ("norm1_context.linear",),
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "img_attn.norm.query_norm": ("attn.norm_q",),
    "img_attn.norm.key_norm": ("attn.norm_k",),
    "txt_attn.norm.query_norm": ("attn.norm_added_q",),
    "txt_attn.norm.key_norm": ("attn.norm_added_k",),
    "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.proj": ("attn.to_add_out",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
}
_SINGLE = {
    "modulation.lin": ("norm.linear",),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "norm.query_norm": ("attn.norm_q",),
    "norm.key_norm": ("attn.norm_k",),
    "linear2": ("proj_out",),
}
_BLOCKS = {"double_blocks": ("transformer_blocks", _DOUBLE), "single_blocks": ("single_transformer_blocks", _SINGLE)}
_LEAVES = {"weight": "weight", "bias": "bias", "scale": "weight"}


def read_transformer(file: Path, folder: Path, precision: Precision) -> FluxTransformer2DModel:
    """Return the transformer in `file`, in host memory, with the settings of the model in `folder`.

    Raises:
        ModelUnavailable: the file cannot be read, or does not hold exactly such a transformer; names the first tensor.
    """
    own_memory = functools.partial(Tensor.to, dtype=DTYPES[precision], copy=True)  # out of the mapped file
    try:
        model, found = fill(file, folder, _tensors(file), own_memory)
    except (OSError, SafetensorError) as error:
        raise ModelUnavailable(f"{file} cannot be read: {error}") from error
    model.load_state_dict(found, strict=True, assign=True)
    return model.eval()


def fill(
    file: Path, folder: Path, tensors: Iterable[tuple[str, Tensor]], as_kept: Callable[[Tensor], Tensor]
) -> tuple[FluxTransformer2DModel, dict[str, Tensor]]:
    """Return the transformer of the model in `folder` without weights, and all of them out of `file`, by diffusers' names.

    Args:
        tensors: what the file holds, by its own names.
        as_kept: what becomes of each part.

    Raises:
        ModelUnavailable: the file does not hold exactly such a transformer; names the first tensor.
    """
    settings = json.loads((folder / "transformer" / "config.json").read_text("utf-8"))
    with torch.device("meta"):
        model = FluxTransformer2DModel.from_config(settings)
    needed = {name: weight.shape for name, weight in model.state_dict().items()}
    found: dict[str, Tensor] = {}
    try:
        for name, tensor in tensors:
            for theirs, part in as_in_diffusers(_plain(name), tensor, needed).items():
                found[theirs] = as_kept(part)
    except _Unknown as error:
        raise ModelUnavailable(f"{file} is no FLUX.1 transformer alone: {error.args[0]}") from None
    absent = next((name for name in needed if name not in found), None)
    if absent is not None:
        raise ModelUnavailable(f"{file} is no whole transformer of {folder.name}: {absent} is not in it")
    return model, found


def as_in_diffusers(name: str, tensor: Tensor, needed: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return what diffusers makes of one tensor of a file, by name.

    Args:
        needed: the shapes of all tensors diffusers expects, by name.
    """
    if name in needed:
        parts = {name: tensor}
    else:
        layer, _, leaf = name.rpartition(".")
        targets = [f"{one}.{_LEAVES[leaf]}" for one in _targets(layer)] if leaf in _LEAVES else []
        if not targets or any(one not in needed for one in targets):
            raise _Unknown(f"{name} belongs to something else")
        rows = [int(needed[one][0]) for one in targets]
        if sum(rows) != tensor.shape[0]:
            raise _Unknown(f"{name} has {tensor.shape[0]} rows, not {sum(rows)}")
        parts = dict(zip(targets, torch.split(tensor, rows), strict=True))
        if layer == "final_layer.adaLN_modulation.1":  # shift and scale stand the other way round there
            shift, scale = tensor.chunk(2)
            parts = {targets[0]: torch.cat([scale, shift])}
    for theirs, part in parts.items():
        shape = getattr(part, "quant_shape", part.shape)  # of a .gguf file's tensor, whose own shape is that of its bytes
        if tuple(shape) != tuple(needed[theirs]):
            raise _Unknown(f"{name} makes {theirs} {tuple(shape)}, not {tuple(needed[theirs])}")
    return parts


def _tensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    with safe_open(file, framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118
            yield name, opened.get_tensor(name)


class _Unknown(Exception):
    """A tensor that has no place in the transformer."""


def _targets(layer: str) -> list[str]:
    if layer in _OUTSIDE:
        return list(_OUTSIDE[layer])
    kind, _, rest = layer.partition(".")
    number, _, inner = rest.partition(".")
    blocks, names = _BLOCKS.get(kind, ("", {}))
    return [f"{blocks}.{number}.{one}" for one in names.get(inner, ())] if number.isdigit() else []


def _plain(name: str) -> str:
    return next((name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)), name)
