"""Tiny random models of the real classes, saved in the folder layout of the real repositories; recipes for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLLTXVideo,
    AutoencoderKLTemporalDecoder,
    AutoencoderKLWan,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    LTXConditionPipeline,
    LTXVideoTransformer3DModel,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanTransformer3DModel,
)
from PIL import Image
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PixtralImageProcessor,
    PixtralProcessor,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

from flux_svd.catalog import MODELS, ModelSpec
from flux_svd.memory import Placement
from flux_svd.recipe import ImageRecipe, TransitionRecipe, VideoRecipe

SIDE = 32  # pixels of a tiny picture: 4 × 4 latents
PROMPT_TOKENS = {"flux1": 24, "flux2-klein": 96, "flux2": 320}  # byte tokens; the chat templates take their part

_BYTES = sorted(ByteLevel.alphabet())
_FOUR_DOWN, _FOUR_UP = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
_QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
_PIXTRAL_TEMPLATE = (
    "<s>{% for message in messages %}{% if message['role'] == 'system' %}[SYSTEM_PROMPT]{{ message['content'][0]['text'] }}"
    "[/SYSTEM_PROMPT]{% else %}[INST]{% for part in message['content'] %}{{ part['text'] }}{% endfor %}[/INST]{% endif %}"
    "{% endfor %}"
)


def build_model(name: str, folder: Path) -> Path:
    """Save a tiny stand-in for the catalogue row `name` into `folder` and return it."""
    torch.manual_seed(0)
    spec = MODELS[name]
    builders: dict[str, Callable[[ModelSpec, Path], None]] = {
        "flux1": _build_flux1,
        "flux2-klein": _build_klein,
        "flux2": _build_flux2,
        "svd": _build_svd,
        "ltx": _build_ltx,
        "wan": _build_wan,
        "clip": _build_clip,
    }
    builders[spec.family](spec, folder)
    return folder


def placement(name: str, offload: Any = "none") -> Placement:
    return Placement(name, "cpu", offload, 0, 0)


def image_recipe(name: str, **changes: Any) -> ImageRecipe:
    """Return a recipe of four small steps that fits the tiny model of row `name`."""
    spec = MODELS[name]
    base = ImageRecipe(
        model=name, revision="", prompt="a red fox", negative_prompt="", seed=7, width=SIDE, height=SIDE, steps=4,
        guidance=spec.guidance, guidance_kind=spec.guidance_kind, references=(), precision="fp32",
        prompt_tokens=PROMPT_TOKENS[spec.family], decode_tile=0, versions=(),
    )  # fmt: skip
    return replace(base, **changes)


def transition_recipe(**changes: Any) -> TransitionRecipe:
    base = TransitionRecipe(
        model="svd-xt", revision="", method="bidirectional", start="a", end="b", seed=7, width=SIDE, height=SIDE, frames=5,
        stride=1, steps=4, guidance=1.0, motion_bucket_id=180, conditioning_fps=12, noise_aug_strength=0.02,
        motion_alignment=0.5, alignment_rounds=3, renoise_share=0.5, precision="fp32", versions=(),
    )  # fmt: skip
    return replace(base, **changes)


def video_recipe(*transitions: TransitionRecipe, **changes: Any) -> VideoRecipe:
    base = VideoRecipe(
        keyframes=(), transitions=transitions, width=SIDE, height=SIDE, fps=12, decode_chunk=8, decode_overlap=2,
        join_share=0.0, colour_match=False, fade_frames=3, crf=18, versions=(),
    )  # fmt: skip
    return replace(base, **changes)


def picture(seed: int, width: int = SIDE, height: int = SIDE) -> Image.Image:
    """Return a smooth colourful picture, another one for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def _build_flux1(spec: ModelSpec, folder: Path) -> None:
    # Two byte vocabularies: inside a word, and at its end. The real one has the same special tokens last.
    symbols = [*_BYTES, *(symbol + "</w>" for symbol in _BYTES), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer({symbol: index for index, symbol in enumerate(symbols)}, [], model_max_length=16)
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((chr(code), -3.0) for code in range(33, 127))]
    tokenizer_2 = T5Tokenizer(pieces, extra_ids=0, additional_special_tokens=["<extra_id_0>"], model_max_length=512)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(symbols), hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=16, bos_token_id=len(symbols) - 2, eos_token_id=len(symbols) - 1, projection_dim=16,
        )
    )  # fmt: skip
    text_encoder_2 = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer_2), d_model=16, d_ff=16, d_kv=8, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu"
        )
    )
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, pooled_projection_dim=16, guidance_embeds=spec.guidance_kind == "embedded",
        axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 8, 8), norm_num_groups=2, latent_channels=4, down_block_types=_FOUR_DOWN,
        up_block_types=_FOUR_UP, scaling_factor=0.36, shift_factor=0.12, use_quant_conv=False, use_post_quant_conv=False,
        sample_size=SIDE,
    )  # fmt: skip
    dev = spec.guidance_kind == "embedded"  # the real schnell does not shift its schedule by size
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0 if dev else 1.0, use_dynamic_shifting=dev),
        vae=_loud(vae), text_encoder=text_encoder, tokenizer=tokenizer, text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2, transformer=_loud(transformer),
    ).save_pretrained(folder)  # fmt: skip
    _publish_names(folder, tokenizer_2="T5TokenizerFast")


