"""The large models at full size without their weights: built on the meta device, to count what they hold and what they work with.

`tests/data/full_size.json` names class and settings of each part; what it leaves out are the class's own defaults.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import diffusers
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

PARTS: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "full_size.json").read_text())

BASED_ON = {  # models whose other parts are those of another one
    "flux1-dev": "flux1-dev", "flux1-schnell": "flux1-dev", "flux2-klein-4b": "flux2-klein-4b",
    "flux2-klein-9b": "flux2-klein-4b", "flux2-dev": "flux2-klein-4b", "svd-xt": "svd-xt",
}  # fmt: skip
BLOCKS = {  # where the blocks are that can be streamed, in the order they run
    "FluxTransformer2DModel": ("transformer_blocks", "single_transformer_blocks"),
    "Flux2Transformer2DModel": ("transformer_blocks", "single_transformer_blocks"),
    "UNetSpatioTemporalConditionModel": ("down_blocks", "up_blocks"),
}


def build(model: str, part: str) -> torch.nn.Module:
    """Return one part of a model on the meta device, in bfloat16."""
    path, settings = {**PARTS[BASED_ON[model]], **PARTS[model]}[part]
    library, name = path.split(".")
    kind = getattr({"diffusers": diffusers, "transformers": transformers}[library], name)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("meta"):
            made = kind(**settings) if library == "diffusers" else kind(kind.config_class(**settings))
    finally:
        torch.set_default_dtype(before)
    return made.to("meta").eval().requires_grad_(False)  # type: ignore[no-any-return]


def build_random(model: str, part: str) -> Any:
    """Return one part of a model in host memory, in bfloat16, with random weights: matrices N(0, 0.02²), norms 1, biases 0.

    The numbers come again every 16 million: drawing 12 billion would take minutes.
    """
    made = build(model, part).to_empty(device="cpu")
    drawn = (torch.randn(1 << 24, generator=torch.Generator().manual_seed(0)) * 0.02).bfloat16()
    for name, weight in made.named_parameters():
        if weight.ndim > 1:
            for numbers in weight.data.view(-1).split(len(drawn)):
                numbers.copy_(drawn[: len(numbers)])
        elif not name.endswith("mix_factor"):
            weight.data.fill_(0.0 if name.endswith("bias") else 1.0)
    for name, value in made.state_dict().items():
        if name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            value.fill_(1 if name.endswith("var") else 0)
    return made


def working_bytes(call: Callable[[], Any]) -> int:
    """Return the most bytes that tensors made during `call` hold at one time; parameters do not count.

    Tensors are on the meta device, so this is arithmetic, not a measurement: no workspace of libraries, no fragmentation.
    Attention counts as its result alone, as with the kernels that never build the whole matrix.
    """
    counted = _Counted()

    def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return query.new_empty(*query.shape[:-1], value.shape[-1])

    with torch.no_grad(), mock.patch("torch.nn.functional.scaled_dot_product_attention", attention), counted:
        call()
    return counted.peak


class _Counted(TorchDispatchMode):
    """Adds up the storages that operations make, and takes each off again when it is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {leaf.untyped_storage()._cdata for leaf in _tensors((args, kwargs or {}))}
        made = function(*args, **(kwargs or {}))
        for tensor in _tensors(made):
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in given and key not in self._seen:
                self._seen.add(key)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._gone, key, storage.nbytes())
        return made

    def _gone(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def meta(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def flux1_step(model: torch.nn.Module, width: int, height: int, text: int = 512) -> int:
    tokens = width * height // 256
    guidance = meta(1, dtype=torch.float32) if model.config.guidance_embeds else None  # type: ignore[union-attr]
    return working_bytes(
        lambda: model(
            hidden_states=meta(1, tokens, 64), encoder_hidden_states=meta(1, text, 4096), pooled_projections=meta(1, 768),
            timestep=meta(1), img_ids=meta(tokens, 3), txt_ids=meta(text, 3), guidance=guidance,
        )
    )  # fmt: skip


def flux2_step(model: torch.nn.Module, width: int, height: int, references: int = 0, text: int = 512) -> int:
    tokens = width * height // 256 + references * 4096
    config = model.config
    return working_bytes(
        lambda: model(
            hidden_states=meta(1, tokens, 128),
            encoder_hidden_states=meta(1, text, config.joint_attention_dim),  # type: ignore[union-attr, arg-type]
            timestep=meta(1), img_ids=meta(1, tokens, 4), txt_ids=meta(1, text, 4),
            guidance=meta(1) if config.guidance_embeds else None,  # type: ignore[union-attr]
        )
    )  # fmt: skip


def encode(model: torch.nn.Module, tokens: int = 512) -> int:
    ids, masks = meta(1, tokens, dtype=torch.long), {"full_attention": None}
    named: dict[str, Any] = (
        {} if "T5" in type(model).__name__ else {"attention_mask": masks, "position_ids": ids, "use_cache": False}
    )
    return working_bytes(lambda: model(input_ids=ids, output_hidden_states=True, **named))


def unet_call(model: torch.nn.Module, width: int, height: int, frames: int) -> int:
    """Both branches of guidance at once, as the sampler calls it."""
    size = height // 8, width // 8
    return working_bytes(lambda: model(meta(2, frames, 8, *size), meta(1), meta(2, 1, 1024), meta(2, 3)))


def decode(model: torch.nn.Module, width: int, height: int, frames: int = 1, channels: int = 4) -> int:
    counts = {"num_frames": frames} if channels == 4 else {}
    return working_bytes(lambda: model.decode(meta(frames, channels, height // 8, width // 8), **counts))  # type: ignore[operator]
