"""Every decision that changes pixels, frozen and fingerprinted. A recipe has no holes and knows nothing of devices or files.

A recipe survives JSON (`to_json`, `recipe_from_json`) and pickle; equal recipes have equal fingerprints in every process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from flux_svd.catalog import GuidanceKind
from flux_svd.request import Attention

Precision = Literal["bf16", "fp16", "fp32", "fp8", "int8", "nf4"]  # the last three: the transformer's weights, all else in bf16
Method = Literal["bidirectional", "vibid", "fusion", "plain"]
Versions = tuple[tuple[str, str], ...]  # (library, version), sorted


@dataclass(frozen=True)
class ImageRecipe:
    """One picture.

    Attributes:
        references: what it is drawn after, in order: ids of stored pictures (sha256), or names of pictures that are stages of
            their own ("stage:" and a fingerprint), so that another first keyframe is another recipe for those drawn after it.
        width, height: pixels.
        guidance: embedded value or classifier-free scale, as `guidance_kind` says; 0.0 where the kind is "none".
        prompt_tokens: how many tokens the encoder reads.
        decode_tile: pixels of a side of the parts the VAE decodes (changes pixels slightly); 0 decodes the whole at once.
        cfg_scale: real classifier-free guidance beside an embedded value, away from the negative prompt; 1.0 is none.
        guidance_curve: the guidance of each step where it changes on the way; () is `guidance` in all.
        start, strength: the stored picture to begin at, and the share of the steps taken from there; "" and 1.0 is noise.
        variation_seed, variation: the noise is turned from the seed's own towards another by this share of the way.
        step_cache: blocks are skipped where a step changes less than this share; 0.0 skips none.
        compiled: the transformer's blocks are compiled (rounds otherwise); at precision fp8 they round activations to it too.
        model_file: sha256 of the file whose transformer stands in for the model's; "" is the model's own.
        text_encoder: id of a folder whose text encoder stands in for the one that carries the meaning; "" is the model's own.
    """

    model: str
    revision: str
    prompt: str
    negative_prompt: str
    seed: int
    width: int
    height: int
    steps: int
    guidance: float
    guidance_kind: GuidanceKind
    references: tuple[str, ...]
    precision: Precision
    prompt_tokens: int
    decode_tile: int
    versions: Versions
    cfg_scale: float = 1.0
    guidance_curve: tuple[float, ...] = ()
    start: str = ""
    strength: float = 1.0
    variation_seed: int = 0
    variation: float = 0.0
    step_cache: float = 0.0
    attention: Attention = "native"
    compiled: bool = False
    model_file: str = ""
    text_encoder: str = ""
    kind: Literal["image"] = "image"

    @property
    def first_step(self) -> int:
        """Index of the first step that is taken: beyond 0 where the picture begins at another (as `FluxImg2ImgPipeline`)."""
        return int(self.steps - min(self.steps * self.strength, self.steps)) if self.start else 0


@dataclass(frozen=True)
class GivenPicture:
    """A stored picture as a keyframe, cut at its longer sides to the film's shape and scaled: never squashed, nothing drawn.

    Attributes:
        sha256: the picture's id.
        width, height: pixels, of the film.
    """

    sha256: str
    width: int
    height: int
    kind: Literal["given"] = "given"


@dataclass(frozen=True)
class Selection:
    """The best of several candidates: pictures of one prompt that differ in their seeds. Part of plans only.

    Which one it is, is known when all are drawn and scored; from then on that candidate stands in its place (see
    `with_keyframes`), so what is made of it names the picture that was taken, whoever took it.
    """

    candidates: tuple[ImageRecipe, ...]
    kind: Literal["selection"] = "selection"

    @property
    def width(self) -> int:
        return self.candidates[0].width

    @property
    def height(self) -> int:
        return self.candidates[0].height


KeyframeRecipe = ImageRecipe | GivenPicture | Selection


@dataclass(frozen=True)
class TransitionRecipe:
    """The way from one keyframe to the next.

    Attributes:
        start, end: fingerprints of the two keyframe recipes.
        frames: generated frames, both ends counted; every `stride`-th is kept, so that both ends stay.
        conditioning_fps: the speed the video model is asked for (its `fps` input), apart from playback.
        motion_alignment: share of the steps, from the first, that align the backward motion to the forward one.
        alignment_rounds: rounds of alignment in each such step.
        renoise_share: share of the steps, from the first, that "fusion" takes twice, with new noise between.
        pin_reach: over how many frames, the end itself counted, what pinning changes at an end fades out. 1: the end alone, as
            all transitions were made before there was a choice.
    """

    model: str
    revision: str
    method: Method
    start: str
    end: str
    seed: int
    width: int
    height: int
    frames: int
    stride: int
    steps: int
    guidance: float
    motion_bucket_id: int
    conditioning_fps: int
    noise_aug_strength: float
    motion_alignment: float
    alignment_rounds: int
    renoise_share: float
    precision: Precision
    versions: Versions
    pin_reach: int = 1
    kind: Literal["transition"] = "transition"

    @property
    def kept_frames(self) -> int:
        return (self.frames - 1) // self.stride + 1

    @property
    def unet_calls(self) -> int:
        """UNet calls (each a batch of two) of the whole transition."""
        if self.method == "plain":
            return self.steps
        if self.method == "fusion":
            return 2 * (self.steps + first_steps(self.steps, self.renoise_share))
        aligned = first_steps(self.steps, self.motion_alignment) if self.method == "bidirectional" else 0
        return 2 * self.steps + aligned * self.alignment_rounds


@dataclass(frozen=True)
class OnePassRecipe:
    """A stretch of film that a model makes in one pass from all keyframes in it.

    Attributes:
        keyframes: fingerprints of their recipes, in order.
        positions: their frames, the first 0 and the last `frames` − 1.
        frame_rate: frames a second, which the model is told where it asks.
    """

    model: str
    revision: str
    prompt: str
    keyframes: tuple[str, ...]
    positions: tuple[int, ...]
    seed: int
    width: int
    height: int
    frames: int
    frame_rate: int
    steps: int
    guidance: float
    prompt_tokens: int
    precision: Precision
    versions: Versions
    kind: Literal["one-pass"] = "one-pass"

    @property
    def unet_calls(self) -> int:
        """Steps: the even measure of its time."""
        return self.steps


@dataclass(frozen=True)
class VideoRecipe:
    """One film: keyframes, the transitions between neighbours, and how they become a file.

    Attributes:
        passes: instead of transitions, of models that take several keyframes at once; neighbours share a keyframe.
        decode_chunk, decode_overlap: latent frames decoded together, and shared by neighbouring chunks.
        join_share: share of the steps, the last ones, in which all transitions are denoised together with windows across the
            inner keyframes; 0 makes each transition alone. An experiment.
        colour_match: each frame's colours are brought to those between its two keyframes, before the fade.
        fade_frames: over how many frames on each side the difference to the keyframe fades out.
        crf: constant rate factor of H.264, 0 (lossless) to 51.
    """

    keyframes: tuple[KeyframeRecipe, ...]
    transitions: tuple[TransitionRecipe, ...]
    width: int
    height: int
    fps: int
    decode_chunk: int
    decode_overlap: int
    join_share: float
    colour_match: bool
    fade_frames: int
    crf: int
    versions: Versions
    passes: tuple[OnePassRecipe, ...] = ()
    kind: Literal["video"] = "video"

    @property
    def parts(self) -> tuple[TransitionRecipe, ...] | tuple[OnePassRecipe, ...]:
        return self.passes or self.transitions

    @property
    def model(self) -> str:
        """Name of the video model."""
        return self.parts[0].model

    @property
    def frames(self) -> int:
        return self.key_positions[-1] + 1

    @property
    def unet_calls(self) -> int:
        """UNet calls of all transitions, and of the windows across inner keyframes."""
        if self.passes:
            return sum(part.steps for part in self.passes)
        windows = (len(self.transitions) - 1) * first_steps(self.transitions[0].steps, self.join_share)
        return sum(part.unet_calls for part in self.transitions) + 2 * windows

    @property
    def key_positions(self) -> tuple[int, ...]:
        """Frame index of each keyframe in the joined film."""
        positions = [0]
        for part in self.transitions:
            positions.append(positions[-1] + part.kept_frames - 1)
        for stretch in self.passes:
            begin = positions[-1]
            positions += [begin + place for place in stretch.positions[1:]]
        return tuple(positions)

    @property
    def seconds_long(self) -> float:
        return self.frames / self.fps


Recipe = ImageRecipe | VideoRecipe
PlannedRecipe = Recipe | Selection
AnyRecipe = KeyframeRecipe | TransitionRecipe | OnePassRecipe | VideoRecipe
_KINDS: dict[str, type[AnyRecipe]] = {
    "image": ImageRecipe,
    "given": GivenPicture,
    "selection": Selection,
    "transition": TransitionRecipe,
    "one-pass": OnePassRecipe,
    "video": VideoRecipe,
}


def first_steps(steps: int, share: float) -> int:
    """Return how many of the steps, from the first, fall into the share: i < share·steps, as in arXiv:2602.12679."""
    return sum(step < share * steps for step in range(steps))


def fingerprint(recipe: AnyRecipe) -> str:
    """Return the sha256 (64 hex digits) of the recipe's canonical JSON: the name of the stage it describes."""
    return hashlib.sha256(to_json(recipe).encode()).hexdigest()


