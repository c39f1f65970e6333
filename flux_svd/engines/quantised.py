"""Transformers whose weights a library holds in fewer bits: int8 by torchao, nf4 by bitsandbytes, a user's own .gguf file.

They are read by diffusers' own loaders. int8 and GGUF ran on the processor with tiny random transformers of the real classes;
nf4 needs a GPU and has not run at all.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel

from flux_svd.engines.placement import DTYPES, check_complete, unreadable_weights
from flux_svd.engines.single_file import fill
from flux_svd.errors import ModelUnavailable
from flux_svd.recipe import Precision
from flux_svd.storing import Stored, install_command, installed_kinds


def read_quantised(folder: Path, kind: Stored, precision: Precision) -> Any:
    """Return the transformer of the model in `folder` with its linear layers' weights in int8 or nf4; computes in `precision`.

    nf4 is made on the GPU while it is read, int8 in host memory.

    Raises:
        ModelUnavailable: the library is not installed, finds no GPU, or a file is missing or damaged.
    """
    _need(kind)
    name = json.loads((folder / "model_index.json").read_text("utf-8"))["transformer"][1]
    compute = DTYPES[precision]
    with unreadable_weights(folder / "transformer"):
        try:
            model = getattr(importlib.import_module("diffusers"), name).from_pretrained(
                folder / "transformer", dtype=compute, use_safetensors=True, local_files_only=True,
                quantization_config=_int8() if kind == "int8" else _nf4(compute),
            )  # fmt: skip
        except (RuntimeError, ImportError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise ModelUnavailable(f"weights in {kind} are not possible here: {str(error).splitlines()[0]}") from error
    check_complete(model, folder / "transformer")
    return model.eval()


def read_gguf(file: Path, folder: Path, precision: Precision) -> FluxTransformer2DModel:
    """Return the FLUX.1 transformer in a .gguf file with the settings of the model in `folder`; layers widen while they compute.

    Raises:
        ModelUnavailable: the library is not installed, the file cannot be read, or does not hold exactly such a transformer.
    """
    _need("gguf")
    from diffusers import GGUFQuantizationConfig
    from diffusers.models.model_loading_utils import load_gguf_checkpoint
    from diffusers.quantizers.gguf.utils import GGUFParameter, dequantize_gguf_tensor

    compute = DTYPES[precision]
    try:
        read = load_gguf_checkpoint(str(file))
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise ModelUnavailable(f"{file} cannot be read: {error}") from error

    def widened() -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in read.items():
            is_matrix = isinstance(tensor, GGUFParameter) and len(tensor.quant_shape) == 2
            # Biases and norms are read by their layers as they are.
            yield name, tensor if is_matrix or not isinstance(tensor, GGUFParameter) else dequantize_gguf_tensor(tensor)

    def as_kept(tensor: torch.Tensor) -> torch.Tensor:
        return tensor if hasattr(tensor, "quant_shape") else tensor.to(compute)

    found = fill(file, folder, widened(), as_kept)[1]
    return FluxTransformer2DModel.from_single_file(
        found, config=str(folder), subfolder="transformer", dtype=compute, local_files_only=True,
        quantization_config=GGUFQuantizationConfig(compute_dtype=compute),
    ).eval()  # fmt: skip


def _int8() -> Any:
    from diffusers import TorchAoConfig
    from torchao.quantization import Int8WeightOnlyConfig

    return TorchAoConfig(Int8WeightOnlyConfig())


def _nf4(compute: torch.dtype) -> Any:
    from diffusers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute)


def _need(kind: Stored) -> None:
    if kind not in installed_kinds():
        raise ModelUnavailable(f"weights in {kind} need an optional library that is not installed. Run: {install_command(kind)}")
