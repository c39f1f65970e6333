"""Train pocket-klein: flow matching on captioned pictures and on wishes about one or two pictures, with the text encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from flux_svd.pocket.edits import sample_edit
from flux_svd.pocket.loop import Luck
from flux_svd.pocket.painter import object_cells, paint, strokes_of
from flux_svd.pocket.train_flux import OBJECT_WEIGHT, SIZES_TRAINED
from flux_svd.pocket.world import EDIT_WORDS, VOCABULARY, Scene, caption, sample_scene

PROMPT_TOKENS = 32
TEXT_LAYERS = (1, 2, 3)  # hidden states that are read, of four layers: the large ones read 9, 18, 27 of 36
# Flux2KleinPipeline shifts its noise levels by exp(μ), with μ of 64 tokens and 4 to 8 steps 1.95 to 1.92.
SHIFT = 6.9
BATCHES = {0: 64, 1: 40, 2: 28}  # pictures of a batch by how many references each has: about equally long to compute
CHANCES = {0: 0.45, 1: 0.4, 2: 0.15}
_SPECIALS = ("<pad>", "<unk>", "<|im_start|>", "<|im_end|>")
_CHAT = "{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>{% endfor %}"


def make_transformer() -> Flux2Transformer2DModel:
    """Return a new FLUX.2 transformer, 3.1 M parameters, that at first predicts zero."""
    model = Flux2Transformer2DModel(
        in_channels=32,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=40,
        num_attention_heads=4,
        joint_attention_dim=96 * len(TEXT_LAYERS),
        timestep_guidance_channels=128,
        axes_dims_rope=(8, 12, 12, 8),
        guidance_embeds=False,
    )
    shared = model.double_stream_modulation_img, model.double_stream_modulation_txt, model.single_stream_modulation
    for layer in [*(part.linear for part in shared), model.norm_out.linear, model.proj_out]:  # diffusers leaves them random
        nn.init.zeros_(layer.weight)
    return model


def make_text_encoder(words: int) -> Qwen3ForCausalLM:
    """Return a new text encoder for a vocabulary of `words`."""
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=words,
            hidden_size=96,
            intermediate_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=24,
            max_position_embeddings=128,
            rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=3,
        )
    )


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of one token a word, with the chat template that the pipeline asks for."""
    words = [*_SPECIALS, *sorted(VOCABULARY | EDIT_WORDS)]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        chat_template=_CHAT,
        model_max_length=PROMPT_TOKENS,
    )


def make_vae(pictures: AutoencoderKL) -> AutoencoderKLFlux2:
    """Return pocket-flux's trained autoencoder as FLUX.2's class; the statistics of its latents are not yet set."""
    names = ("block_out_channels", "down_block_types", "up_block_types", "layers_per_block", "latent_channels")
    config = {name: getattr(pictures.config, name) for name in names}
    vae = AutoencoderKLFlux2(**config, norm_num_groups=1, sample_size=128, use_quant_conv=False, use_post_quant_conv=False)
    vae.load_state_dict(pictures.state_dict() | {f"bn.{name}": value for name, value in vae.bn.state_dict().items()})
    return vae


@torch.no_grad()
def measure_statistics(vae: AutoencoderKLFlux2, luck: Luck, pictures: int = 256) -> None:
    """Set the mean and variance of the 32 channels of packed latents, by which the pipeline scales them."""
    parts = []
    for _ in range(pictures // 32):
        for width, height in SIZES_TRAINED:
            strokes = strokes_of([sample_scene(luck.words) for _ in range(32)], luck.noise)
            latents = vae.encode(paint(strokes, width, height)).latent_dist.mode()
            parts.append(Flux2KleinPipeline._patchify_latents(latents).transpose(0, 1).flatten(1))  # (32, pictures · tokens)
    every = torch.cat(parts, dim=1)
    vae.bn.running_mean.copy_(every.mean(dim=1))
    vae.bn.running_var.copy_(every.var(dim=1))


def make_pipeline(pictures: AutoencoderKL) -> Flux2KleinPipeline:
    """Return an untrained pipeline with the autoencoder of pocket-flux."""
    tokenizer = make_tokenizer()
    vae = make_vae(pictures)
    measure_statistics(vae, Luck.from_seed(0))
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),  # as the published ones
        vae=vae,
        text_encoder=make_text_encoder(len(tokenizer)),
        tokenizer=tokenizer,
        transformer=make_transformer(),
        is_distilled=False,
    )


@dataclass(frozen=True)
class Wish:
    """One thing to learn: words and the scenes of the pictures; `scene` for a caption that is written anew each time."""

    words: str
    scene: Scene | None


