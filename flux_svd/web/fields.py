"""What stands in the form → the fields of a request. Text of a field is read here; bounds belong to the request itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flux_svd.catalog import ModelSpec
from flux_svd.errors import InvalidRequest
from flux_svd.plan import Plan
from flux_svd.recipe import ImageRecipe
from flux_svd.request import ImageRequest, VideoRequest, describe_bounds
from flux_svd.web.desk import Desk

# About one megapixel each, the size FLUX was trained around; sides are multiples of 32.
SHAPES = {"1:1": (1024, 1024), "3:2": (1216, 832), "2:3": (832, 1216), "16:9": (1344, 768)}


def shapes_of(spec: ModelSpec) -> dict[str, tuple[int, int]]:
    """Return the shapes offered for a model; a pocket model has the two sizes it was trained on."""
    return {"1:1": spec.size, "5:3": spec.film_size} if spec.pocket else SHAPES


def shape_choices(spec: ModelSpec) -> list[tuple[str, str]]:
    return [(f"{width} × {height}", name) for name, (width, height) in shapes_of(spec).items()]


def shape_named(spec: ModelSpec, width: int | None, height: int | None) -> str:
    """Return the shape of this size, or the first where the page does not offer it."""
    found = (name for name, size in shapes_of(spec).items() if size == (width, height))
    return next(found, "1:1")


def model_choices(ready: Sequence[ModelSpec], best: ModelSpec) -> list[tuple[str, str]]:
    return [(f"Best here: {best.title}", "auto"), *((spec.title, spec.name) for spec in ready)]


def image_fields(
    desk: Desk,
    prompt: str,
    shape: str,
    count: int,
    model: str,
    seed: str,
    fresh: bool,
    steps: str,
    guidance: str,
    negative: str,
    references: tuple[str, ...],
) -> dict[str, Any]:
    """Return the fields of an ImageRequest. What the chosen model does not obey is hidden on the page and left out here.

    Raises:
        InvalidRequest: a text is not a number.
    """
    spec = desk.resolve(model)
    width, height = shapes_of(spec).get(shape, spec.size)
    found: dict[str, Any] = {
        "kind": "image",
        "prompt": prompt,
        "model": model,
        "width": width,
        "height": height,
        "count": int(count),
        "seed": None if fresh else whole_number("seed", seed),
        "steps": whole_number("steps", steps),
    }
    if "guidance" in spec.obeys:
        found["guidance"] = number("guidance", guidance)
    if "negative_prompt" in spec.obeys and negative and negative.strip():
        found["negative_prompt"] = negative
    if "references" in spec.obeys and references:
        found["references"] = references
    return found


def size_of(desk: Desk, wish: Sequence[Any]) -> tuple[int, int]:
    """Return the size the form asks for, whatever else stands in it."""
    _, shape, _, model = wish[:4]
    spec = desk.resolve(model)
    return shapes_of(spec).get(shape, spec.size)


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


def video_fields(
    film: str, seed: str, frames: str, fps: str, model: str, stages: Sequence[tuple[str, str, str]]
) -> dict[str, Any]:
    """Return the fields of a VideoRequest; each stage is (prompt, seed, id of a given picture or "").

    Raises:
        InvalidRequest: a text is not a number, or a stage has no prompt.
    """
    found: dict[str, Any] = {
        "kind": "video",
        "prompt": film,
        "model": model,
        "seed": whole_number("seed", seed),
        "frames_per_transition": whole_number("frames_per_transition", frames, VideoRequest),
        "stages": tuple(_stage(n, *stage) for n, stage in enumerate(stages)),
    }
    speed = whole_number("fps", fps, VideoRequest)
    return found if speed is None else {**found, "fps": speed}


def _stage(index: int, prompt: str, seed: str, picture: str) -> dict[str, Any]:
    if not (prompt or "").strip():
        raise InvalidRequest(f"stages.{index}.prompt", prompt, describe_bounds(ImageRequest, "prompt"))
    try:
        return {"prompt": prompt, "seed": whole_number("seed", seed), "picture": picture or None}
    except InvalidRequest as error:
        raise InvalidRequest(f"stages.{index}.seed", seed, error.allowed) from None
