"""Named sizes and named efforts: parts of a request, as data. Knows no device; what a user says himself goes before them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Shape = Literal["square-vinyl", "book", "dvd", "film", "photo", "wide", "phone"]
Preset = Literal["draft", "balanced", "best"]


@dataclass(frozen=True)
class NamedSize:
    """A size people know from things; `width` and `height` in pixels, about one megapixel unless the name says otherwise."""

    title: str
    width: int
    height: int


SHAPES: dict[Shape, NamedSize] = {
    "square-vinyl": NamedSize("Record sleeve, square", 1024, 1024),
    "book": NamedSize("Book cover, 7:9", 896, 1152),
    "dvd": NamedSize("DVD cover, 2:3", 832, 1248),
    "film": NamedSize("Film frame, 16:9", 1024, 576),  # the size SVD was trained on
    "photo": NamedSize("Photograph, 3:2", 1248, 832),
    "wide": NamedSize("Wide screen, 7:4", 1344, 768),
    "phone": NamedSize("Telephone screen, 4:7", 768, 1344),
}

# For each effort, the fields of a request that it fills, by model; a model that is not named keeps its own defaults. "best" is
# what the model's card takes. Models distilled to four steps gain nothing from more of them; their drafts are smaller instead.
_GUIDED_DRAFT = {"steps": 20, "width": 768, "height": 768}  # ours, to judge a composition by
_DISTILLED_DRAFT = {"width": 512, "height": 512}  # ours; a quarter of the tokens
PRESETS: dict[Preset, dict[str, Mapping[str, Any]]] = {
    "draft": {
        "flux1-dev": _GUIDED_DRAFT,
        "flux2-dev": _GUIDED_DRAFT,
        "flux2-klein-base-4b": _GUIDED_DRAFT,
        "flux2-klein-base-9b": _GUIDED_DRAFT,
        "flux1-schnell": _DISTILLED_DRAFT,
        "flux2-klein-4b": _DISTILLED_DRAFT,
        "flux2-klein-9b": _DISTILLED_DRAFT,
        "pocket-klein": {"steps": 4},  # 48 of 60 captions all right; 50 at 8 steps and 51 at 16, with the weights of bc112b1
        "pocket-flux": {"steps": 4},  # 40 of 60 captions all right; 49 at 8 steps and 50 at 16, with the weights of bb6c60d
    },
    "balanced": {
        "flux1-dev": {"steps": 28},  # default of diffusers' FluxPipeline
        "flux2-dev": {"steps": 28},  # model card: 28 as a trade-off
        "flux2-klein-base-4b": {"steps": 28},  # ours, after FLUX.2 [dev]
        "flux2-klein-base-9b": {"steps": 28},
    },
    "best": {"pocket-flux": {"steps": 16}, "pocket-klein": {"steps": 16}},
}

STRENGTH = 0.6  # of a picture to begin at: default of diffusers' FluxImg2ImgPipeline
# How far variations of a finished picture turn, near and far, and how many there are, unless said: ours. Pictures of pocket-flux
# move 0.18 and 0.46 of the way to another seed's (mean absolute difference; 24 of 3 prompts).
VARIATION, VARIATION_FAR = 0.15, 0.4
VARIATIONS = 4


def size_for(shape: Shape, usual: tuple[int, int], size_multiple: int, size_max: int, scale: float = 1.0) -> tuple[int, int]:
    """Return the named size, or for a model too small for it the same proportions at the area of its `usual` size (pixels).

    Args:
        scale: of both sides, for an effort that draws smaller; see `scale_of`.
    """
    named = SHAPES[shape]
    if max(named.width, named.height) > size_max:
        scale *= (usual[0] * usual[1] / (named.width * named.height)) ** 0.5
    if scale == 1:
        return named.width, named.height
    across, down = (side // math.gcd(named.width, named.height) * size_multiple for side in (named.width, named.height))
    times = round(scale * named.width / across)
    if abs(times * across - scale * named.width) < 0.05 * scale * named.width:  # the very proportions, at nearly that size
        return times * across, times * down
    width, height = (
        min(size_max, max(size_multiple, round(side * scale / size_multiple) * size_multiple))
        for side in (named.width, named.height)
    )
    return width, height


def scale_of(preset: Preset | None, model: str, usual: tuple[int, int]) -> float:
    """Return by how much an effort shrinks both sides of a model's pictures, whose `usual` size it is measured by."""
    filled = PRESETS[preset].get(model, {}) if preset else {}
    return (filled["width"] * filled["height"] / (usual[0] * usual[1])) ** 0.5 if "width" in filled else 1.0


def proportion(width: int, height: int) -> str:
    """Return "3:2" for 1248 × 832."""
    shared = math.gcd(width, height)
    return f"{width // shared}:{height // shared}"


def curve_of_steps(knots: tuple[float, ...], steps: int) -> tuple[float, ...]:
    """Return the value of each step on straight lines between knots that are spread evenly from the first step to the last."""
    if steps == 1 or len(knots) == 1:
        return (knots[0],) * steps
    values = []
    for step in range(steps):
        place = step * (len(knots) - 1) / (steps - 1)
        left = min(int(place), len(knots) - 2)
        values.append(round(knots[left] + (place - left) * (knots[left + 1] - knots[left]), 6))
    return tuple(values)
