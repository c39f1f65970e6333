"""Linear layers whose weights are kept in float8, a scale for each row. Knows no recipe.

Run on CPU with tiny transformers of the real classes, the products of torch's fp8 kernel included; not yet run on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from flux_svd.errors import InvalidRequest

_FP8 = torch.float8_e4m3fn
_LARGEST = torch.finfo(_FP8).max  # 448
_SMALLEST_SCALE = 1e-12  # of a row of zeros
_SIDE = 16  # both sides of a matrix must divide by it for torch's kernel (`_scaled_mm`, torch 2.8 to 2.14)
_KERNEL_SINCE = (8, 9)  # compute capability, Ada: the first whose units multiply fp8
_ROWS_AT_ONCE = 1024  # so that narrowing a layer takes little memory beside it


class Fp8Linear(nn.Module):
    """Stands in for a linear layer: a byte a weight, and a float32 scale for each row of the matrix.

    It multiplies in one of two ways, which differ by how activations are rounded: by its weights widened to the activations'
    own type, or, inside `rounding_activations`, by fp8 activations with a scale for each token. The second is the same
    arithmetic on every device: a GPU with units for fp8 uses them, others multiply the same rounded numbers in their own type.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        parts = [_narrowed(layer.weight.data[at : at + _ROWS_AT_ONCE]) for at in range(0, layer.out_features, _ROWS_AT_ONCE)]
        self.weight = nn.Parameter(torch.cat([narrow for narrow, _ in parts]), requires_grad=False)  # (out, in)
        self.scale = nn.Parameter(torch.cat([scale for _, scale in parts]), requires_grad=False)  # (out, 1)
        self.bias = layer.bias
        self.rounds_activations = self.has_kernel = False

    def forward(self, values: Tensor) -> Tensor:
        """Return (…, out) of `values` (…, in), in their type."""
        if not self.rounds_activations:
            return functional.linear(values, self.weight.to(values.dtype).mul_(self.scale), self.bias)
        tokens = values.reshape(-1, self.in_features)
        rounded, scale = _narrowed(tokens)
        multiply = _by_kernel if self.has_kernel and values.dtype == torch.bfloat16 else _imitated
        made = multiply(rounded, scale, self.weight, self.scale, values.dtype).reshape(*values.shape[:-1], self.out_features)
        return made if self.bias is None else made + self.bias

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def store_as_fp8(transformer: Any) -> None:
    """Keep the linear layers of the transformer's blocks as `Fp8Linear`, except those of norms.

    Saves half of their bytes at bf16; FLUX.1's AdaLN (3.2 of 11.9 billion parameters) stays, unless it is folded. Changes every
    picture: with normal weights each layer's are off by 2.6 % (root mean square), at any size of them, where without scales it is
    28 % at a deviation of 0.002. What is outside the blocks, 5 % of the weights at most, stays: every block sees what embeddings
    make of the picture, and a tiny FLUX.1 was off by 2.2 % with them in fp8 and by 0.5 % without. Cannot be undone.

    Raises:
        InvalidRequest: an adapter is on one of them, whose small matrices would lose what they were trained for.
    """
    for block in _blocks(transformer):
        for name, layer in list(block.named_modules()):
            if hasattr(layer, "lora_A"):
                raise InvalidRequest("adapters", name, "none while weights are kept in fp8; plan without it")
            if type(layer) is nn.Linear and "norm" not in name:
                parent, _, own = name.rpartition(".")
                setattr(block.get_submodule(parent), own, Fp8Linear(layer))


@contextmanager
def rounding_activations(transformer: Any) -> Iterator[None]:
    """Let layers whose weights are in fp8 round activations to it too, and multiply in it where the device can."""
    layers = [layer for block in _blocks(transformer) for layer in block.modules() if isinstance(layer, Fp8Linear)]
    for layer in layers:
        layer.rounds_activations = True
        layer.has_kernel = has_fp8_units(layer.weight.device) and layer.in_features % _SIDE == layer.out_features % _SIDE == 0
    try:
        yield
    finally:
        for layer in layers:
            layer.rounds_activations = layer.has_kernel = False


def _blocks(transformer: Any) -> list[nn.Module]:
    return [*transformer.transformer_blocks, *transformer.single_transformer_blocks]


def has_fp8_units(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _KERNEL_SINCE


def _narrowed(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows (n, k) as fp8, and the scale (n, 1) of each, float32, by which its largest number is 448."""
    scale = (rows.abs().amax(1, keepdim=True).float() / _LARGEST).clamp(min=_SMALLEST_SCALE)
    return (rows / scale).to(_FP8), scale


def _by_kernel(rows: Tensor, row_scale: Tensor, weight: Tensor, weight_scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (n, out): the kernel adds up in float32, scales by token and row, and writes bfloat16, the one type it can there."""
    made: Tensor = torch._scaled_mm(rows, weight.t(), scale_a=row_scale, scale_b=weight_scale.t(), out_dtype=dtype)
    return made


def _imitated(rows: Tensor, row_scale: Tensor, weight: Tensor, weight_scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the same to within the type's rounding: bfloat16 and float32 hold every number of fp8 exactly."""
    return (functional.linear(rows.to(dtype), weight.to(dtype)) * row_scale * weight_scale.t()).to(dtype)
