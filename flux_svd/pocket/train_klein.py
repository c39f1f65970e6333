"""Train pocket-klein: it learns from pocket-flux to draw captions without guidance, and wishes about one or two pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
)
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from flux_svd.pocket.edits import sample_edit
from flux_svd.pocket.loop import Luck
from flux_svd.pocket.painter import object_cells, paint, strokes_of
from flux_svd.pocket.train_flux import OBJECT_WEIGHT, SHIFT, SIZES_TRAINED, predict_velocity, sample_sigmas
from flux_svd.pocket.world import ALL_TOLD, EDIT_WORDS, SHAPES, VOCABULARY, Scene, caption, sample_scene

PROMPT_TOKENS = 32
TEXT_LAYERS = (1, 2, 3)  # hidden states that are read, of four layers: the large ones read 9, 18, 27 of 36
TEACHER_GUIDANCE = 3.0  # pocket-flux's default: what guidance adds tells of shapes, and that is hardest to learn
NOISINGS = 4  # noise levels at which the teacher answers for each painted wish
# Share of the wishes that are noised pictures of another shape than the words tell. Of right ones the student reads the shape,
# and never asks the words below sigma 0.8; in its own pictures the shape is not there to be read.
MISLED = 0.5
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
    """Return pocket-flux's trained autoencoder as FLUX.2's class, its latents scaled as FLUX.1's."""
    names = ("block_out_channels", "down_block_types", "up_block_types", "layers_per_block", "latent_channels")
    config = {name: getattr(pictures.config, name) for name in names}
    vae = AutoencoderKLFlux2(**config, norm_num_groups=1, sample_size=128, use_quant_conv=False, use_post_quant_conv=False)
    vae.load_state_dict(pictures.state_dict() | {f"bn.{name}": value for name, value in vae.bn.state_dict().items()})
    vae.bn.running_mean.fill_(pictures.config.shift_factor)
    vae.bn.running_var.fill_(pictures.config.scaling_factor**-2 - vae.config.batch_norm_eps)
    return vae


def make_pipeline(pictures: AutoencoderKL) -> Flux2KleinPipeline:
    """Return an untrained pipeline with the autoencoder of pocket-flux."""
    tokenizer = make_tokenizer()
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT, use_dynamic_shifting=False),
        vae=make_vae(pictures),
        text_encoder=make_text_encoder(len(tokenizer)),
        tokenizer=tokenizer,
        transformer=make_transformer(),
        is_distilled=True,
    )


@dataclass(frozen=True)
class Lesson:
    """A batch: noisy latents (n, tokens, 32) at sigma (n, 1, 1), what is shown (n, references · tokens, 32), and words.

    `velocity` (n, tokens, 32) is the teacher's answer, `cells` (n, tokens) is 1 where the picture has its object.
    """

    noisy: Tensor
    sigma: Tensor
    shown: Tensor
    words: list[str]
    velocity: Tensor
    cells: Tensor


