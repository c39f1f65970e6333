"""Pictures with FLUX.1 and FLUX.2: encode the prompt, denoise, decode. Draws what a recipe says; decides nothing."""

from __future__ import annotations

import collections
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import Flux2KleinPipeline, Flux2Pipeline, FluxPipeline
from diffusers.pipelines.flux2.pipeline_flux2 import format_input
from PIL import Image
from torch import Tensor

from flux_svd.catalog import Family, ModelSpec
from flux_svd.engines import flow
from flux_svd.engines.flow import AfterStep, Text
from flux_svd.engines.fp8 import store_as_fp8
from flux_svd.engines.levers.encoders import cut_text_encoder, layers_of
from flux_svd.engines.levers.modulation import FoldedModulation
from flux_svd.engines.levers.phases import Kept, KeptInHost, KeptOnDisk, Phases, working
from flux_svd.engines.levers.reading import read_part
from flux_svd.engines.levers.streaming import StreamedBlocks, StreamedLayers
from flux_svd.engines.placement import DTYPES, check_folder, dtype_of, load_pipeline, release, settle
from flux_svd.engines.preview import FluxPreview
from flux_svd.engines.quantised import read_gguf, read_quantised
from flux_svd.engines.shortcuts import shortcuts
from flux_svd.engines.single_file import read_transformer
from flux_svd.engines.small_encoder import read_small_encoder
from flux_svd.engines.trail import Halfway
from flux_svd.errors import BadOutput, InvalidRequest
from flux_svd.memory import Placement
from flux_svd.progress import OnStep
from flux_svd.recipe import ImageRecipe, Precision
from flux_svd.storing import BY_LIBRARY, Stored

PIPELINES: dict[Family, Any] = {
    "flux1": FluxPipeline,
    "flux2-klein": Flux2KleinPipeline,
    "flux2": Flux2Pipeline,
}
ENCODERS = ("text_encoder", "text_encoder_2")
REMEMBERED_PROMPTS = 16  # at most 8 MB each at bf16 (512 tokens of 7680 features of FLUX.2 [klein] 4B)


