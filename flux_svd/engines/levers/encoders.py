"""Text encoders layer by layer: which layers they have, and FLUX.2's without what nobody reads of them."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from flux_svd.errors import ModelUnavailable


def cut_text_encoder(encoder: Any, layers: int) -> Any:
    """Return the language model inside `encoder` with its first `layers` layers, changed in place.

    Saves the layers behind them, the head that scores every word of the vocabulary, and Mistral's vision tower: 8.04 → 6.23 GB
    of Qwen3-4B, 16.38 → 11.66 GB of Qwen3-8B, 48.02 → 34.69 GB of Mistral Small at bf16 (counted). Hidden states stay
    bit-equal: the final norm, which transformers puts on the last one it returns, is taken out, since layer `layers` was not
    the last before. Refuses to write text: captions can't be made longer with it.

    Raises:
        ModelUnavailable: there are fewer layers than the pipeline reads.
    """
    language = encoder.model.language_model if hasattr(encoder.model, "language_model") else encoder.model
    if len(language.layers) < layers:
        raise ModelUnavailable(
            f"the text encoder has {len(language.layers)} layers and {layers} are read; download the model again"
        )
    language.config = cut_config(language.config, layers)
    language.layers = language.layers[:layers]
    language.norm = nn.Identity()
    return language


def layers_of(encoder: Any) -> list[nn.Module]:
    """Return the layers of T5 or of a cut language model, in the order they run; none of others, which are small."""
    if hasattr(encoder, "layers"):
        return list(encoder.layers)
    return list(encoder.encoder.block) if hasattr(encoder, "encoder") and hasattr(encoder.encoder, "block") else []


def cut_config(config: Any, layers: int) -> Any:
    """Return the encoder's configuration with fewer layers: read with it, the others never leave the file."""
    shorter = copy.deepcopy(config)
    text = getattr(shorter, "text_config", shorter)
    if text.num_hidden_layers > layers:
        text.num_hidden_layers = layers
        if getattr(text, "layer_types", None) is not None:
            text.layer_types = text.layer_types[:layers]
    return shorter
