"""What stands in the form → the fields of a request. Text of a field is read here; bounds belong to the request itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flux_svd import presets
from flux_svd.catalog import ModelSpec
from flux_svd.errors import InvalidRequest
from flux_svd.plan import Plan
from flux_svd.presets import Preset, Shape
from flux_svd.recipe import ImageRecipe
from flux_svd.request import ImageRequest, VideoRequest, describe_bounds
from flux_svd.web.desk import Desk
from flux_svd.web.i18n import translate

SQUARE = "1:1"
COUNTS = (1, 2, 4)
_OWN_SIZE = re.compile(r"(\d+)x(\d+)\Z")  # how a size is called that is none of the table
_OFFERED: tuple[Shape, ...] = (
    "square-vinyl",
    "photo",
    "wide",
    "book",
    "dvd",
    "phone",
)  # wide ones first; a film's frame is drawn on Video
_IN_THE_FORM = {"kind", "prompt", "negative_prompt", "model", "width", "height", "shape", "preset", "steps", "guidance", "seed",
                "references", "count"}  # fmt: skip


@dataclass(frozen=True)
class PictureForm:
    """What stands in the form of Create, in the order of its components.

    Attributes:
        shape: proportions of the table ("3:2"), or a size of its own ("640x480").
        preset: None where no effort is chosen.
        fresh: whether a new seed is drawn each time.
        extra: fields of a request that was brought back and that the form has no place for.
    """

    prompt: str
    shape: str
    count: int
    model: str
    preset: Preset | None
    seed: str
    fresh: bool
    steps: str
    guidance: str
    negative: str
    references: tuple[str, ...]
    extra: dict[str, Any]


def shapes_of(spec: ModelSpec, preset: Preset | None) -> dict[str, tuple[int, int]]:
    """Return the shapes offered for a model and their sizes at an effort (pixels); pocket models have the two they know."""
    if spec.pocket:
        return {presets.proportion(*size): size for size in (spec.size, spec.film_size)}
    scale = presets.scale_of(preset, spec.name, spec.size)
    named = ((presets.SHAPES[name], name) for name in _OFFERED)
    return {
        presets.proportion(shape.width, shape.height): presets.size_for(name, spec.size, spec.size_multiple, spec.size_max, scale)
        for shape, name in named
    }


def shape_choices(spec: ModelSpec, chosen: str = SQUARE) -> list[tuple[str, str]]:
    """Return the choices of shapes; a size of its own is one more while it is chosen."""
    own = [(chosen.replace("x", " × "), chosen)] if _OWN_SIZE.match(chosen) else []
    return [*((name, name) for name in shapes_of(spec, None)), *own]


def size_of(spec: ModelSpec, preset: Preset | None, shape: str) -> tuple[int, int]:
    """Return the pixels of a shape."""
    own = _OWN_SIZE.match(shape)
    return (int(own[1]), int(own[2])) if own else shapes_of(spec, preset).get(shape, spec.size)


def shape_named(spec: ModelSpec, request: ImageRequest) -> str:
    """Return the shape a request asks for, as the form calls it."""
    scale = presets.scale_of(request.preset, spec.name, spec.size)
    if request.width is not None and request.height is not None:
        size = request.width, request.height
    elif request.shape is not None:
        size = presets.size_for(request.shape, spec.size, spec.size_multiple, spec.size_max, scale)
    else:
        return SQUARE
    found = (name for name, offered in shapes_of(spec, request.preset).items() if offered == size)
    return next(found, f"{size[0]}x{size[1]}")


def steps_of(spec: ModelSpec, preset: Preset | None) -> int:
    """Return the steps of a model at an effort."""
    return int(presets.PRESETS[preset].get(spec.name, {}).get("steps", spec.steps)) if preset else spec.steps


def extra_of(request: ImageRequest, spec: ModelSpec) -> dict[str, Any]:
    """Return the fields of a request that the form has no place for."""
    hidden = set() if "negative_prompt" in spec.obeys else {"negative_prompt"}
    told = request.model_dump(mode="json", exclude_defaults=True)
    return {name: value for name, value in told.items() if name not in _IN_THE_FORM - hidden}


def model_choices(ready: Sequence[ModelSpec], best: ModelSpec, language: str = "en") -> list[tuple[str, str]]:
    return [(translate("Best here: {name}", language, name=best.title), "auto"), *((spec.title, spec.name) for spec in ready)]


def image_fields(desk: Desk, form: PictureForm) -> dict[str, Any]:
    """Return the fields of an ImageRequest. What the chosen model does not obey is hidden on the page and left out here.

    Raises:
        InvalidRequest: a text is not a number.
    """
    spec = desk.resolve(form.model)
    width, height = size_of(spec, form.preset, form.shape)
    found: dict[str, Any] = {
        **form.extra,
        "kind": "image",
        "prompt": form.prompt,
        "model": form.model,
        "preset": form.preset,
        "width": width,
        "height": height,
        "count": int(form.count),
        "seed": None if form.fresh else whole_number("seed", form.seed),
        "steps": whole_number("steps", form.steps),
    }
    if "guidance" in spec.obeys:
        found["guidance"] = number("guidance", form.guidance)
    if "negative_prompt" in spec.obeys and form.negative and form.negative.strip():
        found["negative_prompt"] = form.negative
    if form.references and "references" in desk.obeyed(form.model):
        found["references"] = form.references
    return found


def whole_number(field: str, text: str | None, kind: type[ImageRequest] | type[VideoRequest] = ImageRequest) -> int | None:
    """Return the number in a field, or None where it is blank: then the planner decides."""
    if text is None or not text.strip():
        return None
    try:
        return int(text.strip())
    except ValueError:
        raise InvalidRequest(field, text, describe_bounds(kind, field)) from None


def number(field: str, text: str | None) -> float | None:
    if text is None or not text.strip():
        return None
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        raise InvalidRequest(field, text, describe_bounds(ImageRequest, field)) from None


def seed_of(plan: Plan) -> str:
    """Return the seed the plan took, as the page shows it."""
    first = plan.recipes[0]
    return str(first.seed) if isinstance(first, ImageRecipe) else ""
