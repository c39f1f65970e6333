"""Ways to compute a transformer faster or smaller that change pixels: only where a recipe asks for them.

Run on CPU with tiny random transformers of the real classes; what they gain on a GPU is not measured yet.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import FirstBlockCacheConfig
from diffusers.hooks.layerwise_casting import DEFAULT_SKIP_MODULES_PATTERN
from diffusers.models.attention_dispatch import AttentionBackendName, attention_backend
from torch import nn

from flux_svd.errors import ModelUnavailable
from flux_svd.recipe import ImageRecipe
from flux_svd.request import Attention

# Without the ones that fetch kernels from a hub: those run code from there.
_BACKENDS: dict[Attention, AttentionBackendName] = {
    "native": AttentionBackendName.NATIVE,
    "math": AttentionBackendName._NATIVE_MATH,
    "cudnn": AttentionBackendName._NATIVE_CUDNN,
    "flash": AttentionBackendName.FLASH,
    "sage": AttentionBackendName.SAGE,
}


_NARROWED = (nn.Linear, nn.Conv2d, nn.Embedding)


@contextmanager
def shortcuts(transformer: Any, recipe: ImageRecipe) -> Iterator[None]:
    """Let the transformer compute as the recipe asks, and as before after that.

    Step cache: where the first block's answer changes by less than the threshold from one step to the next, the blocks behind
    it are not computed and their last answer is taken (First Block Cache of ParaAttention, through diffusers; FLUX.1 only: with
    FLUX.2 it fails in diffusers 0.42.1). Compiling: each kind of block once, on its first use in a process.

    Raises:
        ModelUnavailable: the library of an attention backend is not installed.
    """
    if recipe.step_cache:
        transformer.enable_cache(FirstBlockCacheConfig(threshold=recipe.step_cache))
    if recipe.compiled:
        transformer.compile_repeated_blocks(fullgraph=True)
    try:
        with _attending(recipe.attention):
            yield
    finally:
        if recipe.step_cache:
            transformer.disable_cache()
        if recipe.compiled:
            for block in transformer.modules():
                block._compiled_call_impl = None  # what `compile` sets; the compiled code itself stays for the next use


def store_as_fp8(transformer: Any, compute: torch.dtype) -> None:
    """Keep the transformer's weights as float8_e4m3fn and compute in `compute`, one layer at a time.

    Saves half of their bytes at bf16, except norms and what diffusers' layerwise casting leaves out by name: FLUX.1's AdaLN (3.2
    of 11.9 billion parameters) stays, unless it is folded. Changes every picture. Cannot be undone on a loaded transformer.

    Unlike with diffusers' own hooks, a layer has its very weights back after it computed, also after an error: narrowing them
    again would take their memory twice where they are part of a larger block.
    """
    for name, layer in transformer.named_modules():
        if isinstance(layer, _NARROWED) and not any(re.search(pattern, name) for pattern in DEFAULT_SKIP_MODULES_PATTERN):
            for weight in layer.parameters(recurse=False):
                weight.data = weight.data.to(torch.float8_e4m3fn)
            kept: list[torch.Tensor] = []
            layer.register_forward_pre_hook(functools.partial(_widen, kept, compute))
            layer.register_forward_hook(functools.partial(_narrow, kept), always_call=True)


def _widen(kept: list[torch.Tensor], compute: torch.dtype, layer: nn.Module, *_: Any) -> None:
    kept[:] = [weight.data for weight in layer.parameters(recurse=False)]
    for weight in layer.parameters(recurse=False):
        weight.data = weight.data.to(compute)


def _narrow(kept: list[torch.Tensor], layer: nn.Module, *_: Any) -> None:
    for weight, narrow in zip(layer.parameters(recurse=False), kept, strict=False):
        weight.data = narrow
    kept.clear()


@contextmanager
def _attending(name: Attention) -> Iterator[None]:
    if name == "native":
        yield
        return
    try:
        chosen = attention_backend(_BACKENDS[name])
        chosen.__enter__()
    except (RuntimeError, ValueError) as error:
        raise ModelUnavailable(f"attention {name!r} is not possible here: {error}") from None
    try:
        yield
    finally:
        chosen.__exit__(None, None, None)
