"""What a user may wish for: the only home of bounds and of defaults that no model decides. Knows nothing of models or devices.

A field that is None is a hole; `plan.py` fills it and says how.
"""

from __future__ import annotations

import difflib
import functools
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from flux_svd.errors import InvalidRequest
from flux_svd.presets import Preset, Shape

MAX_PROMPT_CHARACTERS = 10_000
SIZE_MIN, SIZE_MAX, SIZE_STEP = 64, 2048, 16  # pixels; the step is FLUX's latent patch (8 x VAE, 2 x packing)
MAX_PIXELS = 2048 * 2048
SEED_MAX = 2**64 - 1  # torch.Generator.manual_seed takes 64 bits
MAX_FRAMES = 1441  # two minutes at 12 fps
BEST_OF_MAX = 8
CONDITIONING_FPS_MIN, CONDITIONING_FPS_MAX = 2, 30

Attention = Literal["native", "math", "cudnn", "flash", "sage"]
Transition = Literal["bidirectional", "vibid", "fusion", "fast", "plain"]


def _clean_text(text: str) -> str:
    for character in text:
        category = unicodedata.category(character)
        if category == "Cs" or (category == "Cc" and character not in "\n\t"):
            raise ValueError(f"text without control characters or lone surrogates; found U+{ord(character):04X}")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError(f"1 to {MAX_PROMPT_CHARACTERS} characters, not only spaces")
    return text


Text = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS), AfterValidator(_clean_text)]
Prompt = Annotated[Text, Field(min_length=1), AfterValidator(_not_blank)]
Size = Annotated[int, Field(ge=SIZE_MIN, le=SIZE_MAX, multiple_of=SIZE_STEP)]
Seed = Annotated[int, Field(ge=0, le=SEED_MAX)]
Steps = Annotated[int, Field(ge=1, le=150)]
Guidance = Annotated[float, Field(ge=0, le=30)]
_ID, _NAME = r"^[0-9a-f]{64}$", r"^[a-z0-9][a-z0-9.-]*$"
StageName = Annotated[str, Field(pattern=_ID)]  # a fingerprint
ModelFileId = Annotated[str, Field(pattern=_ID)]  # sha256 of a file that was given
PictureId = Annotated[str, Field(pattern=_ID)]
Length = Annotated[int, Field(ge=3, le=121)]  # frames of a transition; 121 is ten seconds at 12 fps, bridged
Name = Annotated[str, Field(min_length=1, max_length=80, pattern=_NAME)]


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Picture(_Request):
    """What pictures and films share: which image model draws, how large, how long, from which seed."""

    prompt: Prompt = Field(description="What to show, in words")
    negative_prompt: Text | None = Field(default=None, description="What to avoid (models with real guidance only)")
    model: Name = Field(default="auto", description="Image model, or auto: the best this machine holds")
    width: Size | None = Field(default=None, description="Pixels")
    height: Size | None = Field(default=None, description="Pixels")
    shape: Shape | None = Field(default=None, description="A named size, instead of width and height")
    preset: Preset | None = Field(default=None, description="How much effort: fills what is not said otherwise")
    steps: Steps | None = Field(default=None, description="Denoising steps of each picture")
    guidance: Guidance | None = Field(default=None, description="How strictly the picture follows the prompt")
    guidance_curve: Annotated[tuple[Guidance, ...], Field(min_length=2, max_length=150)] | None = Field(
        default=None, description="Guidance from the first step to the last, instead of one value: low, high, low"
    )
    cfg_scale: Annotated[float, Field(gt=1, le=30)] | None = Field(
        default=None, description="Real guidance away from the negative prompt, in twice the time (flux1-dev)"
    )
    model_file: ModelFileId | None = Field(
        default=None, description="Transformer of one's own instead of the model's, a .safetensors or .gguf file (FLUX.1 models)"
    )
    text_encoder: ModelFileId | None = Field(
        default=None, description="Smaller text encoder instead of T5-XXL: a T5 with a projection, as DistillT5 (FLUX.1 models)"
    )
    seed: Seed | None = Field(default=None, description="Same seed, same result")
    references: Annotated[tuple[PictureId, ...], Field(max_length=8)] = Field(
        default=(), description="Stored pictures to work from (FLUX.2 models)"
    )
    step_cache: Annotated[float, Field(gt=0, le=0.5)] | None = Field(
        default=None, description="Skip blocks in steps that change less than this share; quicker, and loses detail (FLUX.1)"
    )
    attention: Attention = Field(default="native", description="Who computes attention; pixels differ slightly")
    compiled: bool = Field(default=False, description="Compile the model first: minutes once, then quicker; other rounding")
    consent: bool = Field(
        default=False, description="When memory runs out, change the picture slightly (tiles, fewer bits) rather than take long"
    )

    best_of: Annotated[int, Field(ge=1, le=BEST_OF_MAX)] = Field(
        default=1, description="Draw this many candidates of each picture and take the best"
    )

    @model_validator(mode="after")
    def _pair_of_sizes(self) -> _Picture:
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height are given together or not at all")
        for field, other in (("shape", "width"), ("guidance_curve", "guidance")):
            if getattr(self, field) is not None and getattr(self, other) is not None:
                raise ValueError(f"{field} and {other} exclude each other")
        if self.cfg_scale is not None and not self.negative_prompt:
            raise ValueError("cfg_scale guides away from a negative_prompt, and there is none")
        return self


