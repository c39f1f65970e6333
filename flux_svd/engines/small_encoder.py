"""A small T5 with a projection, which stands in for the T5-XXL of FLUX.1, from a folder of the user's own.

As published with "Scaling Down Text Encoder of Text-to-Image Diffusion Models" (arXiv:2503.19897; LifuWang/DistillT5: T5-base and
two linear layers to 4096). Ran here with tiny random weights in that layout only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel
from transformers.modeling_outputs import BaseModelOutput

from flux_svd.errors import ModelUnavailable


class ProjectedT5(T5EncoderModel):  # type: ignore[misc]
    """A T5 encoder whose answer two linear layers bring to the width that the transformer reads."""

    def __init__(self, config: T5Config, width: int, features: int) -> None:
        super().__init__(config)
        self.final_projection = nn.Sequential(
            nn.Linear(config.d_model, width, bias=False), nn.ReLU(),
            nn.Identity(),  # dropout while it was trained: the weights are numbered so
            nn.Linear(width, features, bias=False),
        )  # fmt: skip

    def forward(self, input_ids: Tensor, **_: Any) -> BaseModelOutput:
        """Return (batch, tokens, features) as `last_hidden_state`."""
        return BaseModelOutput(self.final_projection(super().forward(input_ids)[0]))


def read_small_encoder(file: Path, folder: Path, dtype: torch.dtype) -> ProjectedT5:
    """Return the encoder whose weights are in `file`, and its settings beside it, for the model in `folder`.

    Raises:
        ModelUnavailable: a file cannot be read, or they are no such encoder, or of another width than the model reads.
    """
    try:
        config = T5Config(**json.loads((file.parent / "config.json").read_text("utf-8")))
        reads = json.loads((folder / "transformer" / "config.json").read_text("utf-8"))["joint_attention_dim"]
        weights = load_file(file)
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise ModelUnavailable(f"{file.parent} cannot be read as a T5 encoder: {error}") from error
    if any(name.startswith("encoder.encoder.") for name in weights):  # published as an encoder within another
        weights = {name.removeprefix("encoder."): tensor for name, tensor in weights.items()}
    last = weights.get("final_projection.3.weight")
    if last is None or last.ndim != 2 or last.shape[0] != reads:
        raise ModelUnavailable(f"{file.parent} has no projection to the {reads} features that {folder.name} reads")
    weights = {name: tensor.to(dtype, copy=True) for name, tensor in weights.items()}
    shared = "shared.weight" if "shared.weight" in weights else "encoder.embed_tokens.weight"
    weights |= dict.fromkeys(("shared.weight", "encoder.embed_tokens.weight"), weights.get(shared, last))  # one table, two names
    with torch.device("meta"):
        model = ProjectedT5(config, last.shape[1], reads)
    try:
        model.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as error:
        raise ModelUnavailable(f"{file.parent} is no such encoder: {str(error).splitlines()[-1].strip()}") from None
    model.encoder.embed_tokens.weight = model.shared.weight
    return model.eval().requires_grad_(False)  # type: ignore[no-any-return]