class FluxEngine:
    """One loaded image model. Sizes, prompts, steps and seeds change from picture to picture; weights stay.

    `draw` is `embed`, `denoise` and `decode` in a row. They are public so that work that was done is not done again: after a
    lack of memory in `decode` the same latents are decoded another way.
    """

    def __init__(
        self,
        spec: ModelSpec,
        folder: Path,
        placement: Placement,
        precision: Precision,
        *,
        fold_modulation: bool = False,
        stored: Stored = "",
        model_file: Path | None = None,
        encoder_file: Path | None = None,
    ) -> None:
        """Load the model.

        Args:
            fold_modulation: see `FoldedModulation` (FLUX.1 only).
            stored: how the transformer's weights are kept, where not as all others: see `store_as_fp8` and `read_quantised`.
            model_file: file of a transformer that stands in for the model's (FLUX.1 only); of a .gguf file the bits are kept.
            encoder_file: weights of a text encoder that stands in for T5 (FLUX.1 only), see `read_small_encoder`.

        Raises:
            ModelUnavailable, OutOfMemory: see `load_pipeline`.
        """
        self.spec = spec
        self._folder, self._placement, self._precision = folder, placement, precision
        self._fold, self._stored, self._model_file = fold_modulation, stored, model_file
        self._encoder_file = encoder_file
        self._is_gguf = model_file is not None and model_file.suffix.lower() == ".gguf"
        self._device = torch.device(placement.device)
        self._layers_read = spec.text_layers[-1] if spec.text_layers else None
        self._parts = [part.folder for part in spec.components]
        self._folded: FoldedModulation | None = None
        self._phases = Phases({})
        self._texts: collections.OrderedDict[tuple[str, int], Text] = collections.OrderedDict()
        self._pipeline = self._load()

    def draw(
        self,
        recipe: ImageRecipe,
        references: Sequence[Image.Image],
        on_step: OnStep,
        *,
        start: Image.Image | None = None,
        halfway: Halfway | None = None,
        on_latents: AfterStep | None = None,
    ) -> Image.Image:
        """Return the picture of `recipe`; the same recipe gives the same picture.

        Args:
            references: RGB pictures in the recipe's order (FLUX.2 only).
            on_step: may raise `Cancelled`; the engine stays usable.
            start, halfway, on_latents: see `denoise`.

        Raises:
            BadOutput: latents or pixels are not finite, or the picture is constant.
            InvalidRequest: a negative prompt, a reference or a start that this recipe has no use for.
            OutOfMemory: the device could not hold the work.
        """
        self._check(recipe, references, start)
        if halfway is not None and halfway.steps == recipe.steps:
            return self.decode(recipe, halfway.latents)
        texts = self.embed(recipe)
        latents = self.denoise(recipe, texts, references, on_step, start=start, halfway=halfway, on_latents=on_latents)
        return self.decode(recipe, latents)

    def embed(self, recipe: ImageRecipe) -> tuple[Text, ...]:
        """Return what the encoders make of the prompt, and of the negative prompt where it is used, in host memory.

        The last texts are remembered, so that another picture of a prompt needs no encoder.
        """
        words = [recipe.prompt, *([recipe.negative_prompt] if flow.needs_negative(recipe) else [])]
        with working(self._phases, "encode"), torch.no_grad():
            return tuple(self._text(text, recipe.prompt_tokens) for text in words)

    def denoise(
        self,
        recipe: ImageRecipe,
        texts: Sequence[Text],
        references: Sequence[Image.Image],
        on_step: OnStep,
        *,
        start: Image.Image | None = None,
        halfway: Halfway | None = None,
        on_latents: AfterStep | None = None,
    ) -> Tensor:
        """Return the latents (1, tokens, features) of the picture, in host memory.

        Args:
            start: the picture to begin at, where the recipe names one.
            halfway: go on from what `on_latents` was given, with a bit-equal result.
            on_latents: is told (steps done, latents) after every step; what it keeps it must copy.
        """
        pipeline = self._pipeline
        with working(self._phases, "denoise"), torch.no_grad():
            scene = clean = None
            if references or (start is not None and halfway is None):
                self._phases.need()
            if references:
                scene = flow.encode_scene(pipeline, references, self.spec.reference_pixels, self._device)
            if start is not None and halfway is None:
                clean = flow.encode_start(pipeline, recipe, start, self._device)
            self._phases.need("transformer")
            # What a step cache remembers is no part of the latents: such a picture cannot go on from the middle.
            watch = self._watch(recipe, on_step, None if recipe.step_cache else on_latents)
            with shortcuts(pipeline.transformer, recipe):
                return flow.denoise(
                    pipeline, recipe, texts, self._device, watch, scene=scene, start=clean, halfway=halfway, folded=self._folded
                ).cpu()

    def decode(self, recipe: ImageRecipe, latents: Tensor) -> Image.Image:
        """Return the picture of latents that `denoise` returned; may be called again with another way of decoding."""
        vae = self._pipeline.vae
        where = torch.device("cpu") if self._placement.decode_on_cpu else self._device
        with working(self._phases, "decode"), torch.no_grad():
            self._phases.need()
            _decode_in_tiles(vae, recipe.decode_tile)
            try:
                vae.to(where)
                return _to_picture(flow.decode(self._pipeline, recipe, latents.to(where)))
            finally:
                vae.to(self._device)

    def prompt_overflow(self, prompt: str) -> str:
        """Return the tail of `prompt` that the encoder carrying the meaning does not read; "" if it reads all."""
        text, tokenizer = self._as_encoded(prompt)
        offsets = tokenizer(text, truncation=True, max_length=self.spec.prompt_tokens, return_offsets_mapping=True)[
            "offset_mapping"
        ]
        read = max(end for _, end in offsets)
        begin = text.find(prompt.strip())
        end = begin + len(prompt.strip()) if begin >= 0 else len(text)  # what follows is the chat template's
        return text[read:end].strip()

    def follow(self, placement: Placement) -> None:
        """Obey a placement that differs from the present one only in what needs no loading."""
        self._placement = placement

    def release(self) -> None:
        """Give the memory back; the engine is of no use afterwards."""
        self._texts.clear()
        release(self._pipeline)

    def _load(self) -> Any:
        kind = PIPELINES[self.spec.family]
        check_folder(kind, self._folder)
        parts: dict[str, Any] = {}
        if self._placement.offload == "phases":
            parts = dict.fromkeys(name for name in self._parts if name != "vae")
        else:
            if self._layers_read is not None:
                parts["text_encoder"] = read_part(self._folder, "text_encoder", self._precision, self._layers_read)
            if self._model_file is not None or self._stored in BY_LIBRARY:
                parts["transformer"] = self._read_transformer()
            if self._encoder_file is not None:
                parts["text_encoder_2"] = self._read_own_encoder(self._encoder_file)
        return load_pipeline(kind, self._folder, self._placement, self._precision, parts=parts, place=self._place)

    def _place(self, pipeline: Any) -> None:
        """Put every part where it works or waits; the VAE, by far the smallest, always stays on the device."""
        kept: dict[str, Kept] = {}
        for name in self._parts:
            if self._placement.offload == "phases" and name != "vae":
                kept[name] = KeptOnDisk(pipeline, name, functools.partial(self._read, name))
                continue
            model = self._pared(name, getattr(pipeline, name))
            setattr(pipeline, name, model)
            by_library = name == "transformer" and (self._is_gguf or self._stored in BY_LIBRARY)  # no plain tensors
            if name == "vae" or self._placement.offload == "none" or by_library:
                settle(model, self._device)
            elif name == "transformer" and self._placement.offload == "stream":
                kept[name] = StreamedBlocks(model, self._device, self._placement.resident_blocks)
            elif self._placement.offload == "stream" and layers_of(model):
                kept[name] = StreamedLayers(model, layers_of(model), self._device)
            else:
                kept[name] = KeptInHost(model, self._device)
        self._phases = Phases(kept)

    def _read(self, name: str) -> Any:
        """Return a part read anew, on the device."""
        layers = self._layers_read if name == "text_encoder" else None
        precision: Precision = "fp32" if dtype_of(self.spec.name, name, self._precision) == torch.float32 else self._precision
        if name == "transformer":
            part = self._read_transformer()
        elif name == "text_encoder_2" and self._encoder_file is not None:
            part = self._read_own_encoder(self._encoder_file)
        else:
            part = read_part(self._folder, name, precision, layers)
        return settle(self._pared(name, part), self._device)

    def _read_own_encoder(self, file: Path) -> Any:
        return read_small_encoder(file, self._folder, dtype_of(self.spec.name, "text_encoder_2", self._precision))

    def _read_transformer(self) -> Any:
        if self._model_file is not None:
            read = read_gguf if self._is_gguf else read_transformer
            return read(self._model_file, self._folder, self._precision)
        if self._stored in BY_LIBRARY:
            return read_quantised(self._folder, self._stored, self._precision)
        return read_part(self._folder, "transformer", self._precision)

    def _pared(self, name: str, model: Any) -> Any:
        """Return the part without what is not needed of it while it works."""
        if name == "text_encoder" and self._layers_read is not None:
            return cut_text_encoder(model, self._layers_read)
        if name == "transformer" and self._fold:
            self._folded = FoldedModulation(model, self._device)
        if name == "transformer" and self._stored == "fp8":
            store_as_fp8(model)
        return model

    def _text(self, text: str, tokens: int) -> Text:
        known = self._texts.get((text, tokens))
        if known is None:
            self._phases.need(*ENCODERS)
            layers = {"text_encoder_out_layers": self.spec.text_layers} if self.spec.text_layers else {}
            encoded = self._pipeline.encode_prompt(prompt=text, device=self._device, max_sequence_length=tokens, **layers)
            pooled = encoded[1] if self.spec.family == "flux1" else encoded[0].new_empty(1, 0)
            dtype = DTYPES[self._precision]  # an encoder in fp32 serves a transformer in fp16
            known = Text(encoded[0].to("cpu", dtype), pooled.to("cpu", dtype))
        self._texts[text, tokens] = known
        self._texts.move_to_end((text, tokens))
        if len(self._texts) > REMEMBERED_PROMPTS:
            self._texts.popitem(last=False)
        return known

    def _check(self, recipe: ImageRecipe, references: Sequence[Image.Image], start: Image.Image | None) -> None:
        """Check that everything given has an effect."""
        flux1 = self.spec.family == "flux1"
        guided_away = recipe.guidance_kind == "classifier-free" or (flux1 and recipe.cfg_scale > flow.NO_GUIDANCE)
        if recipe.negative_prompt and not guided_away:
            raise InvalidRequest("negative_prompt", recipe.negative_prompt, "only with classifier-free guidance")
        if references and flux1:
            raise InvalidRequest("references", len(references), f"none with {self.spec.name}")
        if (start is not None) != bool(recipe.start) or (start is not None and not flux1):
            raise InvalidRequest(
                "start",
                recipe.start,
                f"a picture with FLUX.1 models; none with {self.spec.name}"
                if not flux1
                else "the picture the recipe names, and none where it names none",
            )
        by_library = self._is_gguf or self._stored in BY_LIBRARY
        if recipe.compiled and (self._fold or by_library or self._placement.offload == "stream"):
            raise InvalidRequest("compiled", True, "not while blocks stream, modulation is folded or a library keeps weights")
        for picture in references:
            _check_reference(picture)

    def _watch(self, recipe: ImageRecipe, on_step: OnStep, on_latents: AfterStep | None) -> AfterStep:
        previews = FluxPreview(self._pipeline, recipe.width, recipe.height) if self._placement.offload == "none" else None
        first = recipe.first_step

        def after_step(step: int, latents: Tensor) -> None:
            # Waiting for this answer also keeps the host from running ahead of the device: progress stays true.
            if not torch.isfinite(latents).all():
                raise BadOutput(_what_is_wrong(latents, f"latents after step {step + 1} of {recipe.steps}"))
            if on_latents is not None:
                on_latents(step + 1, latents)
            preview = previews.after_step(step, latents) if previews else None
            on_step(step + 1 - first, recipe.steps - first, preview)

        return after_step

    def _as_encoded(self, prompt: str) -> tuple[str, Any]:
        """Return the text the meaning encoder gets for `prompt`, and its tokenizer."""
        pipeline = self._pipeline
        if self.spec.family == "flux1":
            return prompt, pipeline.tokenizer_2
        if self.spec.family == "flux2-klein":
            chat = [{"role": "user", "content": prompt}]
            text = pipeline.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True, enable_thinking=False)
            return text, pipeline.tokenizer
        chat = format_input([prompt], system_message=pipeline.system_message)[0]
        return pipeline.tokenizer.apply_chat_template(chat, tokenize=False), pipeline.tokenizer.tokenizer


