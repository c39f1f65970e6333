"""Train pocket-klein: it learns from pocket-flux to draw captions, and wishes about one or two pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from flux_svd.pocket.klein_lessons import CODE, MOVING, NOISINGS, Lesson, LessonPool, States, scene_code
from flux_svd.pocket.klein_modulation import CODE_SIZE, HEAD, HEADS, OLD, WORDS_CODE_SIZE
from flux_svd.pocket.klein_start import take_over
from flux_svd.pocket.loop import Luck
from flux_svd.pocket.train_flux import OBJECT_WEIGHT, SHIFT, SIZES_TRAINED, PicturePool, encoded_words
from flux_svd.pocket.world import ALL_TOLD, EDIT_WORDS, VOCABULARY, caption, sample_scene

PROMPT_TOKENS = 32
TEXT_LAYERS = (1, 2, 3)  # hidden states that are read, of four layers: the large ones read 9, 18, 27 of 36
CAPTIONS = 64  # of a batch of words alone
LOOKED = 64  # pictures of a batch to be recognised alone
LOOKS_FIRST, LOOKS = 0.7, 0.1  # share of such batches when pictures are first shown, and later
BATCHES = {0: 32, 1: 20, 2: 14}  # pictures of a batch by how many references each has: about equally long to compute
CHANCES = {0: 0.3, 1: 0.5, 2: 0.2}
SIZE_CHANCES = (0.2, 0.8)  # of `SIZES_TRAINED`: in the wider pictures objects are smaller, and edges harder to draw
READING = 0.04  # share of the training in which only the text encoder learns, to say what pocket-flux's says
# Share of the later batches that are words alone. "From P to Q" and "at the end" are learned late and all at once, as whatever
# takes two words together: by pictures alone not in 250 minutes, by words in five.
READS = 0.1
ALONE = 0.2  # share of the training in which nothing is shown yet
LOOKING = 0.4  # share of the training at whose end it has learned to see: wishes teach it more slowly
HINTED = 0.8  # share of the training at whose end the hints have faded
HINTS, TOLD, SHOWN = 0.3, 0.1, 1.0  # weights at first beside the velocity: hints, what captions mean, what is meant of pictures
READ = 2  # blocks after which the words are to know what is meant of the pictures shown, and one more for the picture's tokens
_MEANT = ("it", "the same object", "the first object", "keep the object")  # words for what is shown as it is
_SPECIALS = ("<pad>", "<unk>", "<|im_start|>", "<|im_end|>")
_CHAT = "{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>{% endfor %}"


def make_transformer() -> Flux2Transformer2DModel:
    """Return a new FLUX.2 transformer of random weights, 5.6 M parameters, with room for those of pocket-flux."""
    return Flux2Transformer2DModel(
        in_channels=32,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=HEAD,
        num_attention_heads=HEADS,
        joint_attention_dim=96 * len(TEXT_LAYERS),
        timestep_guidance_channels=256,
        mlp_ratio=2.43,  # 544 gated units for 768 plain ones: the largest with which all weights of the package stay under 40 MB
        axes_dims_rope=(8, 20, 20, 8),  # pocket-flux's, and the place of a word
        rope_theta=10000,  # pocket-flux's
        guidance_embeds=False,
    )


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


def make_pipeline(teacher: FluxPipeline) -> Flux2KleinPipeline:
    """Return a pipeline with pocket-flux's autoencoder and as much of its transformer as fits; the text encoder is untrained."""
    tokenizer, transformer = make_tokenizer(), make_transformer()
    seen = LessonPool(teacher, States(teacher.transformer), SIZES_TRAINED[0], 0, 128, torch.device("cpu"))
    take_over(transformer, seen, Luck.from_seed(0))
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT, use_dynamic_shifting=False),
        vae=make_vae(teacher.vae),
        text_encoder=make_text_encoder(len(tokenizer)),
        tokenizer=tokenizer,
        transformer=transformer,
        is_distilled=False,
    )


