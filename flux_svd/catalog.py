"""Facts about every model the program can load, one row each, with sources. Knows no device, no disk and no request.

Component parameter counts were counted on meta-device builds of the published configurations (2026-11-20, diffusers 0.42.1,
transformers 5.23) and agree with the published totals; the Hub itself was not reachable then, so no revision is pinned yet
(`revision=""` loads the newest). What a row could not take from a primary source is named in its `unconfirmed`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from flux_svd.errors import InvalidRequest

Family = Literal["flux1", "flux2-klein", "flux2", "svd", "ltx", "wan", "clip"]
Control = Literal["guidance", "negative_prompt", "cfg_scale", "references", "start", "step_cache", "model_file", "text_encoder"]
GuidanceKind = Literal["none", "embedded", "classifier-free"]


@dataclass(frozen=True)
class Licence:
    """A model licence in plain words; `needs_consent` asks the user to accept it before the first download or use."""

    id: str
    title: str
    url: str
    allows: str
    needs_consent: bool


@dataclass(frozen=True)
class Component:
    """One part of a pipeline.

    Attributes:
        folder: in the repository.
        blocks: what of it can visit a device one after the other: (how many, parameters of each), in the order they run.
        loaded: how many of its parameters are loaded, where that is not all of them: layers behind those that are read stay
            in the file.
        modulation: how many of each of its blocks, and last of the rest, depend on step and prompt alone (adaptive norms).
        fp32_for_fp16: its values overflow in fp16, so it runs in fp32 where the rest runs in fp16.
        wide: bytes of each of its blocks, and last of the rest, beyond one for each parameter where it is kept in fp8: the second
            ones of biases and norms (adaptive ones included) and of all the rest, four for the scale of each matrix's row; ()
            where it is never kept so.
        file_bytes: of a file of the user's own that stands in for it with its own kinds of weights; 0 where none does.
    """

    folder: str
    parameters: int
    blocks: tuple[tuple[int, int], ...] = ()
    loaded: int = 0
    modulation: tuple[int, ...] = ()
    fp32_for_fp16: bool = False
    wide: tuple[int, ...] = ()
    file_bytes: int = 0

    def bytes_at(self, precision: str) -> int:
        """Return the bytes of all its weights at `precision`, as in the files."""
        return self.parameters * self.parameter_bytes(precision)

    def loaded_bytes(self, precision: str) -> int:
        """Return the bytes of the weights that are loaded of it."""
        return self.file_bytes or (self.loaded or self.parameters) * self.parameter_bytes(precision)

    def parameter_bytes(self, precision: str) -> int:
        return BYTES_PER_PARAMETER["fp32" if precision == "fp16" and self.fp32_for_fp16 else precision]


@dataclass(frozen=True)
class WorkingMemory:
    """Bytes that live tensors take beside the weights, at two bytes an element.

    Counted on meta-device builds of the published configurations (2026-11-20, diffusers 0.42.1): what operations make, as long
    as it lives. Workspaces of libraries and fragmentation are not in it.

    Attributes:
        step: of one denoising step: for each token, text included; of a video model for each pixel of each frame, both branches.
        decode: for each pixel, and of a video model for each frame decoded together.
        encode: for each pixel of a picture that goes through the VAE.
    """

    step: int = 0
    decode: int = 0
    encode: int = 0


@dataclass(frozen=True)
class ModelSpec:
    """One row of facts: what a model is, what it needs and which wishes it obeys.

    Attributes:
        size: default (width, height) in pixels; `size_multiple`: both sides must divide by it.
        work: working memory beside the weights.
        guidance: default of the value that `guidance_kind` names: embedded in the model, or classifier-free; "none" ignores it.
        prompt_tokens: how many tokens the text encoder that carries the meaning reads; the rest of a prompt is cut.
        obeys: the controls that change this model's result.
        references_max: how many reference pictures it takes; `reference_pixels`: larger ones are made this small.
        text_layers: which hidden states of its one text encoder are read, the deepest last; () where the last answer is.
        frame_step: of a video model that makes a stretch of film in one pass: its keyframes lie this many frames apart, or a
            multiple; 0 of others.
        keyframes_at_once: how many keyframes such a stretch may have.
        trained_frames: of a video model that goes from one keyframe to the next: how many frames, at least and at most, it makes
            of a transition; both ends counted.
        pocket: tiny, carried inside the package, made to try and to test the program.
    """

    name: str
    title: str
    family: Family
    repo: str
    licence: Licence
    components: tuple[Component, ...]
    sources: tuple[str, ...]
    revision: str = ""
    gated: bool = False
    steps: int = 0
    guidance: float = 0.0
    guidance_kind: GuidanceKind = "none"
    size: tuple[int, int] = (1024, 1024)
    film_size: tuple[int, int] = (1024, 576)
    size_multiple: int = 16
    size_max: int = 2048
    prompt_tokens: int = 512
    work: WorkingMemory = WorkingMemory()
    obeys: frozenset[Control] = frozenset()
    references_max: int = 0
    reference_pixels: int = 1024 * 1024  # to which the pipelines of FLUX.2 reduce them
    text_layers: tuple[int, ...] = ()
    frame_step: int = 0
    keyframes_at_once: int = 0
    trained_frames: tuple[int, int] = (14, 25)  # arXiv:2311.15127: SVD on 14 frames, SVD-XT from there on 25
    pocket: bool = False
    unconfirmed: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        return sum(component.parameters for component in self.components)

    @property
    def makes_films(self) -> bool:
        return self.family in VIDEO_FAMILIES

    def bytes_at(self, precision: str) -> int:
        """Return the bytes of all weights at `precision` (bf16, fp16 or fp32)."""
        return sum(component.bytes_at(precision) for component in self.components)


# Weights in fp8, int8 and nf4 are kept by transformers alone, which compute in bf16: see `ways.sizes_of`.
BYTES_PER_PARAMETER = {"bf16": 2, "fp16": 2, "fp32": 4, "fp8": 2, "int8": 2, "nf4": 2}

APACHE = Licence(
    "apache-2.0", "Apache License 2.0", "https://www.apache.org/licenses/LICENSE-2.0",
    "Free for any use, commercial use included.", needs_consent=False,
)
MIT = Licence("mit", "MIT License", "https://opensource.org/license/mit", "Free for any use.", needs_consent=False)
FLUX1_NC = Licence(
    "flux-1-dev-non-commercial", "FLUX.1 [dev] Non-Commercial License v1.1.1",
    "https://github.com/black-forest-labs/flux/blob/main/model_licenses/LICENSE-FLUX1-dev",
    "The model only for non-commercial, non-production use; what it makes may be used commercially, but not to train a "
    "competing model. You must filter or review results before you pass them on, and say that they are AI-made where the "
    "law asks for it.", needs_consent=True,
)
FLUX2_NC = replace(
    FLUX1_NC, id="flux-2-non-commercial", title="FLUX Non-Commercial License v2",
    url="https://github.com/black-forest-labs/flux2/tree/main/model_licenses",
)
SVD_COMMUNITY = Licence(
    "stable-video-diffusion-community", "Stability AI Community License (Stable Video Diffusion)",
    "https://stability.ai/license",
    "Free for research, for private use and for companies under one million US dollars of yearly revenue that register; "
    "above that a paid licence. The licence file that comes with the weights decides.", needs_consent=True,
)

LTX_OPEN = Licence(
    "ltx-video-open-weights", "LTX-Video Open Weights License 0.X", "https://huggingface.co/Lightricks/LTX-Video-0.9.5",
    "Read it before use: its terms are not told here, since its text was not at hand.", needs_consent=True,
)

_CLIP_L = Component("text_encoder", 123_060_480)
# diffusers, docs of the Flux pipeline, "Running FP16 inference": some activations of the text encoder overflow.
_T5_XXL = Component("text_encoder_2", 4_762_310_656, ((1, 192_948_224), (23, 192_946_176)), fp32_for_fp16=True)
_FLUX1_VAE = Component("vae", 83_819_683)
_FLUX2_VAE = Component("vae", 84_046_115)
_QWEN3_4B = Component("text_encoder", 4_022_468_096, ((27, 100_930_816),), loaded=3_114_088_192)
_QWEN3_8B = Component("text_encoder", 8_190_735_360, ((27, 192_946_432),), loaded=5_831_883_520)
_FLUX1_BLOCKS = ((19, 339_831_296), (38, 141_591_808))
_FLUX1_MODULATION = (113_283_072, 28_320_768, 18_880_512)  # 3.2 of 11.9 billion
_FLUX1_WIDE = (113_560_064, 28_443_904, 64_124_992)
_SCHNELL_WIDE = (*_FLUX1_WIDE[:2], 53_895_232)  # no embedding of guidance
_FLUX1_WORK = WorkingMemory(step=106_600, decode=1_540, encode=1_290)
_FLUX2_WORK = WorkingMemory(decode=1_540, encode=1_290)

_FLUX1_DEV = ModelSpec(
    name="flux1-dev", title="FLUX.1 [dev]", family="flux1", repo="black-forest-labs/FLUX.1-dev", gated=True,
    licence=FLUX1_NC, steps=50, guidance=3.5, guidance_kind="embedded", prompt_tokens=512,
    obeys=frozenset({"guidance", "cfg_scale", "start", "step_cache", "model_file", "text_encoder"}),
    work=_FLUX1_WORK, components=(
        _CLIP_L, _T5_XXL, Component("transformer", 11_901_408_320, _FLUX1_BLOCKS, 0, _FLUX1_MODULATION, wide=_FLUX1_WIDE),
        _FLUX1_VAE,
    ),
    sources=("model card of the repository: 50 steps, guidance 3.5, 512 tokens", "black-forest-labs/flux model_licenses"),
)
_KLEIN_4B = ModelSpec(
    name="flux2-klein-4b", title="FLUX.2 [klein] 4B", family="flux2-klein", repo="black-forest-labs/FLUX.2-klein-4B",
    licence=APACHE, steps=4, prompt_tokens=512, obeys=frozenset({"references"}),
    text_layers=(9, 18, 27),  # `text_encoder_out_layers` of diffusers 0.42.1
    references_max=4,  # docs.bfl.ai, "Reference Images per Model", 2026-11: klein up to 4, [dev] recommended 6 at most
    components=(
        _QWEN3_4B,
        Component("transformer", 3_875_544_576, ((5, 245_367_296), (20, 122_683_648)), wide=(270_848, 123_136, 195_035_136)),
        _FLUX2_VAE,
    ),
    work=replace(_FLUX2_WORK, step=133_900),
    sources=("model card of the repository: 4 steps, guidance 1.0", "README of black-forest-labs/flux2: licences and sizes"),
)
_KLEIN_BASE_4B = replace(
    _KLEIN_4B, name="flux2-klein-base-4b", title="FLUX.2 [klein] base 4B", repo="black-forest-labs/FLUX.2-klein-base-4B",
    steps=50, guidance=4.0, guidance_kind="classifier-free",
    obeys=frozenset({"references", "guidance", "negative_prompt"}),
    sources=("model card of the repository: 50 steps, guidance 4.0", "README of black-forest-labs/flux2: licences and sizes"),
)
_KLEIN_9B_PARTS = (
    _QWEN3_8B,
    Component("transformer", 9_078_581_248, ((8, 436_208_128), (24, 218_104_064)), wide=(360_960, 164_096, 354_418_688)),
    _FLUX2_VAE,
)
_KLEIN_9B_WORK = replace(_FLUX2_WORK, step=178_200)
_T5_FOR_LTX = replace(_T5_XXL, folder="text_encoder")
_SVD_XT = ModelSpec(
    name="svd-xt", title="Stable Video Diffusion XT (25 frames)", family="svd",
    repo="stabilityai/stable-video-diffusion-img2vid-xt", gated=True, licence=SVD_COMMUNITY, steps=25, guidance=1.0,
    size=(1024, 576), size_multiple=64,
    components=(
        Component("image_encoder", 632_076_800), Component("unet", 1_524_623_082),
        Component("vae", 97_742_847),
    ),
    work=WorkingMemory(step=564, decode=2_050, encode=1_290),
    sources=("model card of the repository: 25 frames at 576x1024", "arXiv:2410.05651 for 25 steps, guidance 1.0"),
    unconfirmed=("the licence text now shown on the Hub was not read; the repository of 2023-11 was non-commercial",),
)

_ROWS: tuple[ModelSpec, ...] = (
    _FLUX1_DEV,
    replace(
        _FLUX1_DEV, name="flux1-schnell", title="FLUX.1 [schnell]", repo="black-forest-labs/FLUX.1-schnell",
        licence=APACHE, steps=4, guidance=0.0, guidance_kind="none", prompt_tokens=256,
        obeys=frozenset({"start", "model_file", "text_encoder"}),
        components=(
            _CLIP_L, _T5_XXL, Component("transformer", 11_891_178_560, _FLUX1_BLOCKS, 0, _FLUX1_MODULATION, wide=_SCHNELL_WIDE),
            _FLUX1_VAE,
        ),
        sources=("model card of the repository: 4 steps, guidance 0, 256 tokens",),
        unconfirmed=("whether the repository still asks for a login before the download",),
    ),
    _KLEIN_4B,
    _KLEIN_BASE_4B,
    replace(
        _KLEIN_4B, name="flux2-klein-9b", title="FLUX.2 [klein] 9B", repo="black-forest-labs/FLUX.2-klein-9B", gated=True,
        licence=FLUX2_NC, components=_KLEIN_9B_PARTS, work=_KLEIN_9B_WORK,
    ),
    replace(
        _KLEIN_BASE_4B, name="flux2-klein-base-9b", title="FLUX.2 [klein] base 9B",
        repo="black-forest-labs/FLUX.2-klein-base-9B", gated=True, licence=FLUX2_NC, components=_KLEIN_9B_PARTS,
        work=_KLEIN_9B_WORK,
    ),
    ModelSpec(
        name="flux2-dev", title="FLUX.2 [dev]", family="flux2", repo="black-forest-labs/FLUX.2-dev", gated=True,
        licence=FLUX2_NC, steps=50, guidance=4.0, guidance_kind="embedded", prompt_tokens=512,
        obeys=frozenset({"guidance", "references"}), references_max=6, text_layers=(10, 20, 30),
        components=(
            Component("text_encoder", 24_011_361_280, ((30, 555_755_520),), loaded=17_343_754_240),
            Component("transformer", 32_223_281_152, ((8, 981_467_648), (48, 490_733_824)), wide=(541_184, 246_016, 816_316_416)),
            _FLUX2_VAE,
        ),
        work=replace(_FLUX2_WORK, step=265_400),
        sources=("model card of the repository: 50 steps (28 as a trade-off), guidance 4",),
    ),
    _SVD_XT,
    replace(
        _SVD_XT, name="svd", title="Stable Video Diffusion (14 frames)", repo="stabilityai/stable-video-diffusion-img2vid",
        trained_frames=(8, 14),  # any shorter transition can be made within them and thinned; from 9 on some could not
        sources=("model card of the repository: 14 frames at 576x1024",),
    ),
    ModelSpec(
        name="ltx", title="LTX-Video 0.9.5 (2B)", family="ltx", repo="Lightricks/LTX-Video-0.9.5", licence=LTX_OPEN, steps=40,
        guidance=5.0, size=(768, 512), size_multiple=32, prompt_tokens=256, frame_step=8, keyframes_at_once=61,
        components=(
            _T5_FOR_LTX, Component("transformer", 1_923_385_472, ((28, 67_155_968),)), Component("vae", 934_991_538),
        ),
        work=WorkingMemory(step=12, decode=200, encode=200),
        sources=(
            "diffusers 0.42.1, LTXConditionPipeline: repository, 40 steps, 768x512, sides by 32; its VAE: 8k+1 frames",
            "diffusers documentation of LTX-Video: guidance 5.0, decode_timestep 0.05, image_cond_noise_scale 0.025",
        ),
        unconfirmed=(
            "never run with its published weights here, only with tiny random parts of its classes",
            "the licence text was not read", "the VAE was counted by the configuration of 0.9.1",
            "working memory is an estimate, not counted",
        ),
    ),
    ModelSpec(
        name="wan-flf", title="Wan 2.1 first and last frame (14B)", family="wan", repo="Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers",
        licence=APACHE, steps=50, guidance=5.0, size=(1280, 720), size_multiple=16, prompt_tokens=512, frame_step=4,
        keyframes_at_once=2,
        components=(
            Component("text_encoder", 5_680_910_336), Component("image_encoder", 630_766_080),
            Component("transformer", 16_395_536_704, ((40, 403_838_464),)), Component("vae", 126_892_531),
        ),
        work=WorkingMemory(step=120, decode=800, encode=800),
        sources=(
            "diffusers 0.42.1, WanImageToVideoPipeline: last_image, 50 steps, guidance 5.0, sides by 16, 4k+1 frames",
            "page of the repository: apache-2.0", "diffusers scripts/convert_wan_to_diffusers.py: configurations",
        ),
        unconfirmed=(
            "never run with its published weights here, only with tiny random parts of its classes",
            "working memory is an estimate, not counted",
        ),
    ),
    ModelSpec(
        name="clip-vit-b-32", title="CLIP ViT-B/32 (OpenAI)", family="clip", repo="timm/vit_base_patch32_clip_224.openai",
        licence=MIT, components=(Component("", 151_277_313),), prompt_tokens=77,
        sources=("open_clip 3.3 pretrained configuration ViT-B-32 / openai", "github.com/openai/CLIP LICENSE"),
    ),
)

_POCKET_ROWS: tuple[ModelSpec, ...] = (
    ModelSpec(
        name="pocket-flux", title="Pocket FLUX", family="flux1", repo="", licence=MIT, pocket=True, steps=8, guidance=3.0,
        guidance_kind="classifier-free",        size=(128, 128), film_size=(160, 96), size_max=256, prompt_tokens=32,
        obeys=frozenset({"guidance", "negative_prompt", "start", "step_cache", "model_file"}),
        components=(
            Component("text_encoder", 608_512), Component("text_encoder_2", 337_664), Component("transformer", 5_146_400),
            Component("vae", 984_931),
        ),
        work=WorkingMemory(step=7_100, decode=193, encode=193),
        sources=("flux_svd/pocket/weights/pocket-flux/README.md",),
    ),
    ModelSpec(
        name="pocket-klein", title="Pocket FLUX.2 [klein]", family="flux2-klein", repo="", licence=MIT, pocket=True, steps=8,
        guidance=3.0, guidance_kind="classifier-free", size=(128, 128), film_size=(160, 96), size_max=256, prompt_tokens=32,
        obeys=frozenset({"guidance", "negative_prompt", "references"}),
        references_max=2,  # as many as it was trained with
        reference_pixels=128 * 128,  # it has seen none larger
        text_layers=(1, 2, 3),
        components=(
            Component("text_encoder", 415_008), Component("transformer", 5_570_432), Component("vae", 984_996),
        ),
        work=WorkingMemory(step=8_900, decode=193, encode=193),
        sources=("flux_svd/pocket/weights/pocket-klein/README.md",),
    ),
    ModelSpec(
        name="pocket-svd", title="Pocket SVD", family="svd", repo="", licence=MIT, pocket=True, steps=10, guidance=1.0,
        size=(160, 96), size_multiple=32, size_max=256,
        components=(Component("image_encoder", 1_119_488), Component("unet", 2_592_852), Component("vae", 984_931)),
        work=WorkingMemory(step=42, decode=193, encode=193),
        sources=("flux_svd/pocket/weights/pocket-svd/README.md",),
    ),
    ModelSpec(
        name="pocket-clip", title="Pocket CLIP", family="clip", repo="", licence=MIT, pocket=True, prompt_tokens=32,
        components=(Component("", 1_467_905),), sources=("flux_svd/pocket/weights/pocket-clip/README.md",),
    ),
)

MODELS: dict[str, ModelSpec] = {row.name: row for row in (*_ROWS, *_POCKET_ROWS)}
VIDEO_FAMILIES: tuple[Family, ...] = ("svd", "ltx", "wan")
IMAGE_FAMILIES: tuple[Family, ...] = ("flux1", "flux2-klein", "flux2")

# Which model `auto` prefers, best first; the pocket ones are always here.
AUTO_IMAGE = ("flux2-klein-9b", "flux2-klein-4b", "flux1-dev", "flux1-schnell", "pocket-flux", "pocket-klein")
AUTO_VIDEO = ("svd-xt", "svd", "pocket-svd")
AUTO_SCORER = ("clip-vit-b-32", "pocket-clip")


def find_model(name: str, *, field: str = "model", families: tuple[Family, ...] = ()) -> ModelSpec:
    """Return the row called `name`.

    Raises:
        InvalidRequest: there is no such model, or it is not of one of `families`.
    """
    fitting = [row.name for row in MODELS.values() if not families or row.family in families]
    if name not in fitting:
        raise InvalidRequest(field, name, "auto, " + ", ".join(fitting))
    return MODELS[name]