class WishPool:
    """The packed latents of targets and their references at one size, kept to be used several times."""

    def __init__(self, pipeline: Any, size: tuple[int, int], references: int, capacity: int, device: torch.device) -> None:
        self.pipeline, self.references, self.device = pipeline, references, device
        self.width, self.height = size
        tokens = (self.width // 16) * (self.height // 16)
        self.latents = torch.empty(capacity, 1 + references, tokens, 32)  # the target first
        self.cells = torch.empty(capacity, tokens)  # 1 where a token of the target shows the object
        self.wishes: list[Wish] = []
        self.next = 0

    @torch.no_grad()
    def add(self, wishes: int, luck: Luck) -> None:
        """Paint and encode `wishes` new ones."""
        new: list[Wish] = []
        scenes: list[Scene] = []
        for _ in range(wishes):
            if self.references:
                edit = sample_edit(luck.words, self.references)
                new.append(Wish(edit.words, None))
                scenes += [edit.target, *edit.references]
            else:
                scenes.append(scene := sample_scene(luck.words))
                new.append(Wish("", scene))
        strokes = strokes_of(scenes, luck.noise).to(self.device)
        painted = paint(strokes, self.width, self.height)
        each = 1 + self.references
        covered = object_cells(painted[::each], strokes.background[::each], 16).flatten(1).float().cpu()
        with torch.autocast(self.device.type, torch.bfloat16):
            latents = self.pipeline._encode_vae_image(painted, None).float()  # (pictures, 32, h/16, w/16)
        packed = self.pipeline._pack_latents(latents).unflatten(0, (wishes, each)).cpu()
        for wish, one, cells in zip(new, packed, covered, strict=True):
            self.latents[self.next], self.cells[self.next] = one, cells
            if len(self.wishes) < len(self.latents):
                self.wishes.append(wish)
            else:
                self.wishes[self.next] = wish
            self.next = (self.next + 1) % len(self.latents)

    def draw(self, pictures: int, luck: Luck) -> tuple[Tensor, Tensor, list[str]]:
        """Return packed latents (pictures, 1 + references, tokens, 32), object cells (pictures, tokens), and the words."""
        numbers = [luck.words.randrange(len(self.wishes)) for _ in range(pictures)]
        chosen = [self.wishes[number] for number in numbers]
        words = [wish.words if wish.scene is None else caption(wish.scene, luck.words) for wish in chosen]
        return self.latents[numbers].to(self.device), self.cells[numbers].to(self.device), words


class KleinTask:
    """Rectified flow with FLUX's direction of time (0 is data, 1 is noise); a tenth of the words is empty."""

    name = "klein"
    learning_rate = 8e-4
    average = 0.995

    def __init__(self, pipeline: Flux2KleinPipeline, device: torch.device, *, capacity: int = 2048) -> None:
        self.pipeline, self.device = pipeline, device
        pipeline.vae.eval().requires_grad_(False).to(device)
        self.pools = {
            references: [WishPool(pipeline, size, references, capacity, device) for size in SIZES_TRAINED]
            for references in BATCHES
        }
        self.modules: dict[str, nn.Module] = {
            "transformer": pipeline.transformer.train(),
            "text_encoder": pipeline.text_encoder.train(),
        }

    def loss(self, luck: Luck, done: float) -> Tensor:
        """Return the squared error of the velocity on one batch of one size and one number of references."""
        references = luck.words.choices(list(CHANCES), list(CHANCES.values()))[0]
        pool = luck.words.choice(self.pools[references])
        while len(pool.wishes) < len(pool.latents):
            pool.add(min(32, len(pool.latents) - len(pool.wishes)), luck)
        pool.add(4, luck)
        n = BATCHES[references]
        latents, cells, words = pool.draw(n, luck)
        words = ["" if luck.words.random() < 0.1 else some for some in words]
        clean, shown = latents[:, 0], latents[:, 1:]
        sigma = sample_sigmas(n, luck.noise).to(self.device).view(-1, 1, 1)
        noise = torch.randn(clean.shape, generator=luck.noise).to(self.device)
        grid = torch.empty(1, 1, pool.height // 16, pool.width // 16)
        ids = self.pipeline._prepare_latent_ids(grid)
        if references:
            ids = torch.cat([ids, self.pipeline._prepare_image_ids([grid] * references)], dim=1)
        with torch.autocast(self.device.type, torch.bfloat16):
            embeds, text_ids = self.pipeline.encode_prompt(
                words, self.device, max_sequence_length=PROMPT_TOKENS, text_encoder_out_layers=TEXT_LAYERS
            )
            velocity = self.pipeline.transformer(
                hidden_states=torch.cat([(1 - sigma) * clean + sigma * noise, shown.flatten(1, 2)], dim=1),
                timestep=sigma.flatten(),
                guidance=None,
                encoder_hidden_states=embeds,
                txt_ids=text_ids,
                img_ids=ids.expand(n, -1, -1).to(self.device),
                return_dict=False,
            )[0][:, : clean.shape[1]].float()
        weight = 1 + (OBJECT_WEIGHT - 1) * cells.unsqueeze(2)  # (n, tokens, 1)
        loss: Tensor = (weight * (velocity - (noise - clean)).pow(2)).mean() / weight.mean()
        return loss

    def save(self, folder: Path) -> None:
        """Write a folder for Flux2KleinPipeline.from_pretrained, float16."""
        self.pipeline.to(dtype=torch.float16)
        self.pipeline.save_pretrained(folder)
        self.pipeline.to(dtype=torch.float32)


def sample_sigmas(n: int, generator: torch.Generator) -> Tensor:
    """Return noise levels (n,) in 0..1: logit-normal, a quarter uniform, shifted as the pipeline does, some less."""
    sigma = torch.sigmoid(torch.randn(n, generator=generator) + 0.2)
    even = torch.rand(n, generator=generator)
    sigma = torch.where(torch.rand(n, generator=generator) < 0.25, even, sigma)
    shift = torch.where(torch.rand(n, generator=generator) < 0.4, 3.0, SHIFT)
    return shift * sigma / (1 + (shift - 1) * sigma)