def drawn_after(name: str) -> str:
    """Return how a recipe's `references` name the picture of a stage."""
    return _STAGE + name


def stage_named(reference: str) -> str:
    """Return the fingerprint of the stage that a reference names, or "" for the id of a stored picture."""
    return reference.removeprefix(_STAGE) if reference.startswith(_STAGE) else ""


_STAGE = "stage:"


def candidates_of(keyframe: KeyframeRecipe) -> tuple[ImageRecipe, ...]:
    """Return what may have to be drawn for a keyframe: nothing for a given picture."""
    if isinstance(keyframe, Selection):
        return keyframe.candidates
    return (keyframe,) if isinstance(keyframe, ImageRecipe) else ()


def drawing_of(recipe: ImageRecipe) -> ImageRecipe:
    """Return the recipe without what is only known on the way: the picture it is drawn after, and how it is decoded."""
    return replace(recipe, references=(), decode_tile=0)


def renamed(keyframe: KeyframeRecipe, names: Mapping[str, str]) -> KeyframeRecipe:
    """Return the keyframe with each reference to a stage of `names` (old fingerprint → new one) turned to the new one."""
    if isinstance(keyframe, Selection):
        return replace(keyframe, candidates=tuple(_renamed(one, names) for one in keyframe.candidates))
    return _renamed(keyframe, names) if isinstance(keyframe, ImageRecipe) else keyframe