def _decode_in_tiles(vae: Any, tile: int) -> None:
    """Set, for this picture alone, whether the VAE works in tiles, of so many pixels a side, and in slices."""
    if not tile:
        vae.disable_tiling()
        vae.disable_slicing()
        return
    vae.enable_tiling()
    vae.enable_slicing()
    vae.tile_sample_min_size = tile
    vae.tile_latent_min_size = tile // 2 ** (len(vae.config.block_out_channels) - 1)


def _check_reference(picture: Image.Image) -> None:
    """Check what the FLUX.2 pipelines accept: `Flux2ImageProcessor.check_image_input` of diffusers 0.42.1."""
    short, long = sorted(picture.size)
    if short < 64 or long > 8 * short:
        raise InvalidRequest("references", f"{picture.width}×{picture.height}", "64 pixels a side or more, 8:1 at most")


def _to_picture(pixels: Tensor) -> Image.Image:
    """Return (1, 3, h, w) in 0 … 1 as a picture, rounded as diffusers rounds.

    Raises:
        BadOutput: a value is not finite, or all pixels are the same.
    """
    if not torch.isfinite(pixels).all():
        raise BadOutput(_what_is_wrong(pixels, "decoded pixels"))
    values = (pixels[0].permute(1, 2, 0).float().cpu().numpy() * 255).round().astype(np.uint8)  # (h, w, 3)
    if (values == values[0, 0]).all():
        raise BadOutput(f"The picture is constant: every pixel is {tuple(int(v) for v in values[0, 0])}. It was not saved.")
    return Image.fromarray(values)


def _what_is_wrong(values: Tensor, what: str) -> str:
    share = 1 - torch.isfinite(values).float().mean().item()
    return f"{share:.0%} of the {what} are not finite numbers. Nothing was saved; try another precision or seed."
