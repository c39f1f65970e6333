"""The layers of pocket-svd's UNet as its training runs them: pictures pass by time, attention and convolutions suit a CPU."""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from diffusers import UNetSpatioTemporalConditionModel
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import SpatioTemporalResBlock
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from torch import Tensor

_QUIET = 0.1  # of what the last layers of new weights would say


def leave_time_out_of_pictures(unet: UNetSpatioTemporalConditionModel) -> None:
    """Let films of one frame pass only the spatial layers of `unet`, and let the others begin quietly.

    At first the layers that mix frames add a tenth of what new ones would, so that films begin as what pictures have taught.
    """
    for module in unet.modules():
        if isinstance(module, SpatioTemporalResBlock):
            module.forward = MethodType(_resnet, module)
            outs = [module.temporal_res_block.conv2]
        elif isinstance(module, TransformerSpatioTemporalModel):
            module.forward = MethodType(_transformer, module)
            outs = [module.time_pos_embed.linear_2]
            for block in module.temporal_transformer_blocks:
                outs += [block.ff_in.net[-1], block.attn1.to_out[0], block.attn2.to_out[0], block.ff.net[-1]]
        else:
            continue
        with torch.no_grad():
            for out in outs:
                out.weight.mul_(_QUIET)
                out.bias.zero_()


def _resnet(module: Any, hidden_states: Tensor, temb: Tensor | None = None, image_only_indicator: Any = None) -> Any:
    if image_only_indicator.shape[-1] == 1:
        return module.spatial_res_block(hidden_states, temb)
    return SpatioTemporalResBlock.forward(module, hidden_states, temb, image_only_indicator)


def _transformer(
    module: Any,
    hidden_states: Tensor,
    encoder_hidden_states: Tensor | None = None,
    image_only_indicator: Any = None,
    return_dict: bool = True,
) -> Any:
    if image_only_indicator.shape[-1] != 1:
        forward = TransformerSpatioTemporalModel.forward
        return forward(module, hidden_states, encoder_hidden_states, image_only_indicator, return_dict)
    _, _, height, _ = hidden_states.shape
    tokens = module.proj_in(module.norm(hidden_states).flatten(2).transpose(1, 2))  # (n, height · width, channels)
    for block in module.transformer_blocks:
        tokens = block(tokens, encoder_hidden_states=encoder_hidden_states)
    return (hidden_states + module.proj_out(tokens).transpose(1, 2).unflatten(2, (height, -1)),)


class PlainAttention:
    """Attention written out: for sequences of at most 60 faster on a CPU than the fused kernel and its gradient.

    With one key (SVD's cross-attention sees one image embedding) the softmax is one and only the value is left.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Return (batch, tokens, channels) of `hidden_states` (same shape) attending to `encoder_hidden_states`."""
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        value = attn.to_v(source)  # (batch, keys, channels)
        if source.shape[1] == 1:
            mixed = value.expand(-1, hidden_states.shape[1], -1)
        else:
            query, key, value = (
                part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
                for part in (attn.to_q(hidden_states) * attn.scale, attn.to_k(source), value)
            )  # (batch, heads, tokens, channels / heads)
            weights = (query @ key.transpose(-1, -2)).softmax(dim=-1).to(value.dtype)
            mixed = (weights @ value).transpose(1, 2).flatten(2)
        return attn.to_out[0](mixed)  # type: ignore[no-any-return]