def _renamed(recipe: ImageRecipe, names: Mapping[str, str]) -> ImageRecipe:
    stages = [(reference, stage_named(reference)) for reference in recipe.references]
    return replace(recipe, references=tuple(drawn_after(names[name]) if name in names else one for one, name in stages))


def with_keyframes(film: VideoRecipe, keyframes: Sequence[KeyframeRecipe]) -> VideoRecipe:
    """Return the film with other recipes for its keyframes, one for each; what names the old ones names the new ones."""
    names: dict[str, str] = {}
    settled = []
    for old, new in zip(film.keyframes, keyframes, strict=True):
        settled.append(renamed(new, names))
        names[fingerprint(old)] = fingerprint(settled[-1])
    transitions = tuple(replace(part, start=names[part.start], end=names[part.end]) for part in film.transitions)
    passes = tuple(replace(part, keyframes=tuple(names[one] for one in part.keyframes)) for part in film.passes)
    return replace(film, keyframes=tuple(settled), transitions=transitions, passes=passes)


def latents_name(recipe: ImageRecipe | TransitionRecipe | VideoRecipe | OnePassRecipe) -> str:
    """Return the name of the recipe's latents: recipes that differ only in how they are decoded and encoded share them."""
    if isinstance(recipe, ImageRecipe):
        return fingerprint(replace(recipe, decode_tile=0))
    if isinstance(recipe, VideoRecipe):
        return fingerprint(
            replace(recipe, fps=0, decode_chunk=0, decode_overlap=0, colour_match=False, fade_frames=0, crf=0, versions=())
        )
    return fingerprint(recipe)


def derive_seed(seed: int, role: str, index: int) -> int:
    """Return a seed in 0 … 2^63 − 1 for one role of a job, so that no two roles share noise.

    Source: SHA-256 of the three values; index 0 of role "image" keeps the user's own seed.
    """
    if role == "image" and index == 0:
        return seed
    digest = hashlib.sha256(f"{seed}/{role}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def to_json(recipe: AnyRecipe) -> str:
    """Return canonical JSON: sorted keys, no spaces, ASCII."""
    return json.dumps(asdict(recipe), sort_keys=True, separators=(",", ":"), allow_nan=False)


def recipe_from_json(text: str) -> Recipe:
    """Return the picture or film recipe that `to_json` wrote.

    Raises:
        ValueError: the text is not such a recipe.
    """
    recipe = any_recipe_from_json(text)
    if not isinstance(recipe, ImageRecipe | VideoRecipe):
        raise ValueError(f"{recipe.kind}: a part of a film, not a result")
    return recipe


def any_recipe_from_json(text: str) -> AnyRecipe:
    """Return whatever recipe `to_json` wrote.

    Raises:
        ValueError: the text is not a recipe of this version.
    """
    return _build(json.loads(text))


def _build(values: Mapping[str, Any]) -> AnyRecipe:
    kind = _KINDS.get(str(values.get("kind")))
    if kind is None or set(values) != {field.name for field in fields(kind)}:
        raise ValueError("not a recipe of this version")
    return kind(**{key: _frozen(value) for key, value in values.items()})


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return _build(value)
    return value
