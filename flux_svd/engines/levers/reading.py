"""Reads one part of a model's folder, by the class its index names."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from flux_svd.engines.levers.encoders import cut_config
from flux_svd.engines.placement import DTYPES, check_complete, unreadable_weights
from flux_svd.errors import ModelUnavailable
from flux_svd.recipe import Precision

_LIBRARIES = ("diffusers", "transformers")  # an index names classes of these two alone; no code comes from a folder


def read_part(folder: Path, part: str, precision: Precision, layers: int | None = None) -> Any:
    """Return `part` of the model in `folder`, in host memory: safetensors only, no network.

    Args:
        layers: of a language model, read only so many from the first.

    Raises:
        ModelUnavailable: a file of it is missing or damaged, or its class is not one of diffusers or transformers.
    """
    library, name = json.loads((folder / "model_index.json").read_text("utf-8"))[part]
    if library not in _LIBRARIES:
        raise ModelUnavailable(f"{folder / part} is a {library}.{name}, and only {' and '.join(_LIBRARIES)} are loaded.")
    kind = getattr(importlib.import_module(library), name)
    with unreadable_weights(folder / part):
        cut = {}
        if layers is not None:
            cut["config"] = cut_config(AutoConfig.from_pretrained(folder / part, local_files_only=True), layers)
        model = kind.from_pretrained(folder / part, dtype=DTYPES[precision], use_safetensors=True, local_files_only=True, **cut)
    check_complete(model, folder / part)
    return model.eval()