class KleinTask:
    """Distillation: the velocity that pocket-flux gives when told the whole target, and its tokens' states on the way.

    Where pictures are shown, the words tell only what shall change; the teacher is told everything and sees none. Further
    channels of the tokens are to carry the code of the scene: that of the target in words and picture, and in the tokens of
    a reference its own.
    Source: Romero et al. 2015, FitNets, arXiv:1412.6550, for the hints.
    """

    name = "klein"
    learning_rate = 5e-4
    average = 0.99
    matrices: Sequence[nn.Parameter] = ()

    def __init__(self, pipeline: Flux2KleinPipeline, teacher: FluxPipeline, device: torch.device, *, capacity: int = 256) -> None:
        self.pipeline, self.teacher, self.device = pipeline, teacher, device
        for part in (pipeline.vae, teacher.vae, teacher.transformer, teacher.text_encoder, teacher.text_encoder_2):
            part.eval().requires_grad_(False).to(device)
        seen = States(teacher.transformer)
        self.pools = {
            references: [LessonPool(teacher, seen, size, references, capacity, device) for size in SIZES_TRAINED]
            for references in BATCHES
        }
        self.sights = [PicturePool(teacher.vae, size, capacity, device) for size in SIZES_TRAINED]
        self.states = States(pipeline.transformer)
        self.modules: dict[str, nn.Module] = {
            "transformer": pipeline.transformer.train(),
            "text_encoder": pipeline.text_encoder.train(),
        }

    def loss(self, luck: Luck, done: float) -> Tensor:
        """Return the distance to the teacher on one batch of one size and one number of references."""
        if done < READING or luck.words.random() < READS:
            return self._missed_words(luck, done)
        if done >= ALONE and luck.words.random() < (LOOKS_FIRST if done < LOOKING else LOOKS):
            return self._missed_at_sight(luck)
        references = luck.words.choices(list(CHANCES), list(CHANCES.values()))[0] if done >= ALONE else 0
        [pool] = luck.words.choices(self.pools[references], SIZE_CHANCES)
        while pool.filled < pool.capacity:
            pool.add(min(16, pool.capacity // NOISINGS), luck)
        pool.add(2, luck)
        lesson = pool.draw(BATCHES[references], luck)
        velocity = self._velocity(lesson, pool)
        weight = _token_weights(lesson.cells)
        # What words change in the velocity falls with the noise about as its square.
        near = weight / (0.5 + 2 * lesson.sigma.pow(2))
        loss = (near * (velocity - lesson.velocity).pow(2)).mean()
        fading = max(0.0, 1 - done / HINTED)
        meaning = SHOWN * self._missed_in_pictures(lesson) if references else TOLD * self._missed_in_words(lesson)
        return loss + fading * (HINTS * self._missed_hints(lesson, weight) + meaning)

    def _missed_words(self, luck: Luck, done: float) -> Tensor:
        """Return how far the words of new captions are from knowing what is meant, and at first from the teacher's."""
        scenes = [sample_scene(luck.words, kind="moving" if luck.words.random() < MOVING else "still") for _ in range(CAPTIONS)]
        captions = [caption(scene, luck.words) for scene in scenes]
        code = torch.tensor([scene_code(scene) for scene in scenes], device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            words = self.pipeline.transformer.context_embedder(self._read(captions)[0])
            missed = _missed_code(words, code, WORDS_CODE_SIZE)
            if done >= READING:
                return missed
            with torch.no_grad():
                told = self.teacher.transformer.context_embedder(encoded_words(self.teacher, captions))
        return missed + _missed_told(words, told.float().roll(1, dims=1))

    def _missed_at_sight(self, luck: Luck) -> Tensor:
        """Return how far words and objects are, where pictures shown are read, from knowing what is in them.

        Three times as many as the references of wishes in the same time: no teacher, no target, and only the blocks that read.
        """
        pool = luck.words.choice(self.sights)
        while len(pool.scenes) < len(pool.latents):
            pool.add(min(16, len(pool.latents) - len(pool.scenes)), luck)
        pool.add(16, luck)
        shown, cells, scenes = pool.draw(LOOKED, luck)
        code = torch.tensor([scene_code(replace(scene, says=ALL_TOLD)) for scene in scenes], device=self.device)
        sigma = torch.rand(LOOKED, generator=luck.noise).to(self.device)
        model = self.pipeline.transformer
        with torch.autocast(self.device.type, torch.bfloat16), PlainAttention():
            embeds, text_ids = self._read([luck.words.choice(_MEANT) for _ in scenes])
            ids = self.pipeline._prepare_image_ids([torch.empty(1, 1, pool.height // 16, pool.width // 16)]).to(self.device)
            rotary = [torch.cat(both) for both in zip(model.pos_embed(text_ids[0]), model.pos_embed(ids[0]), strict=True)]
            time = model.time_guidance_embed(sigma * 1000, None)
            words, picture = model.context_embedder(embeds), model.x_embedder(shown)
            for block in model.transformer_blocks:
                words, picture = block(
                    hidden_states=picture,
                    encoder_hidden_states=words,
                    temb_mod_img=model.double_stream_modulation_img(time),
                    temb_mod_txt=model.double_stream_modulation_txt(time),
                    image_rotary_emb=tuple(rotary),
                )
        off = (picture[:, :, OLD : OLD + CODE].float() / CODE_SIZE - code.unsqueeze(1)).pow(2).mean(2)  # (n, tokens)
        missed: Tensor = _missed_code(words, code, WORDS_CODE_SIZE) + (off * cells).sum() / cells.sum()
        return missed

    def _read(self, words: list[str]) -> tuple[Tensor, Tensor]:
        embeds, ids = self.pipeline.encode_prompt(
            words, self.device, max_sequence_length=PROMPT_TOKENS, text_encoder_out_layers=TEXT_LAYERS
        )
        return embeds, ids

    def _velocity(self, lesson: Lesson, pool: LessonPool) -> Tensor:
        """Return the student's velocity (n, tokens, 32)."""
        n, tokens, _ = lesson.noisy.shape
        grid = torch.empty(1, 1, pool.height // 16, pool.width // 16)
        ids = self.pipeline._prepare_latent_ids(grid)
        if pool.references:
            ids = torch.cat([ids, self.pipeline._prepare_image_ids([grid] * pool.references)], dim=1)
        with torch.autocast(self.device.type, torch.bfloat16), PlainAttention():
            embeds, text_ids = self._read(lesson.words)
            velocity: Tensor = self.pipeline.transformer(
                hidden_states=torch.cat([lesson.noisy, lesson.shown], dim=1),
                timestep=lesson.sigma.flatten(),
                guidance=None,
                encoder_hidden_states=embeds,
                txt_ids=text_ids,
                img_ids=ids.expand(n, -1, -1).to(self.device),
                return_dict=False,
            )[0]
        return velocity[:, :tokens].float()

    def _missed_hints(self, lesson: Lesson, weight: Tensor) -> Tensor:
        """Return how far the states are from the teacher's after each block, over how far the block brings them, on average."""
        missed = []
        tokens = lesson.noisy.shape[1]
        for number in range(1, len(lesson.picture)):
            way = lesson.picture[number] - lesson.picture[number - 1]
            off = self.states.picture[number][:, :tokens, :OLD].float() - lesson.picture[number]
            missed.append((weight * off.pow(2) / way.pow(2).mean((1, 2), keepdim=True)).mean())
        return torch.stack(missed).mean()

    def _missed_in_words(self, lesson: Lesson) -> Tensor:
        """Return how far the words of captions are from the teacher's, and all tokens from knowing what is meant."""
        words, picture = self.states.words[0], self.states.picture[1:]
        known = torch.stack([_missed_code(tokens, lesson.code, CODE_SIZE) for tokens in picture]).mean()
        return _missed_code(words, lesson.code, WORDS_CODE_SIZE) + _missed_told(words, lesson.told[0]) + known

    def _missed_in_pictures(self, lesson: Lesson) -> Tensor:
        """Return how far all tokens are from knowing what is meant of the pictures shown, and objects there what they are."""
        n, tokens, references = *lesson.cells.shape, lesson.shown_code.shape[1]
        missed = []
        for number in range(READ, len(self.states.picture)):
            words, picture = self.states.words[number], self.states.picture[number]
            missed.append(_missed_code(words, lesson.code, WORDS_CODE_SIZE))
            if number > READ:
                missed.append(_missed_code(picture[:, :tokens], lesson.code, CODE_SIZE))
            told = picture[:, tokens:, OLD : OLD + CODE].reshape(n, references, tokens, CODE).float() / CODE_SIZE
            off = (told - lesson.shown_code.unsqueeze(2)).pow(2).mean(3)  # (n, references, tokens)
            missed.append((off * lesson.shown_cells).sum() / lesson.shown_cells.sum())
        return torch.stack(missed).mean()

    def save(self, folder: Path) -> None:
        """Write a folder for Flux2KleinPipeline.from_pretrained, float16."""
        self.pipeline.to(dtype=torch.float16)
        self.pipeline.save_pretrained(folder)
        self.pipeline.to(dtype=torch.float32)


def _token_weights(cells: Tensor) -> Tensor:
    """Return how much errors count, (n, tokens, 1), on average 1: more on the object, and of each picture's as much in all.

    A small object has a tenth of a large one's tokens, and as many corners.
    """
    covered = cells.sum(1, keepdim=True).clamp(min=1)
    weight = 1 + (OBJECT_WEIGHT - 1) * (cells * covered.mean() / covered).unsqueeze(2)
    return weight / weight.mean()


def _missed_code(states: Tensor, code: Tensor, size: float) -> Tensor:
    """Return how far states (n, tokens, channels), which carry codes times `size`, are from the code (n, CODE)."""
    return (states[:, :, OLD : OLD + CODE].float() / size - code.unsqueeze(1)).pow(2).mean()


def _missed_told(words: Tensor, told: Tensor) -> Tensor:
    """Return how far words are from the teacher's (n, words, OLD), relative to those."""
    return (words[:, :, :OLD].float() - told).pow(2).mean() / told.pow(2).mean()


class PlainAttention(TorchFunctionMode):
    """Attention as two products and a softmax: with its gradient 11 ms where torch's own on a CPU takes 40 (32 × 4 × 96 × 56)."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not nn.functional.scaled_dot_product_attention or kwargs.get("attn_mask") is not None:
            return func(*args, **kwargs)
        query, key, value = args or (kwargs["query"], kwargs["key"], kwargs["value"])
        return ((query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)).softmax(-1) @ value