class LessonPool:
    """Wishes at one size with the teacher's answers, each kept to be used several times until newer ones replace it."""

    def __init__(
        self, teacher: FluxPipeline, size: tuple[int, int], references: int, capacity: int, device: torch.device
    ) -> None:
        self.teacher, self.references, self.device = teacher, references, device
        self.width, self.height = size
        tokens = (self.width // 16) * (self.height // 16)
        self.noisy, self.velocity = torch.empty(2, capacity, tokens, 32)
        self.sigma = torch.empty(capacity, 1, 1)
        self.shown = torch.empty(capacity, references * tokens, 32)
        self.cells = torch.empty(capacity, tokens)
        self.words = [""] * capacity
        self.capacity, self.filled, self.next = capacity, 0, 0

    @torch.no_grad()
    def add(self, wishes: int, luck: Luck) -> None:
        """Paint and encode `wishes` new ones, and ask the teacher at `NOISINGS` noise levels of each."""
        words, told, scenes = [], [], []
        for _ in range(wishes):
            if self.references:
                edit = sample_edit(luck.words, self.references)
                words.append(edit.words)
                told.append(caption(replace(edit.target, says=ALL_TOLD), luck.words))
                scenes += [_misleading(edit.target, luck), *edit.references]
            else:
                scene = sample_scene(luck.words)
                words.append(caption(scene, luck.words))
                told.append(words[-1])
                scenes.append(_misleading(scene, luck))
        strokes = strokes_of(scenes, luck.noise).to(self.device)
        painted = paint(strokes, self.width, self.height)
        each = 1 + self.references
        cells = object_cells(painted[::each], strokes.background[::each], 16).flatten(1).float()
        with torch.autocast(self.device.type, torch.bfloat16):
            latents = self.teacher.vae.encode(painted).latent_dist.mode().float()
        latents = (latents - self.teacher.vae.config.shift_factor) * self.teacher.vae.config.scaling_factor
        packed = FluxPipeline._pack_latents(latents, len(scenes), 8, self.height // 8, self.width // 8).unflatten(
            0, (wishes, each)
        )
        clean = packed[:, 0].repeat_interleave(NOISINGS, dim=0)
        sigma = _spread_sigmas(len(clean), luck.noise).to(self.device).view(-1, 1, 1)
        noise = torch.randn(clean.shape, generator=luck.noise).to(self.device)
        noisy = (1 - sigma) * clean + sigma * noise
        asked = [one for one in told for _ in range(NOISINGS)]
        size = self.width, self.height
        answers = predict_velocity(self.teacher, noisy.repeat(2, 1, 1), sigma.repeat(2, 1, 1), asked + [""] * len(asked), size)
        wanted, unguided = answers.chunk(2)
        places = [(self.next + number) % self.capacity for number in range(len(clean))]
        self.noisy[places], self.sigma[places] = noisy.cpu(), sigma.cpu()
        self.velocity[places] = (unguided + TEACHER_GUIDANCE * (wanted - unguided)).cpu()
        self.shown[places] = packed[:, 1:].flatten(1, 2).repeat_interleave(NOISINGS, dim=0).cpu()
        self.cells[places] = cells.repeat_interleave(NOISINGS, dim=0).cpu()
        for number, place in enumerate(places):
            self.words[place] = words[number // NOISINGS]
        self.next = (self.next + len(places)) % self.capacity
        self.filled = min(self.capacity, self.filled + len(places))

    def draw(self, n: int, luck: Luck) -> Lesson:
        """Return a random batch of what is kept."""
        numbers = [luck.words.randrange(self.filled) for _ in range(n)]
        kept = (self.noisy, self.sigma, self.shown, self.velocity, self.cells)
        noisy, sigma, shown, velocity, cells = (one[numbers].to(self.device) for one in kept)
        return Lesson(noisy, sigma, shown, [self.words[number] for number in numbers], velocity, cells)


def _misleading(scene: Scene, luck: Luck) -> Scene:
    return replace(scene, shape=luck.words.choice(SHAPES)) if luck.words.random() < MISLED else scene


def _spread_sigmas(n: int, generator: torch.Generator) -> Tensor:
    """Return noise levels (n,) in 0..1: half as pocket-flux was trained, half anywhere."""
    even = torch.rand(n, generator=generator)
    return torch.where(torch.rand(n, generator=generator) < 0.5, even, sample_sigmas(n, generator))


class KleinTask:
    """Guidance distillation: one call gives the velocity that pocket-flux, told the whole target, needs two for.

    Where pictures are shown, the words tell only what shall change; the teacher is told everything and sees none.
    Source: Meng et al. 2023, On Distillation of Guided Diffusion Models, stage one.
    """

    name = "klein"
    learning_rate = 8e-4
    average = 0.995
    matrices: Sequence[nn.Parameter] = ()

    def __init__(
        self, pipeline: Flux2KleinPipeline, teacher: FluxPipeline, device: torch.device, *, capacity: int = 1024
    ) -> None:
        self.pipeline, self.device = pipeline, device
        for part in (pipeline.vae, teacher.vae, teacher.transformer, teacher.text_encoder, teacher.text_encoder_2):
            part.eval().requires_grad_(False).to(device)
        self.pools = {
            references: [LessonPool(teacher, size, references, capacity, device) for size in SIZES_TRAINED]
            for references in BATCHES
        }
        self.modules: dict[str, nn.Module] = {
            "transformer": pipeline.transformer.train(),
            "text_encoder": pipeline.text_encoder.train(),
        }

    def loss(self, luck: Luck, done: float) -> Tensor:
        """Return the squared distance to the teacher's velocity on one batch of one size and one number of references."""
        references = luck.words.choices(list(CHANCES), list(CHANCES.values()))[0]
        pool = luck.words.choice(self.pools[references])
        while pool.filled < pool.capacity:
            pool.add(min(16, pool.capacity // NOISINGS), luck)
        pool.add(4, luck)
        lesson = pool.draw(BATCHES[references], luck)
        n, tokens, _ = lesson.noisy.shape
        grid = torch.empty(1, 1, pool.height // 16, pool.width // 16)
        ids = self.pipeline._prepare_latent_ids(grid)
        if references:
            ids = torch.cat([ids, self.pipeline._prepare_image_ids([grid] * references)], dim=1)
        with torch.autocast(self.device.type, torch.bfloat16):
            embeds, text_ids = self.pipeline.encode_prompt(
                lesson.words, self.device, max_sequence_length=PROMPT_TOKENS, text_encoder_out_layers=TEXT_LAYERS
            )
            velocity = self.pipeline.transformer(
                hidden_states=torch.cat([lesson.noisy, lesson.shown], dim=1),
                timestep=lesson.sigma.flatten(),
                guidance=None,
                encoder_hidden_states=embeds,
                txt_ids=text_ids,
                img_ids=ids.expand(n, -1, -1).to(self.device),
                return_dict=False,
            )[0][:, :tokens].float()
        weight = 1 + (OBJECT_WEIGHT - 1) * lesson.cells.unsqueeze(2)  # (n, tokens, 1)
        loss: Tensor = (weight * (velocity - lesson.velocity).pow(2)).mean() / weight.mean()
        return loss

    def save(self, folder: Path) -> None:
        """Write a folder for Flux2KleinPipeline.from_pretrained, float16."""
        self.pipeline.to(dtype=torch.float16)
        self.pipeline.save_pretrained(folder)
        self.pipeline.to(dtype=torch.float32)