class ImageRequest(_Picture):
    """A wish for `count` pictures of one prompt."""

    kind: Literal["image"] = "image"
    count: Annotated[int, Field(ge=1, le=16)] = Field(default=1, description="How many pictures")
    start: PictureId | None = Field(default=None, description="Stored picture to begin at instead of noise (FLUX.1 models)")
    strength: Annotated[float, Field(ge=0.01, le=1)] | None = Field(
        default=None, description="How much of that picture may change; 1 keeps nothing of it"
    )
    variation: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Pictures near the one of this seed instead of others: how far they may go"
    )

    @model_validator(mode="after")
    def _a_start_or_noise(self) -> ImageRequest:
        if self.strength is not None and self.start is None:
            raise ValueError("strength is of a picture to begin at, and start names none")
        if self.variation is not None and self.start is not None:
            raise ValueError("variation and start exclude each other")
        return self


class StageWish(_Request):
    """One motion stage as the user wants it; without a seed it shares the film's.

    Attributes:
        picture: a stored picture to use as this keyframe, cut to the film's shape; nothing is drawn then.
        lock: the fingerprint of a keyframe drawn before, which stays whatever else of the film changes.
        pick: which candidate to take (from 1) where `best_of` draws several; else the scores choose.
        length: frames from this keyframe to the next, both counted.
        transition_seed: of the transition from this keyframe to the next; without one it comes from the film's seed.
    """

    prompt: Prompt
    seed: Seed | None = None
    picture: PictureId | None = None
    lock: StageName | None = None
    pick: Annotated[int, Field(ge=1, le=BEST_OF_MAX)] | None = None
    length: Length | None = None
    transition_seed: Seed | None = None

    @model_validator(mode="after")
    def _one_source(self) -> StageWish:
        settled = [name for name in ("picture", "lock") if getattr(self, name) is not None]
        drawn = [name for name in ("seed", "pick") if getattr(self, name) is not None]
        if len(settled) > 1 or (settled and drawn):
            raise ValueError(f"{' and '.join(settled + drawn)} exclude each other")
        return self


class VideoRequest(_Picture):
    """A wish for one film: keyframes drawn for motion stages, and transitions between neighbours."""

    kind: Literal["video"] = "video"
    stages: Annotated[tuple[StageWish, ...], Field(min_length=2, max_length=61)] | None = Field(
        default=None, description="One stage for each keyframe; else the storyboard writes them"
    )
    keyframes: Annotated[int, Field(ge=2, le=61)] | None = Field(default=None, description="How many keyframes")
    frames_per_transition: Length | None = Field(
        default=None, description="Frames from one keyframe to the next, both counted"
    )
    total_frames: Annotated[int, Field(ge=3, le=MAX_FRAMES)] | None = Field(
        default=None, description="Frames of the whole film, instead of frames per transition"
    )
    seconds: Annotated[float, Field(gt=0, le=MAX_FRAMES)] | None = Field(
        default=None, description="Length of the whole film, instead of its frames"
    )
    lengths: Annotated[tuple[Length, ...], Field(min_length=1, max_length=61)] | None = Field(
        default=None, description="Frames of each transition, both keyframes counted, instead of one length for all"
    )
    keep_subject: bool = Field(
        default=True, description="Draw each keyframe after the first one's picture (models that take references)"
    )
    loop: bool = Field(default=False, description="End at the first keyframe again")
    fps: Annotated[int, Field(ge=1, le=60)] = Field(default=12, description="Frames a second at playback")
    video_model: Name = Field(default="auto", description="Model that fills the way between keyframes")
    transition: Transition = Field(default="bidirectional", description="How the way between keyframes is filled")
    transition_steps: Steps | None = Field(default=None, description="Denoising steps of each transition")
    motion_alignment: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="Share of the steps that align the motion of both ways; 0 switches it off"
    )
    smooth_joins: bool = Field(default=False, description="Experiment: make all transitions together, so that joins show less")
    colour_match: bool = Field(default=False, description="Bring the colours between two keyframes to those of the keyframes")
    motion_bucket_id: Annotated[int, Field(ge=1, le=255)] = Field(default=180, description="Amount of motion")
    conditioning_fps: Annotated[int, Field(ge=CONDITIONING_FPS_MIN, le=CONDITIONING_FPS_MAX)] | None = Field(
        default=None, description="Speed of motion the video model is asked for, apart from playback"
    )

    @model_validator(mode="after")
    def _one_length(self) -> VideoRequest:
        own = any(wish.length is not None for wish in self.stages or ())
        ways_to_say = ("total_frames", "seconds", "lengths", "frames_per_transition")
        lengths = [name for name in ways_to_say if getattr(self, name) is not None]
        if len(lengths) > 1 or (own and lengths not in ([], ["frames_per_transition"])):
            raise ValueError(f"{' and '.join(lengths + ['the lengths of stages'] * own)} exclude each other")
        if self.stages is not None and self.keyframes is not None and len(self.stages) != self.keyframes:
            raise ValueError(f"keyframes is {self.keyframes} but there are {len(self.stages)} stages")
        return self


