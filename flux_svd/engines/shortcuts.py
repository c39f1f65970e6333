"""Ways to compute a transformer faster that change pixels: only where a recipe asks for them.

Run on CPU with tiny random transformers of the real classes; what they gain on a GPU is not measured yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from diffusers import FirstBlockCacheConfig
from diffusers.models.attention_dispatch import AttentionBackendName, attention_backend

from flux_svd.engines.fp8 import rounding_activations
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


@contextmanager
def shortcuts(transformer: Any, recipe: ImageRecipe) -> Iterator[None]:
    """Let the transformer compute as the recipe asks, and as before after that.

    Step cache: where the first block's answer changes by less than the threshold from one step to the next, the blocks behind
    it are not computed and their last answer is taken (First Block Cache of ParaAttention, through diffusers; FLUX.1 only: with
    FLUX.2 it fails in diffusers 0.42.1). Compiling: each kind of block once, on its first use in a process; where weights
    are kept in fp8, activations are then rounded to it too, which costs hardly any time as a part of what makes them.

    Raises:
        ModelUnavailable: the library of an attention backend is not installed.
    """
    if recipe.step_cache:
        transformer.enable_cache(FirstBlockCacheConfig(threshold=recipe.step_cache))
    if recipe.compiled:
        transformer.compile_repeated_blocks(fullgraph=True)
    try:
        with _attending(recipe.attention), rounding_activations(transformer) if recipe.compiled else nullcontext():
            yield
    finally:
        if recipe.step_cache:
            transformer.disable_cache()
        if recipe.compiled:
            for block in transformer.modules():
                block._compiled_call_impl = None  # what `compile` sets; the compiled code itself stays for the next use


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
