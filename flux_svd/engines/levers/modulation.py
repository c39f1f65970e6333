"""FLUX.1's adaptive layer norms computed once for all steps, so that their weights need not be where the steps are computed.

Each block scales and shifts by a linear layer of one vector, which holds nothing but step, guidance and pooled prompt: with the
published sizes 3.2 of the transformer's 11.9 billion parameters see nothing of the picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from flux_svd.errors import InvalidRequest

_NORMS = ("norm1", "norm1_context", "norm")  # of FluxTransformerBlock and FluxSingleTransformerBlock, beside the last, norm_out


class FoldedModulation:
    """Stands in for the linear layers of every adaptive norm of a FLUX.1 transformer.

    Saves 6.5 of 23.8 GB at bf16 on the device (3,247,448,064 parameters, counted); costs them in host memory, one pass of each
    over the device per prompt, steps and guidance, and about 2 MB a step for what was computed. Bit-equal: the same products of
    the same batch. Refuses adapters on these norms, before and after.
    """

    def __init__(self, transformer: Any, device: torch.device) -> None:
        """Take the layers out; nothing can be drawn before `prepare` and `select`.

        Raises:
            InvalidRequest: an adapter sits on one of them.
        """
        self._transformer, self._device = transformer, device
        norms = [
            getattr(block, name)
            for block in (*transformer.transformer_blocks, *transformer.single_transformer_blocks)
            for name in _NORMS
            if hasattr(block, name)
        ]
        norms.append(transformer.norm_out)
        for norm in norms:
            if type(norm.linear) is not nn.Linear:
                raise InvalidRequest("adapters", type(norm.linear).__name__, "none on the norms while modulation is folded")
        self._masters: list[nn.Linear] = [norm.linear.to("cpu") for norm in norms]
        self._stand_ins = [_Computed() for _ in norms]
        for norm, stand_in in zip(norms, self._stand_ins, strict=True):
            norm.linear = stand_in

    def prepare(self, timesteps: Tensor, guidance: Sequence[float], pooled: Sequence[Tensor], dtype: torch.dtype) -> None:
        """Compute what every step will ask for.

        Args:
            timesteps: (steps,), as the scheduler gives them, 0 … 1000.
            guidance: embedded guidance of each step; not read where the model has none.
            pooled: (1, features) of each branch: the prompt, and the negative prompt where there is one.
        """
        steps = [
            self._condition(timestep, scale, vector, dtype)
            for timestep, scale in zip(timesteps, guidance, strict=True)
            for vector in pooled
        ]
        self._branches = len(pooled)
        for master, stand_in in zip(self._masters, self._stand_ins, strict=True):
            # A copy also where it stays: masters may lie in the mapped file, at odd addresses, where CPU kernels round otherwise.
            weight, bias = (value.to(self._device, copy=True) for value in (master.weight, master.bias))
            stand_in.values = [functional.linear(functional.silu(step), weight, bias) for step in steps]  # each (1, n · features)

    def select(self, step: int, branch: int) -> None:
        """Let the next call of the transformer be this step and branch."""
        for stand_in in self._stand_ins:
            stand_in.at = step * self._branches + branch

    def forget(self) -> None:
        """Drop what was computed."""
        for stand_in in self._stand_ins:
            stand_in.values, stand_in.at = [], None

    def _condition(self, timestep: Tensor, scale: float, pooled: Tensor, dtype: torch.dtype) -> Tensor:
        """Return (1, features): the vector that `FluxTransformer2DModel.forward` of diffusers 0.42.1 hands to its norms."""
        moment = timestep.expand(1).to(dtype) / 1000 * 1000  # so the pipeline and the transformer round it
        scales = [torch.full([1], scale, device=self._device, dtype=torch.float32).to(dtype) * 1000]
        embedded: Tensor = self._transformer.time_text_embed(
            moment, *(scales if self._transformer.config.guidance_embeds else []), pooled
        )
        return embedded


class _Computed(nn.Module):
    """A linear layer whose answers are known."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[Tensor] = []
        self.at: int | None = None

    def forward(self, condition: Tensor) -> Tensor:
        if self.at is None:
            raise RuntimeError("modulation is folded: prepare and select come before the transformer is called")
        return self.values[self.at]


def refuse_norm_adapters(keys: Iterable[str]) -> None:
    """Check an adapter's weights, by diffusers' names, before they are put on a transformer with folded modulation.

    Raises:
        InvalidRequest: one of them belongs to an adaptive norm.
    """
    for key in keys:
        if any(part in (*_NORMS, "norm_out") for part in key.split(".")):
            raise InvalidRequest("adapters", key, "none on the norms while modulation is folded; plan without it")