Request = ImageRequest | VideoRequest
_KINDS: dict[str, type[ImageRequest] | type[VideoRequest]] = {"image": ImageRequest, "video": VideoRequest}
_ANY: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])


def make_request(fields: Mapping[str, Any]) -> Request:
    """Return the request these fields describe; `kind` says which.

    Lists stand for tuples, as in JSON; nothing else is converted.

    Raises:
        InvalidRequest: a field is unknown, of the wrong type or out of bounds; the first such field is named.
    """
    try:
        return _ANY.validate_python(_tuples(dict(fields)))
    except ValidationError as error:
        raise _explain(error) from None


def describe_bounds(kind: type[_Request], field: str) -> str:
    """Return in words what `field` of a request accepts: "256 to 2048 in steps of 16"."""
    schema = schema_of(kind)
    return _bounds_of(schema["properties"][field], schema.get("$defs", {}))


@functools.cache  # the command line asks for every field, and each time takes milliseconds
def schema_of(kind: type[_Request]) -> Mapping[str, Any]:
    """Return the JSON schema of a request."""
    return kind.model_json_schema()


def _bounds_of(schema: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    """Return in words what a JSON schema accepts; `parts` are the schemas it refers to."""
    (schema,) = _variants(schema, parts)[:1]  # beside null no field has more than one
    if "enum" in schema:
        return ", ".join(schema["enum"])
    low, above, high = schema.get("minimum"), schema.get("exclusiveMinimum"), schema.get("maximum")
    if above is not None:
        return f"a number above {above:g}, up to {high:g}"
    if low is not None:
        whole = "a whole number from " if schema["type"] == "integer" else "a number from "
        step = f" in steps of {schema['multipleOf']}" if "multipleOf" in schema else ""
        return f"{whole}{low:g} to {high}{step}" if low < 1e6 else f"{low} to {high}"
    if schema.get("type") == "array":
        return f"{schema.get('minItems', 0)} to {schema['maxItems']} entries"
    if schema.get("pattern") == _ID:
        return "an id of 64 characters, 0 to 9 and a to f"
    if schema.get("pattern") == _NAME:
        return f"a name like flux1-dev, {schema['minLength']} to {schema['maxLength']} characters"
    if "maxLength" in schema:
        return f"{schema.get('minLength', 0)} to {schema['maxLength']} characters"
    if "properties" in schema:
        return f"an object with {', '.join(schema['properties'])}"
    return {"boolean": "true or false", "string": "text"}[schema["type"]]


def _variants(schema: Mapping[str, Any], parts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what a schema accepts beside null, each with its references followed."""
    variants = [parts[one["$ref"].rpartition("/")[2]] if "$ref" in one else one for one in schema.get("anyOf", [schema])]
    return [one for one in variants if one.get("type") != "null"]


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _explain(error: ValidationError) -> InvalidRequest:
    """Return our words for what pydantic found first."""
    first = error.errors(include_url=False)[0]
    if not first["loc"]:  # which kind of request it is cannot be told
        return InvalidRequest("kind", first["input"].get("kind"), " or ".join(_KINDS))
    where = first["loc"][1:]
    kind, value = _KINDS[str(first["loc"][0])], first["input"]
    field = ".".join(map(str, where)) or "request"
    if first["type"] == "extra_forbidden":
        known = list(_schema_at(kind, where[:-1])[0]["properties"])
        near = difflib.get_close_matches(str(where[-1]), known, n=1)
        return InvalidRequest(field, value, f"a field there is; {f'the nearest is {near[0]}' if near else ', '.join(known)}")
    if first["type"] == "missing":
        return InvalidRequest(field, None, "this field is required")
    if first["type"] == "string_unicode":
        return InvalidRequest(field, value, "text without control characters or lone surrogates")
    if first["type"] == "value_error":
        return InvalidRequest(field, value if where else "", str(first["ctx"]["error"]))
    return InvalidRequest(field, value, _bounds_of(*_schema_at(kind, where)))


def _schema_at(kind: type[_Request], where: Sequence[int | str]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the JSON schema of the field of a request at a place, and the schemas it refers to."""
    schema = schema_of(kind)
    parts = schema.get("$defs", {})
    for part in where:
        (schema,) = _variants(schema, parts)[:1]
        schema = schema["items"] if isinstance(part, int) else schema["properties"][part]
    return _variants(schema, parts)[0], parts