def _build_klein(spec: ModelSpec, folder: Path) -> None:
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {symbol: index for index, symbol in enumerate([*_BYTES, *specials])}
    tokenizer = Qwen2Tokenizer(vocabulary, [], additional_special_tokens=specials[1:], chat_template=_QWEN_TEMPLATE)
    text_encoder = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=28, num_attention_heads=2,
            num_key_value_heads=1, head_dim=8, max_position_embeddings=512, tie_word_embeddings=True,
        )
    )  # fmt: skip
    Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True), vae=_flux2_vae(),
        text_encoder=text_encoder, tokenizer=tokenizer, transformer=_flux2_transformer(guidance_embeds=False),
        is_distilled=spec.guidance_kind == "none",
    ).save_pretrained(folder)  # fmt: skip
    _publish_names(folder, tokenizer="Qwen2TokenizerFast")


def _build_flux2(spec: ModelSpec, folder: Path) -> None:
    specials = [
        "<s>",
        "</s>",
        "<pad>",
        "[IMG]",
        "[IMG_BREAK]",
        "[IMG_END]",
        "[INST]",
        "[/INST]",
        "[SYSTEM_PROMPT]",
        "[/SYSTEM_PROMPT]",
    ]
    vocabulary = {symbol: index for index, symbol in enumerate([*_BYTES, *specials])}
    tokenizer = Qwen2Tokenizer(
        vocabulary, [], bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="</s>",
        additional_special_tokens=specials[3:],
    )  # fmt: skip
    processor = PixtralProcessor(PixtralImageProcessor(), tokenizer, chat_template=_PIXTRAL_TEMPLATE)
    text = {
        "model_type": "mistral", "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16,
        "num_hidden_layers": 31, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
        "max_position_embeddings": 1024, "pad_token_id": vocabulary["<pad>"],
    }  # fmt: skip
    vision = {
        "model_type": "pixtral", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 32, "patch_size": 16,
    }  # fmt: skip
    encoder = Mistral3ForConditionalGeneration(
        Mistral3Config(text_config=text, vision_config=vision, image_token_index=vocabulary["[IMG]"])
    )
    Flux2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True), vae=_flux2_vae(),
        text_encoder=encoder, tokenizer=processor, transformer=_flux2_transformer(guidance_embeds=True),
    ).save_pretrained(folder)  # fmt: skip


def _flux2_transformer(guidance_embeds: bool) -> Any:
    return _loud(
        Flux2Transformer2DModel(
            in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=48, timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=guidance_embeds,
        )
    )  # fmt: skip


def _flux2_vae() -> Any:
    vae = AutoencoderKLFlux2(
        block_out_channels=(4, 4, 8, 8), norm_num_groups=2, latent_channels=4, down_block_types=_FOUR_DOWN,
        up_block_types=_FOUR_UP, layers_per_block=1, sample_size=SIDE,
    )  # fmt: skip
    vae.bn.running_mean.normal_(std=0.1)  # statistics that show whether they are used
    vae.bn.running_var.uniform_(1.0, 2.0)
    return _loud(vae)


