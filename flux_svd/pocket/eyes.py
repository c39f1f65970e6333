"""pocket-clip's picture tower as the image encoder that Stable Video Diffusion names; it knows no films.

An image encoder that only the UNet's loss trains learns colours and hardly any shapes. This one has learned from captions.
"""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from flux_svd.pocket.painter import paint_scenes
from flux_svd.pocket.train_svd_vae import HEIGHT, WIDTH
from flux_svd.pocket.world import sample_scene

INPUT = 224  # StableVideoDiffusionPipeline enlarges every picture to this, both ways
_LEAST_VARIANCE = 1e-3  # of the largest: directions that vary less are not blown up


def make_eyes(clip: Any, pictures: int = 2000) -> CLIPVisionModelWithProjection:
    """Return the picture tower of an open_clip ViT, whose embeddings (n, width) of painted pictures are white.

    The projection is replaced by one that whitens what the tower sees in `pictures` painted scenes, so that a shape, which
    moves an embedding little, counts as much as a colour, which moves it far. Nothing that is linear in open_clip's
    embedding is lost. Pictures are expected as −1..1, as open_clip's own with mean and deviation of one half.
    """
    eyes = carried_tower(clip.visual)
    rng, generator = random.Random(0), torch.Generator().manual_seed(0)
    with torch.no_grad():
        seen = torch.cat(
            [
                eyes(resized_for_encoder(paint_scenes([sample_scene(rng) for _ in range(50)], WIDTH, HEIGHT, generator)))
                .last_hidden_state[:, 0]
                for _ in range(pictures // 50)
            ]
        )  # (pictures, width)
        seen = eyes.vision_model.post_layernorm(seen)
        middle = seen.mean(dim=0)
        variances, directions = torch.linalg.eigh(torch.cov(seen.T))
        spread = variances.clamp(min=_LEAST_VARIANCE * float(variances[-1])).sqrt()
        eyes.vision_model.post_layernorm.bias -= middle
        eyes.visual_projection.weight.copy_((directions / spread).T)
    return eyes


def carried_tower(visual: Any) -> CLIPVisionModelWithProjection:
    """Return an open_clip VisionTransformer in the class of transformers, for pictures of 224 × 224, in evaluation mode.

    Patches are enlarged by area, so that a picture enlarged by 3.5 gives what the small one gave.
    """
    width, _, patch, _ = visual.conv1.weight.shape
    grid = visual.grid_size[0]
    eyes = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=width,
            intermediate_size=visual.transformer.resblocks[0].mlp.c_fc.out_features,
            num_hidden_layers=len(visual.transformer.resblocks),
            num_attention_heads=visual.transformer.resblocks[0].attn.num_heads,
            hidden_act="gelu",
            image_size=INPUT,
            patch_size=INPUT // grid,
            projection_dim=visual.proj.shape[1],
        )
    )
    share = _shares(patch, INPUT // grid)  # (28, 8)
    state: dict[str, Tensor] = {
        "vision_model.embeddings.class_embedding": visual.class_embedding,
        "vision_model.embeddings.position_embedding.weight": visual.positional_embedding,
        "vision_model.embeddings.patch_embedding.weight": torch.einsum("ocyx,Yy,Xx->ocYX", visual.conv1.weight, share, share),
        "visual_projection.weight": visual.proj.T,
    }
    names = {"pre_layrnorm": visual.ln_pre, "post_layernorm": visual.ln_post}
    for number, block in enumerate(visual.transformer.resblocks):
        layer = f"encoder.layers.{number}"
        for name, part in (("layer_norm1", block.ln_1), ("layer_norm2", block.ln_2), ("mlp.fc1", block.mlp.c_fc)):
            names[f"{layer}.{name}"] = part
        names |= {f"{layer}.mlp.fc2": block.mlp.c_proj, f"{layer}.self_attn.out_proj": block.attn.out_proj}
        for kind in ("weight", "bias"):
            thirds = getattr(block.attn, f"in_proj_{kind}").chunk(3)
            for name, third in zip("qkv", thirds, strict=True):
                state[f"vision_model.{layer}.self_attn.{name}_proj.{kind}"] = third
    for name, part in names.items():
        state |= {f"vision_model.{name}.{kind}": getattr(part, kind) for kind in ("weight", "bias")}
    eyes.load_state_dict({name: weight.detach().clone() for name, weight in state.items()})
    return eyes.eval()


def resized_for_encoder(pictures: Tensor) -> Tensor:
    """Return pictures (n, 3, h, w) at 224 × 224 as StableVideoDiffusionPipeline enlarges them, still in −1..1."""
    return nn.functional.interpolate(pictures, size=(INPUT, INPUT), mode="bicubic", align_corners=True)


def _shares(small: int, large: int) -> Tensor:
    """Return how much of each of `small` pixels in a row each of `large` ones covers: (large, small), columns sum to one."""
    edges = torch.linspace(0, small, large + 1, dtype=torch.float64)
    starts, ends = edges[:-1, None], edges[1:, None]
    cells = torch.arange(small, dtype=torch.float64)
    covered = (torch.minimum(ends, cells + 1) - torch.maximum(starts, cells)).clamp(min=0)
    return covered.float()
