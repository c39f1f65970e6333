"""Train pocket-flux: flow matching on captioned pictures, transformer and both text encoders together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from flux_svd.pocket.loop import Luck
from flux_svd.pocket.painter import object_cells, paint, strokes_of
from flux_svd.pocket.world import Scene, caption, sample_scene

SIZES_TRAINED = ((128, 128), (160, 96))  # (width, height): pictures, and keyframes of films
FILM_SHARE = 0.65  # of the batches: objects are smaller on keyframes of films, and their shapes harder
PROMPT_TOKENS = 32
OBJECT_WEIGHT = 4.0  # of errors in the object's tokens: its shape is the last thing to be learned
SHIFT = 5.0  # of the noise levels, in training and in the scheduler: flat latents show their colour up to sigma 0.9


def make_transformer() -> FluxTransformer2DModel:
    """Return a new FLUX.1 transformer, 5.2 M parameters, that at first predicts zero."""
    model = FluxTransformer2DModel(
        patch_size=1,
        in_channels=32,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=48,
        num_attention_heads=4,
        joint_attention_dim=128,
        pooled_projection_dim=128,
        guidance_embeds=False,
        axes_dims_rope=(8, 20, 20),
    )
    blocks = [*model.transformer_blocks, *model.single_transformer_blocks]
    norms = [getattr(block, name) for block in blocks for name in ("norm1", "norm1_context", "norm") if hasattr(block, name)]
    for layer in [norm.linear for norm in norms] + [model.norm_out.linear, model.proj_out]:  # diffusers leaves them random
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return model


def make_text_encoders(clip_tokens: int, t5_tokens: int) -> tuple[CLIPTextModel, T5EncoderModel]:
    """Return new text encoders for vocabularies of `clip_tokens` and `t5_tokens` words."""
    clip = CLIPTextConfig(
        vocab_size=clip_tokens,
        hidden_size=128,
        intermediate_size=512,
        hidden_act="gelu",
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=PROMPT_TOKENS,
        bos_token_id=1,
        eos_token_id=clip_tokens - 1,  # 2 would switch CLIPTextModel to its old way of pooling
        pad_token_id=0,
        projection_dim=128,
    )
    t5 = T5Config(
        vocab_size=t5_tokens,
        d_model=128,
        d_kv=32,
        d_ff=256,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    return CLIPTextModel(clip), T5EncoderModel(t5)


def encoded_scenes(
    vae: AutoencoderKL, scenes: Sequence[Scene], size: tuple[int, int], luck: Luck, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the packed latents (n, tokens, 32) of painted scenes, and where they show an object (n, tokens), 0 or 1."""
    width, height = size
    strokes = strokes_of(scenes, luck.noise).to(device)
    painted = paint(strokes, width, height)
    cells = object_cells(painted, strokes.background, 16).flatten(1).float()
    with torch.autocast(device.type, torch.bfloat16):
        latents = vae.encode(painted).latent_dist.mode().float()
    latents = (latents - vae.config.shift_factor) * vae.config.scaling_factor
    return FluxPipeline._pack_latents(latents, len(scenes), 8, height // 8, width // 8), cells


class PicturePool:
    """The packed latents of painted scenes of one size, kept to be used several times while new ones replace the oldest."""

    def __init__(self, vae: AutoencoderKL, size: tuple[int, int], capacity: int, device: torch.device) -> None:
        self.vae, self.device = vae, device
        self.width, self.height = size
        self.latents = torch.empty(capacity, (self.width // 16) * (self.height // 16), 32)
        self.cells = torch.empty(self.latents.shape[:2])  # 1 where a token shows the object
        self.scenes: list[Scene] = []
        self.next = 0

    @torch.no_grad()
    def add(self, pictures: int, luck: Luck) -> None:
        """Paint and encode `pictures` new ones."""
        scenes = [sample_scene(luck.words) for _ in range(pictures)]
        packed, cells = encoded_scenes(self.vae, scenes, (self.width, self.height), luck, self.device)
        for scene, one, covered in zip(scenes, packed.cpu(), cells.cpu(), strict=True):
            self.latents[self.next], self.cells[self.next] = one, covered
            if len(self.scenes) < len(self.latents):
                self.scenes.append(scene)
            else:
                self.scenes[self.next] = scene
            self.next = (self.next + 1) % len(self.latents)

    def draw(self, pictures: int, luck: Luck) -> tuple[Tensor, Tensor, list[Scene]]:
        """Return packed latents (pictures, tokens, 32), where the object is (pictures, tokens), 0 or 1, and the scenes."""
        numbers = [luck.words.randrange(len(self.scenes)) for _ in range(pictures)]
        scenes = [self.scenes[number] for number in numbers]
        return self.latents[numbers].to(self.device), self.cells[numbers].to(self.device), scenes


class FluxTask:
    """Rectified flow with FLUX's direction of time (0 is data, 1 is noise); a tenth of the captions is empty."""

    name = "flux"
    learning_rate = 6e-4
    average = 0.995
    matrices: Sequence[nn.Parameter] = ()

    def __init__(self, pipeline: FluxPipeline, device: torch.device, *, batch: int = 64, capacity: int = 8192) -> None:
        self.pipeline, self.device, self.batch = pipeline, device, batch
        self.vae = pipeline.vae.eval().requires_grad_(False).to(device)
        self.pools = [PicturePool(self.vae, size, capacity, device) for size in SIZES_TRAINED]
        self.modules: dict[str, nn.Module] = {
            "transformer": pipeline.transformer.train(),
            "text_encoder": pipeline.text_encoder.train(),
            "text_encoder_2": pipeline.text_encoder_2.train(),
        }

    def loss(self, luck: Luck, done: float) -> Tensor:
        """Return the squared error of the velocity on one batch of one size."""
        for pool in self.pools:
            while len(pool.scenes) < len(pool.latents):
                pool.add(min(32, len(pool.latents) - len(pool.scenes)), luck)
        pool = self.pools[luck.words.random() < FILM_SHARE]
        pool.add(4, luck)
        latents, cells, scenes = pool.draw(self.batch, luck)
        prompts = ["" if luck.words.random() < 0.1 else caption(scene, luck.words) for scene in scenes]
        sigma = sample_sigmas(self.batch, luck.noise).to(self.device).view(-1, 1, 1)
        noise = torch.randn(latents.shape, generator=luck.noise).to(self.device)
        velocity = predict_velocity(
            self.pipeline, (1 - sigma) * latents + sigma * noise, sigma, prompts, (pool.width, pool.height)
        )
        weight = 1 + (OBJECT_WEIGHT - 1) * cells.unsqueeze(2)  # (n, tokens, 1)
        loss: Tensor = (weight * (velocity - (noise - latents)).pow(2)).mean() / weight.mean()
        return loss

    def save(self, folder: Path) -> None:
        """Write a folder for FluxPipeline.from_pretrained, float16."""
        self.pipeline.to(dtype=torch.float16)
        self.pipeline.save_pretrained(folder)
        self.pipeline.to(dtype=torch.float32)


def predict_velocity(pipeline: Any, noisy: Tensor, sigma: Tensor, prompts: list[str], size: tuple[int, int]) -> Tensor:
    """Return the velocity (n, tokens, 32) of packed latents at the noise levels `sigma` (n, 1, 1); `size` is in pixels."""
    device = noisy.device
    width, height = size
    with torch.autocast(device.type, torch.bfloat16):
        embeds = encoded_words(pipeline, prompts)
        pooled = pooled_words(pipeline, prompts)
        velocity: Tensor = pipeline.transformer(
            hidden_states=noisy,
            timestep=sigma.flatten(),
            guidance=None,
            pooled_projections=pooled,
            encoder_hidden_states=embeds,
            txt_ids=torch.zeros(PROMPT_TOKENS, 3, device=device),
            img_ids=FluxPipeline._prepare_latent_image_ids(1, height // 16, width // 16, device, torch.float32),
            return_dict=False,
        )[0]
    return velocity.float()


def encoded_words(pipeline: Any, prompts: list[str]) -> Tensor:
    """Return what the attention reads of the prompts, (n, 32, 128)."""
    embeds: Tensor = pipeline.text_encoder_2(_tokens(pipeline.tokenizer_2, prompts, pipeline.text_encoder_2.device))[0]
    return embeds


def pooled_words(pipeline: Any, prompts: list[str]) -> Tensor:
    """Return what the modulation reads of the prompts, (n, 128)."""
    pooled: Tensor = pipeline.text_encoder(_tokens(pipeline.tokenizer, prompts, pipeline.text_encoder.device)).pooler_output
    return pooled


def _tokens(tokenizer: Any, prompts: list[str], device: torch.device) -> Tensor:
    batch = tokenizer(prompts, padding="max_length", max_length=PROMPT_TOKENS, truncation=True, return_tensors="pt")
    ids: Tensor = batch.input_ids
    return ids.to(device)


def make_pipeline(start: FluxPipeline) -> FluxPipeline:
    """Return an untrained pipeline with the tokenizers and the autoencoder of `start`."""
    clip, t5 = make_text_encoders(len(start.tokenizer), len(start.tokenizer_2))
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=SHIFT, use_dynamic_shifting=False),
        vae=start.vae,
        text_encoder=clip,
        tokenizer=start.tokenizer,
        text_encoder_2=t5,
        tokenizer_2=start.tokenizer_2,
        transformer=make_transformer(),
    )


def sample_sigmas(n: int, generator: torch.Generator) -> Tensor:
    """Return noise levels (n,) in 0..1: logit-normal, a quarter uniform, shifted by 5, of some by 3, where shapes form."""
    sigma = torch.sigmoid(torch.randn(n, generator=generator) + 0.2)
    even = torch.rand(n, generator=generator)
    sigma = torch.where(torch.rand(n, generator=generator) < 0.25, even, sigma)
    shift = torch.where(torch.rand(n, generator=generator) < 0.3, 3.0, SHIFT)
    return shift * sigma / (1 + (shift - 1) * sigma)