def _build_svd(spec: ModelSpec, folder: Path) -> None:
    unet = UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, sample_size=4, in_channels=8, out_channels=4,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"), cross_attention_dim=32,
        num_attention_heads=4, projection_class_embeddings_input_dim=96, addition_time_embed_dim=32, num_frames=25,
    )  # fmt: skip
    with torch.no_grad():  # fresh weights hardly tell one frame from another; these do, so that symmetry tests can fail
        unet.conv_out.weight *= 5
        for name, weight in unet.named_parameters():
            if "time_pos_embed" in name:
                weight *= 5
            if "mix_factor" in name:
                weight.fill_(0)
    vae = AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32, 32, 32), down_block_types=_FOUR_DOWN, latent_channels=4, sample_size=SIDE
    )
    encoder = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=32, projection_dim=32, num_hidden_layers=2, num_attention_heads=4, image_size=224,
            intermediate_size=37, patch_size=56,
        )
    )  # fmt: skip
    scheduler = EulerDiscreteScheduler(  # the values of the published scheduler_config.json of SVD-XT
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", interpolation_type="linear",
        prediction_type="v_prediction", sigma_max=700.0, sigma_min=0.002, steps_offset=1, timestep_spacing="leading",
        timestep_type="continuous", use_karras_sigmas=True,
    )  # fmt: skip
    StableVideoDiffusionPipeline(
        vae=vae, image_encoder=encoder, unet=unet, scheduler=scheduler, feature_extractor=CLIPImageProcessor()
    ).save_pretrained(folder)


def _t5() -> tuple[Any, Any]:
    """Return a tokenizer of printable characters and a tiny encoder for it."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((chr(code), -3.0) for code in range(33, 127))]
    tokenizer = T5Tokenizer(pieces, extra_ids=0, additional_special_tokens=["<extra_id_0>"], model_max_length=512)
    encoder = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer), d_model=16, d_ff=16, d_kv=8, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu"
        )
    )
    return tokenizer, encoder


def _build_ltx(spec: ModelSpec, folder: Path) -> None:
    tokenizer, text_encoder = _t5()
    transformer = LTXVideoTransformer3DModel(
        in_channels=8, out_channels=8, num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16, num_layers=1,
        caption_channels=16,
    )  # fmt: skip
    vae = AutoencoderKLLTXVideo(  # the real compression: 32 in space, 8 in time, and a decoder that wants a timestep
        latent_channels=8, block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 16, 32), layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 4, spatio_temporal_scaling=(True, True, True, False),
        decoder_spatio_temporal_scaling=(True,) * 3, decoder_inject_noise=(False,) * 4, upsample_residual=(True,) * 3,
        upsample_factor=(2,) * 3, timestep_conditioning=True, patch_size=4, patch_size_t=1, encoder_causal=True,
        decoder_causal=False,
    )  # fmt: skip
    LTXConditionPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae, text_encoder=text_encoder, tokenizer=tokenizer,
        transformer=_loud(transformer),
    ).save_pretrained(folder)  # fmt: skip
    _publish_names(folder, tokenizer="T5TokenizerFast")


def _build_wan(spec: ModelSpec, folder: Path) -> None:
    tokenizer, _ = _t5()
    text_encoder = UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(tokenizer), d_model=16, d_ff=16, d_kv=8, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu"
        )
    )
    image_encoder = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=4, num_hidden_layers=2, num_attention_heads=2, image_size=4, intermediate_size=16, patch_size=1
        )
    )
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=36, out_channels=16, text_dim=16,
        freq_dim=16, ffn_dim=32, num_layers=2, cross_attn_norm=True, qk_norm="rms_norm_across_heads", rope_max_seq_len=32,
        image_dim=4, pos_embed_seq_len=2 * (4 * 4 + 1),
    )  # fmt: skip
    WanImageToVideoPipeline(
        tokenizer=tokenizer, text_encoder=text_encoder, image_encoder=image_encoder,
        image_processor=CLIPImageProcessor(crop_size=4, size=4), transformer=_loud(transformer),
        vae=AutoencoderKLWan(
            base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    ).save_pretrained(folder)  # fmt: skip


def _build_clip(spec: ModelSpec, folder: Path) -> None:
    config = {
        "embed_dim": 16, "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    }  # fmt: skip
    preprocess = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "interpolation": "bicubic", "resize_mode": "shortest"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    save_file(open_clip.model.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")


def _loud(model: Any) -> Any:
    """Return the model with a stronger last layer, so that differences survive the rounding to bytes."""
    last = model.decoder.conv_out if hasattr(model, "decoder") else model.proj_out
    with torch.no_grad():
        last.weight *= 2
    return model


def _publish_names(folder: Path, **names: str) -> None:
    """Put the class names of the published model_index.json in the place of those that this version of transformers saves."""
    index = folder / "model_index.json"
    parts = json.loads(index.read_text())
    for part, name in names.items():
        parts[part] = ["transformers", name]
    index.write_text(json.dumps(parts))
